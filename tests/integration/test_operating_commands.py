"""`tallystick dead-letters` and `tallystick projections`, on the database itself."""

import json
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from psycopg import Connection
from typer import Typer
from typer.testing import Result

from domain.journal.database import Database
from projections.registry import PROJECTIONS
from scripts.commands.dead_letters import dead_letters
from scripts.commands.projections import projections
from tests.commands import invoke
from tests.ledgers import open_accounts, running
from tests.poisoning import Poisoned, poisoned
from tests.projecting import append, await_head, projecting

pytestmark = pytest.mark.integration


def run(command: Typer, database: Database, *arguments: str) -> Result:
    """Run a command on a database."""
    options = ["--database-url", database.url, "--schema", database.schema]
    return invoke(command, [*arguments, *options])


def letters(database: Database, *options: str) -> list[dict[str, Any]]:
    result = run(dead_letters, database, "list", "--json", *options)
    assert result.exit_code == 0, result.output
    shown: list[dict[str, Any]] = json.loads(result.stdout)
    return shown


@pytest.fixture
def failing(database: Database, owner: Connection[Any]) -> Iterator[Poisoned]:
    """The projection of accounts. It could not apply one account."""
    with poisoned("balances") as balances, running(database) as ledger:
        balances.streams.add("main/accounts/a")
        with projecting(database, tuple(PROJECTIONS.values())):
            open_accounts(ledger, "a", "b")
            await_head(owner)
        yield balances


def test_letters_are_listed_and_shown(database: Database, failing: Poisoned) -> None:
    (letter,) = letters(database, "--state", "open", "--projection", "balances")
    assert (letter["stream"], letter["state"], letter["closing"]) == ("main/accounts/a", "open", None)
    assert letters(database, "--state", "discarded") == []
    table = run(dead_letters, database, "list").stdout.splitlines()
    assert table[0].split()[:4] == ["id", "projection", "state", "position"]
    assert letter["id"] in table[1] and "poison at" in table[1]
    shown = run(dead_letters, database, "show", letter["id"])
    assert json.loads(shown.stdout) == letter


def test_a_letter_is_retried_until_it_passes(database: Database, failing: Poisoned) -> None:
    (letter,) = letters(database)
    again = run(dead_letters, database, "retry", letter["id"])
    assert again.exit_code == 1
    assert "failed again, at attempt 4: ValueError: poison" in again.stderr
    failing.streams.clear()
    for _ in range(2):
        retried = run(dead_letters, database, "retry", letter["id"], "--reason", "mended")
        assert (retried.exit_code, retried.stdout) == (0, f"The dead letter {letter['id']} is resolved.\n")
    (resolved,) = letters(database, "--state", "resolved")
    assert resolved["closing"]["reason"] == "mended"
    assert resolved["closing"]["by"].endswith(" at a terminal")
    UUID(resolved["closing"]["correlation_id"])
    refused = run(dead_letters, database, "discard", letter["id"], "--reason", "x")
    assert (refused.exit_code, refused.stdout) == (3, "")
    assert "closed in another way before" in refused.stderr


def test_all_letters_are_retried(database: Database, failing: Poisoned) -> None:
    again = run(dead_letters, database, "retry-all")
    assert (again.exit_code, again.stdout) == (1, "0 resolved, 1 not.\n")
    failing.streams.clear()
    none = run(dead_letters, database, "retry-all", "--projection", "entries")
    assert (none.exit_code, none.stdout) == (0, "0 resolved, 0 not.\n")
    done = run(dead_letters, database, "retry-all", "--projection", "balances", "--reason", "mended")
    assert (done.exit_code, done.stdout) == (0, "1 resolved, 0 not.\n")
    assert letters(database, "--state", "open") == []


def test_a_letter_is_discarded_for_a_reason(
    database: Database, owner: Connection[Any], failing: Poisoned
) -> None:
    state = b'{"class_version":1,"data":{}}'
    position = append(owner, "main/accounts/a", 2, "account.frozen", state)
    owner.execute("UPDATE projection_versions SET position = %s WHERE name = 'balances'", (position,))
    (letter,) = letters(database)
    for reason in ([], ["--reason", " "]):
        assert run(dead_letters, database, "discard", letter["id"], *reason).exit_code == 2
    discarded = run(dead_letters, database, "discard", letter["id"], "--reason", "of a test")
    assert discarded.exit_code == 0
    (following,) = letters(database, "--state", "open")
    assert following["stream_version"] == 2
    assert f"see {following['id']}" in discarded.stdout


def test_what_does_not_exist(database: Database) -> None:
    nobody = str(UUID(int=1))
    for result in (
        run(dead_letters, database, "show", nobody),
        run(dead_letters, database, "retry", nobody),
        run(dead_letters, database, "discard", nobody, "--reason", "x"),
        run(projections, database, "pause", "nothing"),
        run(projections, database, "resume", "nothing"),
    ):
        assert (result.exit_code, result.stdout) == (3, "")
        assert "There is no " in result.stderr


def test_projections_are_listed_paused_and_resumed(database: Database, owner: Connection[Any]) -> None:
    for _ in range(2):
        paused = run(projections, database, "pause", "entries", "--reason", "upgrade")
        assert (paused.exit_code, paused.stdout) == (0, "entries is paused at 0 of 0.\n")
    listed = {
        shown["name"]: shown for shown in json.loads(run(projections, database, "list", "--json").stdout)
    }
    assert listed["entries"]["state"] == "paused"
    assert set(listed) == set(PROJECTIONS)
    table = run(projections, database, "list").stdout.splitlines()
    assert [line.split()[0] for line in table] == ["name", *sorted(PROJECTIONS)]
    resumed = run(projections, database, "resume", "entries")
    assert (resumed.exit_code, resumed.stdout) == (0, "entries is running at 0 of 0.\n")
    rows = owner.execute("SELECT state, reason FROM projection_controls ORDER BY id").fetchall()
    assert rows == [("paused", "upgrade"), ("running", "")]


def test_a_database_that_was_not_migrated(empty_database: Database) -> None:
    for result in (run(dead_letters, empty_database, "list"), run(projections, empty_database, "list")):
        assert result.exit_code == 3
        assert "run `tallystick migrate` first" in result.stderr
