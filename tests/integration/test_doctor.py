"""`tallystick doctor`: a healthy installation has no findings, and each fault has its own finding."""

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import typer
from psycopg import Connection, errors
from typer.testing import Result

from domain.application import LedgerApplication
from domain.journal.database import Database
from domain.journal.migrations import migrate
from domain.model.entries import Entry
from domain.model.idempotency import Operation, operation_id
from domain.model.postings import AcceptTransaction, PostTransaction
from domain.model.times import instant
from domain.model.transactions import Description
from projections.engine.leadership import try_acquire
from projections.outbox.webhooks import disable_webhook
from projections.registry import PROJECTIONS
from scripts.commands.doctor import OF_THE_INSTALLATION, OF_THE_SERVER, doctor, examinations
from scripts.commands.keys import keys
from scripts.doctor import advancing, installation, journal, outbox, projections, server
from scripts.doctor.catalogue import CATALOGUE, Finding
from scripts.doctor.examination import Check, Limits, Patient, Scope, examine
from scripts.serving.embedded_postgres import SETTINGS, attached
from tests.commands import invoke
from tests.databases import Databases
from tests.ledgers import CONTEXT, open_accounts, outcomes, running, transfer
from tests.outboxes import register
from tests.projecting import append, await_head, eventually, holder, projecting, set_state

pytestmark = pytest.mark.integration

ALL = Scope(whole=True, sample_events=500, seed=1)
SAMPLE = Scope(whole=False, sample_events=500, seed=1)
PATIENCE_SECONDS = 60.0


def fill(database: Database) -> None:
    """Write a journal and bring its projections to the head. No service runs."""
    with running(database) as ledger, projecting(database), database.connect("test") as connection:
        open_accounts(ledger, "alice", "bob", minimum=-1000)
        outcomes(ledger.execute(*(transfer("alice", "bob", 1) for _ in range(120))).result())
        eventually(lambda: connection.execute("SELECT count(*) FROM snapshots").fetchone() == (2,))
        make_key(database)
        await_head(connection)


def make_key(database: Database) -> None:
    """Make a key: without one, a finding says that none is valid."""
    options = ["--database-url", database.url, "--schema", database.schema]
    made = invoke(keys, ["make", "shop", "--role", "client", "--ledger-to-come", "main", *options])
    assert made.exit_code == 0, made.output


def codes(database: Database, check: Any, limits: Limits | None = None, scope: Scope = ALL) -> list[str]:
    """The codes that one check finds."""
    return [finding.code for finding in found_by(database, check, limits, scope)]


def found_by(
    database: Database, check: Any, limits: Limits | None = None, scope: Scope = ALL
) -> list[Finding]:
    """The findings of one check."""
    return examine(database, Check("it", check), scope, PATIENCE_SECONDS, limits or Limits()).findings


def everything(database: Database, scope: Scope = ALL) -> dict[str, str]:
    """The findings of all checks by code, without those about other tests on the same server."""
    return {
        finding.code: finding.found
        for examined in examinations(database, scope, PATIENCE_SECONDS)
        for finding in examined.findings
        if examined.name not in ("there is room", "no session blocks others")
    }


@pytest.mark.parametrize("scope", [ALL, SAMPLE])
@pytest.mark.prepared(by=fill)
def test_a_healthy_installation_has_no_findings(database: Database, scope: Scope) -> None:
    assert everything(database, scope) == {}


def test_an_empty_installation_has_no_findings_but_that_nobody_may_ask(database: Database) -> None:
    assert set(everything(database)) == {"keys_absent"}
    make_key(database)
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
        "ALTER TABLE events DISABLE TRIGGER events_are_never_changed",
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
    (installation.protection, "GRANT UPDATE ON events TO tallystick_service", ["service_may_rewrite"]),
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
    owner.execute("SET session_replication_role = replica")
    owner.execute("DELETE FROM events WHERE originator_id = 'main/accounts/bob' AND originator_version = 9")
    assert codes(database, journal.extent) == ["journal_position_gap", "journal_version_gap"]
    assert "journal_position_gap" in codes(database, journal.rules)
    assert "journal_version_gap" in codes(database, journal.rules)
    assert codes(database, journal.rules, scope=SAMPLE) == ["journal_version_gap"]


@pytest.mark.prepared(by=fill)
def test_money_from_nowhere_is_found(database: Database, owner: Connection[Any]) -> None:
    owner.execute("SET session_replication_role = replica")
    owner.execute(
        "UPDATE events SET state = replace(convert_from(state, 'UTF8'), '\"debits\":1', '\"debits\":2')::bytea"
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
    ]
    assert [code for code, _, _ in found] == ["projection_differs"] * 2
    (_, balances, examples), (_, entries, _) = found
    assert balances.startswith("2 rows of balances_v1")
    assert entries.startswith("2 rows of entries_v1")
    assert "posted_debits is 121, must be 120" in examples[0]


@pytest.mark.prepared(by=fill)
def test_who_falls_behind_is_told_from_who_catches_up(
    database: Database, owner: Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = Limits(lag_seconds=0, look_again_seconds=0.2)
    with running(database) as ledger:
        outcomes(ledger.execute(*(transfer("alice", "bob", 1) for _ in range(50))).result())
    (absent,) = found_by(database, projections.standing, limits)
    assert (absent.code, absent.commands) == ("projector_absent", ["tallystick serve"])
    assert absent.found == f"{len(PROJECTIONS)} projections: {', '.join(sorted(PROJECTIONS))}"
    assert len(absent.examples) == len(PROJECTIONS)
    assert codes(database, projections.standing) == []
    set_state(owner, "due", "paused")
    with database.connect("test projector") as projector:
        assert try_acquire(projector, "projection", "entries") and try_acquire(
            projector, "projection", "balances/1"
        )
        found = {finding.code: finding for finding in found_by(database, projections.standing, limits)}
        pid = str(projector.info.backend_pid)
    assert sorted(found) == ["projection_paused", "projection_stuck", "projector_absent"]
    assert found["projection_paused"].commands == ["tallystick projections resume due"]
    assert found["projection_stuck"].found == "2 projections: balances, entries"
    assert found["projection_stuck"].commands == [
        "tallystick projections restart balances",
        "tallystick projections restart entries",
    ]
    held = found["projection_stuck"].examples
    assert all(f"PostgreSQL process {pid} (test projector, from " in words for words in held)
    assert "Restart the process" in found["projection_stuck"].remedy

    def advance_meanwhile(_: float) -> None:
        owner.execute("UPDATE projection_versions SET position = position + 1 WHERE name = 'entries'")

    monkeypatch.setattr(advancing, "sleep", advance_meanwhile)
    # A place is free once the server has ended its holder's session.
    eventually(lambda: holder(owner, "balances") is None)
    assert sorted(codes(database, projections.standing, limits)) == [
        "projection_lagging",
        "projection_paused",
        "projector_absent",
    ]


@pytest.mark.prepared(by=fill)
def test_webhooks_that_get_nothing_or_not_all(
    database: Database, owner: Connection[Any], databases: Databases
) -> None:
    assert codes(database, outbox.deliveries) == []
    with running(database) as ledger, projecting(database), database.connect("test webhooks") as connection:
        first, second = (register(connection, f"https://example.com/{n}") for n in range(2))
        outcomes(ledger.execute(transfer("alice", "bob", 1)).result())
        await_head(owner, "outbox")
        assert codes(database, outbox.deliveries) == []
        with databases.installed() as elsewhere, elsewhere.connect("test publisher") as publisher:
            assert try_acquire(publisher, "publish", "outbox")
            assert codes(database, outbox.deliveries, Limits(lag_seconds=0)) == ["publisher_absent"]
        with database.connect("test publisher") as publisher:
            assert try_acquire(publisher, "publish", "outbox")
            assert codes(database, outbox.deliveries, Limits(lag_seconds=0)) == ["deliveries_late"]
        disable_webhook(connection, first.id, "being moved")
        owner.execute(
            "UPDATE deliveries SET state = 'failed', due_at = NULL WHERE webhook_id = %s", (second.id,)
        )
    assert codes(database, outbox.deliveries, Limits(lag_seconds=0)) == [
        "webhook_disabled",
        "deliveries_failed",
    ]


@pytest.mark.prepared(by=fill)
def test_a_rebuild_that_nobody_works_on_and_one_that_was_refused(
    database: Database, owner: Connection[Any]
) -> None:
    owner.execute("CREATE TABLE ledgers_v2 (LIKE ledgers_v1)")
    owner.execute(
        "INSERT INTO projection_versions (name, version, state) VALUES ('ledgers', 2, 'rebuilding')"
    )
    assert codes(database, projections.standing) == ["rebuild_unfinished"]
    with database.connect("test rebuild") as rebuilder:
        assert try_acquire(rebuilder, "rebuild", "ledgers")
        assert codes(database, projections.standing) == []
    owner.execute("UPDATE projection_versions SET last_error = 'they differ' WHERE version = 2")
    assert codes(database, projections.standing) == ["rebuild_refused"]


@pytest.mark.parametrize("make", [PostTransaction, AcceptTransaction])
@pytest.mark.prepared(by=fill)
def test_what_is_due_and_not_done_is_found(
    database: Database, owner: Connection[Any], make: type[PostTransaction]
) -> None:
    past = datetime.now(UTC) - timedelta(seconds=30)
    ledger = LedgerApplication(database, lambda: instant(past))
    ledger.start()
    try:
        entries = (
            Entry(account="alice", direction="debit", amount=1),
            Entry(account="bob", direction="credit", amount=1),
        )
        operation = Operation("k", operation_id("main", "k"), "f")
        expires_at = instant(datetime.now(UTC) + timedelta(seconds=0.5))
        try_acquire = make(
            CONTEXT, "main", operation, Description(), entries, pending=True, expires_at=expires_at
        )
        ledger.perform(try_acquire)
    finally:
        ledger.close()
    with projecting(database):
        await_head(owner)
    expected = "hold_not_released" if make is PostTransaction else "request_not_carried_out"
    limits = Limits(overdue_seconds=0)
    eventually(lambda: codes(database, journal.overdue, limits) == [expected])
    # A row in `due` that is done already is a difference, not a delay.
    owner.execute("SET session_replication_role = replica")
    owner.execute("UPDATE events SET topic = 'transaction.rejected' WHERE originator_id = %s",
                  (f"main/transactions/{operation.id}",))  # fmt: skip
    assert codes(database, journal.overdue, limits) == []


@pytest.mark.prepared(by=fill)
def test_sessions_that_hold_others_up_are_found(database: Database) -> None:
    limits = Limits(idle_in_transaction_seconds=-1, transaction_seconds=-1)
    with database.connect("test sleeper", autocommit=False) as session:
        session.execute("SELECT 1")
        found = examine(database, Check("it", server.sessions), ALL, PATIENCE_SECONDS, limits).findings
        assert any(
            finding.code == "session_idle_in_transaction" and "test sleeper" in finding.found
            for finding in found
        )
        session.rollback()


@pytest.mark.prepared(by=fill)
def test_a_long_transaction_is_found(database: Database) -> None:
    limits = Limits(transaction_seconds=0)

    def is_found() -> bool:
        examined = examine(database, Check("it", server.sessions), ALL, PATIENCE_SECONDS, limits)
        return any(
            finding.code == "transaction_long_running" and "test worker" in finding.found
            for finding in examined.findings
        )

    with database.connect("test worker") as session, ThreadPoolExecutor(1) as pool:
        sleeping = pool.submit(session.execute, "SELECT pg_sleep(60)")
        eventually(is_found)
        session.cancel_safe()
        with pytest.raises(errors.QueryCanceled):
            sleeping.result()


@pytest.mark.prepared(by=fill)
def test_room_and_age_are_judged_by_their_limits(database: Database, owner: Connection[Any]) -> None:
    assert codes(database, server.room, Limits(free_disk_share=1.0)) == ["disk_full_soon"]
    assert codes(database, server.room, Limits(connections_share=0.0)) == ["connections_exhausted_soon"]
    assert codes(database, server.vacuum, Limits(transaction_age=1)) == ["wraparound_near"]
    # A copied database has no statistics.
    with running(database) as ledger:
        outcomes(ledger.execute(transfer("alice", "bob", 1)).result())
    limits = Limits(rows_to_analyse=1)
    eventually(lambda: "table_never_analysed" in codes(database, server.vacuum, limits))
    owner.execute("ANALYZE")
    eventually(lambda: codes(database, server.vacuum, limits) == [])


@pytest.mark.prepared(by=fill)
def test_a_clock_that_is_wrong_is_found(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    assert codes(database, server.clocks) == []
    monkeypatch.setattr(server, "time", lambda: datetime.now(UTC).timestamp() - 60)
    assert codes(database, server.clocks) == ["clock_skewed"]


@pytest.mark.prepared(by=fill)
def test_a_slot_without_a_reader_is_found(database: Database, owner: Connection[Any]) -> None:
    name = database.schema
    owner.execute("SELECT pg_create_physical_replication_slot(%s, true)", (name,))
    try:
        found = examine(database, Check("it", server.sessions), ALL, PATIENCE_SECONDS).findings
        assert any(finding.code == "slot_inactive" and name in finding.found for finding in found)
    finally:
        owner.execute("SELECT pg_drop_replication_slot(%s)", (name,))


@pytest.mark.prepared(by=fill)
def test_temporary_tables_are_found(database: Database, owner: Connection[Any]) -> None:
    name = owner.info.dbname
    owner.execute(f"GRANT TEMPORARY ON DATABASE {name} TO PUBLIC")
    (finding,) = examine(database, Check("it", installation.protection), ALL, PATIENCE_SECONDS).findings
    assert finding.code == "temporary_tables_open"
    owner.execute(finding.found)
    assert codes(database, installation.protection) == []
    owner.execute(f"GRANT TEMPORARY ON DATABASE {name} TO PUBLIC")
    migrate(database)
    assert codes(database, installation.protection) == []


@pytest.mark.prepared(by=fill)
def test_a_function_that_can_be_led_elsewhere_is_found(database: Database, owner: Connection[Any]) -> None:
    owner.execute(
        "CREATE OR REPLACE FUNCTION decoded(state bytea) RETURNS jsonb LANGUAGE sql AS 'SELECT NULL::jsonb'"
    )
    assert codes(database, installation.protection) == ["function_unpinned"]


def test_a_server_that_may_lose_what_was_acknowledged_is_found(tmp_path: Path) -> None:
    off = dict.fromkeys(("fsync", "full_page_writes", "autovacuum"), "off")
    with patch.dict(SETTINGS, off), attached(tmp_path) as url:
        careless = Database(url)
        migrate(careless)
        found = ["autovacuum_off", "fsync_off", "full_page_writes_off"]
        assert codes(careless, server.durability) == found
    with attached(tmp_path):
        assert codes(careless, server.durability) == []


def test_a_server_that_is_too_old_is_found(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation, "OLDEST_POSTGRES", 10**6)
    assert codes(database, installation.schema) == ["postgres_unsupported"]


@pytest.mark.prepared(by=fill)
def test_a_login_that_is_its_own_service_is_found(database: Database, owner: Connection[Any]) -> None:
    owner.execute(f"CREATE ROLE {database.schema} LOGIN SUPERUSER")
    try:
        other = database._replace(url=database.url.replace("postgres@", f"{database.schema}@"))
        owner.execute(f"ALTER ROLE {database.schema} NOSUPERUSER")
        owner.execute(f"ALTER TABLE events OWNER TO {database.schema}")
        owner.execute(f"GRANT USAGE ON SCHEMA {database.schema} TO {database.schema}")
        assert codes(other, installation.protection) == ["service_has_login_rights"]
    finally:
        owner.execute(f"REASSIGN OWNED BY {database.schema} TO postgres; DROP OWNED BY {database.schema}")
        owner.execute(f"DROP ROLE {database.schema}")


@pytest.mark.prepared(by=fill)
def test_one_check_that_fails_or_does_not_end_hides_no_other(
    database: Database, owner: Connection[Any]
) -> None:
    owner.execute("DROP TABLE snapshots")
    assert set(everything(database)) == {"check_failed"}

    def endless(patient: Patient) -> Iterator[Any]:
        while True:
            patient.connection.execute("SELECT pg_sleep(0.01)")
            yield from ()

    (finding,) = examine(database, Check("it", endless), ALL, 0.1).findings
    assert finding.code == "check_unfinished"


@pytest.mark.prepared(by=fill)
def test_nothing_can_be_changed_by_a_check(database: Database) -> None:
    def meddle(patient: Patient) -> Iterator[Any]:
        yield from patient.connection.execute("DELETE FROM snapshots RETURNING 1")

    (finding,) = examine(database, Check("it", meddle), ALL, PATIENCE_SECONDS).findings
    assert (finding.code, "read-only" in finding.found) == ("check_failed", True)


def called(database: Database, *arguments: str) -> Result:
    """Run `tallystick doctor`."""
    app = typer.Typer()
    app.command()(doctor)
    options = ["--database-url", database.url, "--schema", database.schema]
    return invoke(app, [*arguments, *options])


@pytest.mark.prepared(by=fill)
def test_the_command_says_what_is_wrong_and_ends_accordingly(
    database: Database, owner: Connection[Any]
) -> None:
    result = called(database)
    assert (result.exit_code, "nothing found" in result.output) == (0, True)
    assert re.search(r"--seed \d+; --all", result.output)

    set_state(owner, "due", "paused")
    result = called(database, "--all")
    assert (result.exit_code, "errors: 0, warnings: 1" in result.output) == (1, True)
    assert "projection_paused" in result.output and "Resume it" in result.output

    owner.execute("UPDATE balances_v1 SET status = %s", ("\x1b[31m",))
    result = called(database, "--json", "--seed", "7")
    assert result.exit_code == 3
    told = json.loads(result.stdout)
    assert told["scope"] == {"whole": False, "sample_events": 500, "seed": 7}
    assert not told["healthy"]
    assert [(f["code"], f["severity"]) for f in told["findings"]] == [
        ("projection_differs", "error"),
        ("projection_paused", "warning"),
    ]
    assert all(f["found"] and f["why"] and f["remedy"] for f in told["findings"])
    assert told["facts"]["newest position"] > 100
    assert len(told["checks"]) == len(OF_THE_SERVER) + len(OF_THE_INSTALLATION)
    assert "\x1b[31m" not in called(database).output


def test_what_is_not_there_is_said_to_be_so(empty_database: Database) -> None:
    result = called(empty_database, "--json")
    told = json.loads(result.stdout)
    assert (result.exit_code, [f["code"] for f in told["findings"]]) == (3, ["schema_missing"])
    gone = empty_database._replace(url="postgresql://127.0.0.1:1/postgres")
    result = called(gone, "--json")
    told = json.loads(result.stdout)
    assert (result.exit_code, [f["code"] for f in told["findings"]]) == (3, ["database_unreachable"])
    assert called(empty_database, "--timeout-seconds", "0").exit_code == 2


def test_a_data_directory_that_is_not_there_or_damaged(tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(doctor)
    assert invoke(app, ["--data-dir", str(tmp_path / "absent")]).exit_code == 3
    assert not (tmp_path / "absent").exists()
    (tmp_path / "postgres/data").mkdir(parents=True)
    (tmp_path / "postgres/data/remains").touch()
    result = invoke(app, ["--data-dir", str(tmp_path), "--json"])
    assert (result.exit_code, json.loads(result.stdout)["findings"][0]["code"]) == (3, "database_unreachable")


def test_every_finding_has_words() -> None:
    for code, kind in CATALOGUE.items():
        assert re.fullmatch(r"[a-z]+(_[a-z]+)+", code)
        assert kind.why.endswith(".") and kind.remedy.endswith((".", ")"))
