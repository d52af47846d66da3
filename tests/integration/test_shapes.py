"""Tables that another release has made: of an older one they are made anew, of a newer one they are refused."""

from pathlib import Path
from typing import Any

import pytest
import typer
from psycopg import Connection
from typer.testing import CliRunner

from domain.journal.database import Database
from projections import entries, install
from projections.entries import list_entries
from projections.positions import progress
from projections.rebuild import rebuild
from projections.register import NewerShape
from scripts.migrate import migrate
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
        "INSERT INTO projection_versions (name, version, position, state, shape)"
        f" VALUES ('entries', 1, {position}, 'running', 1), ('entries', 2, 1, 'rebuilding', 1)"
    )
    with database.connect("test of an older release") as service:
        for version in (1, 2):
            service.execute(f"CREATE TABLE entries_v{version} (ledger text, amount bigint)".encode())
    return position


def versions(owner: Connection[Any]) -> list[tuple[Any, ...]]:
    return owner.execute(
        "SELECT version, state, shape FROM projection_versions WHERE name = 'entries' ORDER BY version"
    ).fetchall()


def test_tables_of_an_older_release_are_made_anew(
    database: Database, owner: Connection[Any], older: int
) -> None:
    install(database)
    seen = progress(owner, "entries")
    assert (seen.version, seen.position, seen.state) == (3, 0, "running")
    found = list_entries(owner, "main", "a", limit=9)
    assert (found.rows, found.position, found.head) == ([], 0, older)
    with projecting(database):
        await_head(owner)
        assert len(list_entries(owner, "main", "a", limit=9).rows) == 1
    shape = entries.PROJECTION.shape
    assert versions(owner) == [(3, "running", shape)]
    assert rebuild(database, "entries").equal
    assert versions(owner) == [(4, "running", shape)]
    assert owner.execute("SELECT to_regclass('entries_v1'), to_regclass('entries_v2')").fetchone() == (
        None,
        None,
    )
    install(database)
    assert versions(owner) == [(4, "running", shape)]


def test_tables_of_a_newer_release_are_refused(
    database: Database, owner: Connection[Any], tmp_path: Path
) -> None:
    install(database)
    owner.execute("UPDATE projection_versions SET shape = 99 WHERE name = 'entries'")
    with pytest.raises(
        NewerShape, match="projection entries are of a newer release: shape 99, and this one reads 2"
    ):
        install(database)
    app = typer.Typer()
    app.command()(migrate)
    result = CliRunner().invoke(app, ["--database-url", database.url, "--schema", database.schema])
    assert result.exit_code == 1
    assert "newer release" in " ".join(result.output.split())
