"""`tallystick doctor`: a healthy installation has no findings, and each fault of its data has its own finding."""

from typing import Any

import pytest
from psycopg import Connection

from domain.journal.database import Database
from scripts.commands.doctor import examinations
from scripts.doctor import installation, journal, projections, server
from scripts.doctor.examination import Scope
from tests.integration.doctor.examining import (
    ALL,
    PATIENCE_SECONDS,
    SAMPLE,
    codes,
    everything,
    fill,
    make_key,
)
from tests.ledgers import outcomes, running, transfer
from tests.projecting import append, await_head, projecting
from tests.tampering import disarm

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("scope", [ALL, SAMPLE])
@pytest.mark.prepared(by=fill)
def test_a_healthy_installation_has_no_findings(database: Database, scope: Scope) -> None:
    assert everything(database, scope) == {}


def test_an_empty_installation_has_no_findings_but_that_nobody_may_ask(database: Database) -> None:
    assert set(everything(database)) == {"keys_absent"}
    with projecting(database), database.connect("test") as connection:
        make_key(database)
        await_head(connection)
    for scope in (ALL, SAMPLE):
        assert everything(database, scope) == {}


@pytest.mark.prepared(by=fill)
def test_an_installation_is_examined_under_load(database: Database) -> None:
    with running(database) as ledger, projecting(database):
        waiting = [ledger.execute(*(transfer("bob", "alice", 1) for _ in range(50))) for _ in range(20)]
        for scope in (ALL, SAMPLE):
            assert everything(database, scope) == {}
        for results in waiting:
            outcomes(results.result())


FAULTS_OF_ANY = [
    (installation.schema, "DELETE FROM migrations WHERE name = '0004_key_expiry'", ["migrations_pending"]),
    (installation.schema, "INSERT INTO migrations VALUES ('9999_of_tomorrow')", ["migrations_newer"]),
    (
        installation.schema,
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'events_notification_id'::regclass",
        ["index_invalid"],
    ),
    (
        installation.protection,
        "ALTER TABLE stored_events DISABLE TRIGGER events_are_never_changed",
        ["journal_unprotected"],
    ),
    (
        installation.protection,
        "ALTER TABLE head ENABLE REPLICA TRIGGER head_is_never_truncated",
        ["journal_unprotected"],
    ),
    (installation.protection, "DROP TRIGGER head_never_moves_back ON head", ["journal_unprotected"]),
    (
        installation.protection,
        "CREATE OR REPLACE FUNCTION refuse_to_rewrite_history() RETURNS trigger LANGUAGE plpgsql"
        " SET search_path = pg_catalog, pg_temp AS $$ BEGIN RETURN OLD; END $$",
        ["journal_unprotected"],
    ),
    (
        installation.service_rights,
        "REVOKE INSERT ON stored_events FROM tallystick_service",
        ["service_lacks_rights"],
    ),
    (installation.service_rights, "REVOKE ALL ON head FROM tallystick_service", ["service_lacks_rights"]),
    (
        installation.service_rights,
        "REVOKE EXECUTE ON FUNCTION in_stream FROM PUBLIC, tallystick_service",
        ["service_lacks_rights"],
    ),
    (installation.protection, "GRANT UPDATE ON events TO tallystick_service", ["service_may_rewrite"]),
    (installation.protection, "GRANT DELETE ON stored_events TO tallystick_service", ["service_may_rewrite"]),
    (installation.protection, "ALTER TABLE head OWNER TO tallystick_service", ["service_may_rewrite"]),
    (
        server.clocks,
        "UPDATE head SET position = 1, recorded_at = '2999-01-01T00:00:00.000000Z'",
        ["recorded_in_future"],
    ),
    (
        projections.standing,
        "DELETE FROM projection_versions WHERE name = 'due'",
        ["projection_missing"],
    ),
    (projections.standing, "DROP TABLE turnovers_v1", ["projection_tables_missing"]),
    (
        projections.standing,
        "UPDATE projection_versions SET position = position + 1 WHERE name = 'entries'",
        ["projection_beyond_head"],
    ),
    (
        projections.standing,
        "UPDATE projection_versions SET state = 'halted', last_error = 'why' WHERE name = 'due'",
        ["projection_halted"],
    ),
    (
        projections.standing,
        "UPDATE projection_versions SET state = 'paused' WHERE name = 'due'",
        ["projection_paused"],
    ),
    (
        projections.standing,
        "UPDATE projection_versions SET shape = 99 WHERE name = 'due'",
        ["projection_of_another_release"],
    ),
    (
        projections.standing,
        "INSERT INTO projection_versions (name, version, state) VALUES ('due', 2, 'retired')",
        ["projection_retired_left"],
    ),
]
FAULTS_OF_A_FILLED = [
    (projections.sums, "UPDATE balances_v1 SET posted_debits = 0", ["projection_unbalanced"]),
    (projections.sums, "UPDATE balances_v1 SET pending_debits = 1", ["projection_unbalanced"]),
    (projections.sums, "UPDATE turnovers_v1 SET credits = credits + 1", ["projection_unbalanced"]),
    (journal.extent, "UPDATE head SET position = position + 2", ["journal_head_wrong"]),
    (
        journal.snapshots,
        "UPDATE snapshots SET state = '{}' WHERE originator_id = 'main/accounts/bob'",
        ["snapshot_differs"],
    ),
]


@pytest.mark.parametrize(("check", "tampering", "expected"), FAULTS_OF_ANY, ids=range(len(FAULTS_OF_ANY)))
def test_a_fault_of_any_installation_has_its_finding(
    database: Database, owner: Connection[Any], check: Any, tampering: str, expected: list[str]
) -> None:
    assert codes(database, check) == []
    owner.execute(tampering.encode())
    assert codes(database, check) == expected


@pytest.mark.parametrize(
    ("check", "tampering", "expected"), FAULTS_OF_A_FILLED, ids=range(len(FAULTS_OF_A_FILLED))
)
@pytest.mark.prepared(by=fill)
def test_a_fault_of_a_filled_installation_has_its_finding(
    database: Database, owner: Connection[Any], check: Any, tampering: str, expected: list[str]
) -> None:
    assert codes(database, check) == []
    owner.execute(tampering.encode())
    assert codes(database, check) == expected


@pytest.mark.prepared(by=fill)
def test_gaps_in_the_journal_are_found_by_counting_and_by_its_rules(
    database: Database, owner: Connection[Any]
) -> None:
    disarm(owner)
    owner.execute(
        "DELETE FROM stored_events WHERE originator_id = 'main/accounts/bob' AND originator_version = 9"
    )
    assert codes(database, journal.extent) == ["journal_position_gap", "journal_version_gap"]
    assert "journal_position_gap" in codes(database, journal.rules)
    assert "journal_version_gap" in codes(database, journal.rules)
    assert codes(database, journal.rules, scope=SAMPLE) == ["journal_version_gap"]


@pytest.mark.prepared(by=fill)
def test_money_from_nowhere_is_found(database: Database, owner: Connection[Any]) -> None:
    disarm(owner)
    owner.execute(
        "UPDATE stored_events SET state = replace(convert_from(state, 'UTF8'), '\"debits\":1', '\"debits\":2')::bytea"
        " WHERE originator_id = 'main/accounts/alice' AND originator_version = 9"
    )
    found = codes(database, journal.rules)
    assert {"journal_totals_unbalanced", "journal_entries_unmatched"} <= set(found)
    assert set(everything(database)) >= {"projection_differs", "snapshot_differs"}


@pytest.mark.prepared(by=fill)
def test_an_event_that_cannot_be_read_is_found(database: Database, owner: Connection[Any]) -> None:
    append(owner, "main/transactions/x", 1, "transaction.posted", b"{")
    assert codes(database, journal.rules) == ["journal_event_unreadable"]
    owner.execute("UPDATE projection_versions SET position = position + 1")
    assert codes(database, projections.comparisons()[-1].examine, scope=SAMPLE) == [
        "journal_event_unreadable"
    ]
    assert set(everything(database, SAMPLE)) == {"journal_event_unreadable"}


@pytest.mark.parametrize("scope", [ALL, SAMPLE])
@pytest.mark.prepared(by=fill)
def test_a_projection_that_differs_from_the_journal_is_found(
    database: Database, owner: Connection[Any], scope: Scope
) -> None:
    owner.execute(
        "UPDATE balances_v1 SET posted_debits = posted_debits + 1, posted_credits = posted_credits + 1"
    )
    owner.execute(
        "UPDATE entries_v1 SET balance_after = 0 WHERE position = (SELECT max(position) FROM entries_v1)"
    )
    found = [
        (finding.code, finding.found, finding.examples)
        for examined in examinations(database, scope, PATIENCE_SECONDS)
        for finding in examined.findings
        if finding.kind.severity != "info"
    ]
    assert [code for code, _, _ in found] == ["projection_differs"] * 2
    (_, balances, examples), (_, entries, _) = found
    assert balances.startswith("2 rows of balances_v1")
    assert entries.startswith("2 rows of entries_v1")
    assert "posted_debits is 121, must be 120" in examples[0]
