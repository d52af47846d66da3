"""What the doctor finds of the database server and its logins."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from psycopg import Connection

from domain.journal.database import Database
from domain.journal.migrations import migrate
from scripts.doctor import installation, server
from scripts.doctor.examination import Check, Limits, examine
from scripts.serving.embedded_postgres import SETTINGS, attached
from tests.integration.doctor.examining import ALL, PATIENCE_SECONDS, codes, fill
from tests.ledgers import outcomes, running, transfer
from tests.projecting import eventually

pytestmark = pytest.mark.integration


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
