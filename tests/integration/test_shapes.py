"""Tables of another shape, which another release reads and advances: each has a live version of its own."""

from typing import Any

import pytest
from psycopg import Connection

from domain.journal.database import Database
from projections import entries, install
from projections.entries import list_entries
from projections.positions import progress
from tests.ledgers import open_accounts, outcomes, running, transfer
from tests.projecting import await_head, projecting

pytestmark = pytest.mark.integration


@pytest.fixture
def older(database: Database, owner: Connection[Any]) -> int:
    """A database as the release before left it, an unfinished rebuild included; its head."""
    with running(database) as ledger:
        open_accounts(ledger, "a", "b")
        position = outcomes(ledger.execute(transfer("a", "b", 5)).result())[0].position
    install(database)
    owner.execute(
        "DROP TABLE entries_v1, turnovers_v1;"
        "DELETE FROM projection_versions WHERE name = 'entries';"
        "INSERT INTO projection_versions (name, version, position, state, shape, live)"
        f" VALUES ('entries', 1, {position}, 'running', 1, true), ('entries', 2, 1, 'rebuilding', 1, false)"
    )
    with database.connect("test of an older release") as service:
        for version in (1, 2):
            service.execute(f"CREATE TABLE entries_v{version} (ledger text, amount bigint)".encode())
    return position


def versions(owner: Connection[Any]) -> list[tuple[Any, ...]]:
    return owner.execute(
        "SELECT version, state, shape FROM projection_versions WHERE name = 'entries' ORDER BY version"
    ).fetchall()


def test_tables_of_another_release_are_left_to_it(
    database: Database, owner: Connection[Any], older: int
) -> None:
    install(database)
    assert (progress(owner, "entries").version, progress(owner, "entries").position) == (3, 0)
    with projecting(database):
        await_head(owner)
    assert len(list_entries(owner, "main", "a", limit=9).rows) == 1
    shape = entries.PROJECTION.shape
    assert versions(owner) == [(1, "running", 1), (2, "rebuilding", 1), (3, "running", shape)]
    found = owner.execute("SELECT position FROM projection_versions WHERE name = 'entries' AND version = 1")
    assert found.fetchone() == (older,)
    install(database)
    assert versions(owner) == [(1, "running", 1), (2, "rebuilding", 1), (3, "running", shape)]
