"""`tallystick place` moves a ledger of a placement, says what it does, and goes on after it was cut off."""

from collections.abc import Sequence

import pytest
from typer.testing import CliRunner

from domain.journal.database import Database
from domain.journal.migrations import latest
from domain.placement import mover
from domain.placement.installations import Installation
from domain.placement.mover import Mover
from domain.placement.whereabouts import find
from scripts.doctor.moves import between
from scripts.tallystick import application
from tests.ledgers import CONTEXT, open_accounts, running, transfer
from tests.moving import Killed, dying
from tests.payouts import a_request
from tests.placements import beside, environment_of, prepared

pytestmark = pytest.mark.integration


@pytest.fixture
def placed(database: Database, monkeypatch: pytest.MonkeyPatch) -> Sequence[Installation]:
    """Three installations, of which the first has the ledger main."""
    monkeypatch.setattr(mover, "KNOWN_SECONDS", 0.0)
    placed = beside(database, "east", "west", "north")
    prepared(placed)
    for name, value in environment_of(placed).items():
        monkeypatch.setenv(name, value)
    with running(database) as ledger:
        open_accounts(ledger, "a", "b")
        ledger.perform(transfer("a", "b", 1))
    prepared(placed)
    return placed


def place(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(application(["place", "stuck"]), ["place", *arguments])
    return result.exit_code, result.output


def mapped(placed: Sequence[Installation]) -> str:
    with placed[0].database.connect("test") as home:
        row = home.execute("SELECT installation FROM placements WHERE ledger = 'main'").fetchone()
    assert row is not None
    return str(row[0])


def test_it_moves_the_ledger_and_then_the_map(placed: Sequence[Installation]) -> None:
    code, said = place("main", "--on", "west", "--yes")
    assert code == 0, said
    assert "main has moved from east to west: " in said and "all of them compared" in said
    assert mapped(placed) == "west"
    assert place("main", "--on", "west", "--yes") == (0, "main is on west\n")
    assert place("main", "--on", "north", "--yes")[0] == 0
    assert mapped(placed) == "north"
    assert place("main", "--on", "east", "--yes")[0] == 0
    found = find("main", placed)
    assert found is not None and (found.at.name, mapped(placed)) == ("east", "east")
    with running(placed[0].database) as ledger:
        assert ledger.account("main", "b")[0].balance == 1


@pytest.mark.parametrize("lacking", ["east", "west"])
def test_nothing_is_moved_where_migrations_are_pending(placed: Sequence[Installation], lacking: str) -> None:
    """It would be cut off after the ledger had left."""
    (database,) = (found.database for found in placed if found.name == lacking)
    with database.connect_as_owner("test") as owner:
        owner.execute("DELETE FROM migrations WHERE name = %s", (latest(),))
        code, said = place("main", "--on", "west", "--yes")
        assert (code, f"`tallystick migrate --installation {lacking}`" in " ".join(said.split())) == (3, True)
        assert find("main", placed) == (placed[0], None)
        owner.execute("INSERT INTO migrations (name) VALUES (%s)", (latest(),))
    assert place("main", "--on", "west", "--yes")[0] == 0


@pytest.mark.parametrize("step", ["copy", "freeze", "leave", "arrive", "done"])
def test_it_goes_on_where_it_was_cut_off(placed: Sequence[Installation], step: str) -> None:
    east, west, _ = placed
    with pytest.raises(Killed):
        Mover("main", east, west, CONTEXT, dying(step)).run()
    if step not in ("done",):
        code, said = place("main", "--on", "north", "--yes")
        assert (code, "being moved to west" in said) == (3, True)
    code, said = place("main", "--on", "west", "--yes")
    assert code == 0, said
    assert mapped(placed) == "west"


def test_it_gives_up_a_move(placed: Sequence[Installation]) -> None:
    east, west, _ = placed
    assert "no move is under way" in place("main", "--cancel")[1]
    with pytest.raises(Killed):
        Mover("main", east, west, CONTEXT, dying("leave")).run()
    assert place("main", "--cancel") == (0, "the move is cancelled: main is written on east\n")
    with pytest.raises(Killed):
        Mover("main", east, west, CONTEXT, dying("arrive")).run()
    code, said = place("main", "--cancel")
    assert (code, "run the move again" in said) == (3, True)


def test_it_refuses_an_installation_by_another_name(
    placed: Sequence[Installation], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No process would find the ledger by that name in the map."""
    east, west, north = placed
    assert place("main", "--on", "west", "--yes")[0] == 0
    for name, value in environment_of([east, west._replace(name="other"), north]).items():
        monkeypatch.setenv(name, value)
    for target in ("other", "north"):
        code, said = place("main", "--on", target, "--yes")
        assert (code, "ledgers to west" in " ".join(said.split())) == (3, True)
    assert mapped(placed) == "west"


def test_it_says_what_it_cannot_do(placed: Sequence[Installation], monkeypatch: pytest.MonkeyPatch) -> None:
    assert "there is no ledger other" in place("other", "--on", "west", "--yes")[1]
    assert place("main", "--on", "south", "--yes")[0] == 2
    assert place("main")[0] == 2
    code, said = place("main", "--on", "west")
    assert (code, "nothing was done" in said) == (3, True)
    with placed[1].database.connect("tallystick writer"):
        code, said = place("main", "--on", "west", "--yes")
        assert (code, "an older release" in said) == (3, True)
    monkeypatch.delenv("TALLYSTICK_INSTALLATIONS")
    monkeypatch.setenv("TALLYSTICK_DATABASE_URL", placed[0].database.url)
    assert "one installation" in place("main", "--on", "west", "--yes")[1]


def test_it_finishes_a_move_while_a_third_installation_is_away(
    placed: Sequence[Installation], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger is written nowhere meanwhile, and the two that have it are within reach."""
    east, west, north = placed
    away = (Installation("away", north.database._replace(url="postgresql://127.0.0.1:1/x")), east, west)
    with pytest.raises(Killed):
        Mover("main", east, west, CONTEXT, dying("arrive")).run()
    found = find("main", away)
    assert found is not None and (found.at, found.bound_for) == (east, "west")
    monkeypatch.setenv(*environment_of((east, west, away[0])).popitem())
    code, said = place("main", "--on", "west", "--yes")
    assert code == 0, said
    assert mapped(placed) == "west"


def test_the_doctor_finds_a_ledger_that_left_and_did_not_arrive(placed: Sequence[Installation]) -> None:
    east, west, north = placed
    with pytest.raises(Killed):
        Mover("main", east, west, CONTEXT, dying("arrive")).run()
    assert between(placed, 10.0).findings == []
    with east.database.connect_as_owner("test") as owner:
        owner.execute("UPDATE ledger_moves SET changed_at = now() - interval '1 minute'")
    command = "tallystick place main --on west --yes"
    for seen in (placed, [east, west]):
        (found,) = between(seen, 10.0).findings
        assert (found.code, list(found.commands)) == ("move_not_arrived", [command])
    assert between([east, north], 10.0).findings == []
    result = CliRunner().invoke(application(["doctor"]), ["doctor", "--json"])
    assert (result.exit_code, command in result.output) == (3, True)
    assert place("main", "--on", "west", "--yes")[0] == 0
    assert place("main", "--on", "north", "--yes")[0] == 0
    with east.database.connect_as_owner("test") as owner:
        owner.execute("UPDATE ledger_moves SET changed_at = now() - interval '1 minute'")
    assert between(placed, 10.0).findings == []


def test_it_says_whose_database_cannot_be_used(
    placed: Sequence[Installation], monkeypatch: pytest.MonkeyPatch
) -> None:
    east, west, north = placed
    lacking = Installation("north", north.database._replace(schema="not_migrated"))
    away = Installation("north", north.database._replace(url="postgresql://127.0.0.1:1/x"))
    for third, words in ((lacking, 'the schema "not_migrated" '), (away, "the database is out of reach: ")):
        monkeypatch.setenv(*environment_of((east, west, third)).popitem())
        for ledger, to in (("main", "north"), ("nowhere", "west")):
            code, said = place(ledger, "--on", to, "--yes")
            assert (code, f"north could not answer: {words}" in said) == (3, True), said


def test_commands_tell_nothing_of_a_ledger_that_is_elsewhere(placed: Sequence[Installation]) -> None:
    """What is there ends with the move, so a report of it would be wrong."""
    east, west, _ = placed
    with running(east.database) as ledger:
        ledger.perform(a_request("rent", 1, "a"))
    with pytest.raises(Killed):
        Mover("main", east, west, CONTEXT, dying("arrive")).run()
    asked = {
        ("report", "trial-balance", "--ledger", "main"): 3,
        ("tail", "--ledger", "main"): 3,
        ("payouts", "list", "--ledger", "main"): 3,
        ("payouts", "list"): 0,
        ("trace", "rent"): 3,
        ("trace", "rent", "--ledger", "main"): 3,
    }
    for installation, words in (("east", "main has moved to west"), ("west", "main has not arrived here")):
        for arguments, code in asked.items():
            command = application([arguments[0]])
            result = CliRunner().invoke(command, [*arguments, "--installation", installation])
            assert (arguments, result.exit_code) == (arguments, code)
            assert "rent" not in result.stdout
            assert ("--ledger" in arguments) is (words in result.output)
    # All together know that it is between them, and tell what was recorded before it left.
    result = CliRunner().invoke(application(["trace"]), ["trace", "rent", "--ledger", "main"])
    assert (result.exit_code, "left east and has not arrived at west" in result.output) == (0, True)
