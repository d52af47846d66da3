"""`tallystick replay`: what it is given, what it prints, and how it ends."""

from pathlib import Path
from typing import Any

import pytest
from psycopg import Connection

from domain.journal.database import Database
from projections.errors import ProjectionNotFound
from projections.rebuilding.rebuilder import rebuild
from projections.rebuilding.requests import current_rebuild, find_rebuild
from projections.rebuilding.unread_versions import unread_versions
from projections.registry import PROJECTIONS
from scripts.commands.replay.command import replay
from tests.commands import invoke
from tests.integration.rebuilds.journals import fill, tables, versions
from tests.integration.rebuilds.replaying import replayed

pytestmark = pytest.mark.integration


REPOSITORY = Path(__file__).parents[3]


@pytest.mark.parametrize(
    "tampering",
    [
        "UPDATE entries_v1 SET change = change + 1 WHERE position = (SELECT max(position) FROM entries_v1)",
        "DELETE FROM entries_v1 WHERE position = (SELECT min(position) FROM entries_v1) AND entry = 1",
        "INSERT INTO entries_v1 SELECT ledger, account, recorded_at, position, 9, transaction_id, kind, asset,"
        " direction, change, balance_after, debits_after, effective_at, reference FROM entries_v1 LIMIT 1",
        "UPDATE turnovers_v1 SET debits = debits + 1 WHERE span = 'day'",
    ],
)
def test_a_difference_is_refused_and_shown_until_it_is_accepted_with_a_reason(
    database: Database, owner: Connection[Any], service: Connection[Any], tampering: str
) -> None:
    fill(database, owner, 20)
    assert owner.execute(tampering).rowcount >= 1
    code, words = replayed(database, "entries")
    assert code == 1
    assert "v1 and" in words and "v2 differ" in words
    assert "only in the" in words
    assert "Not switched" in words
    assert versions(owner, "entries") == [(1, "running"), (2, "rebuilding")]

    # Without a reason it is rebuilt and refused again.
    code, words = replayed(database, "entries")
    assert (code, tables(owner, "entries")) == (1, ["entries_v1", "entries_v3"])
    stopped = current_rebuild(service, "entries")
    assert stopped is not None
    assert (stopped.version, stopped.state, stopped.equal) == (3, "differing", False)
    assert any(compared.differing for compared in stopped.comparisons)

    code, words = replayed(database, "accept", "entries", "--reason", "the disk was bad")
    assert code == 0
    assert "because: the disk was bad" in words
    assert versions(owner, "entries") == [(1, "retired"), (3, "running")]
    accepted = find_rebuild(service, "entries", 3)
    assert (accepted.state, accepted.accept_difference) == ("switched", "the disk was bad")
    assert accepted.accepted_by is not None and accepted.accepted_by.startswith("terminal")
    assert find_rebuild(service, "entries", 2).state == "cancelled"
    code, words = replayed(database, "entries")
    assert (code, "are equal" in words) == (0, True)


@pytest.mark.parametrize("cancel", [("cancel", "balances"), ("balances", "--cancel")], ids=" ".join)
def test_a_refused_rebuild_can_be_dropped(
    database: Database, owner: Connection[Any], cancel: tuple[str, ...]
) -> None:
    fill(database, owner, 20)
    owner.execute("UPDATE balances_v1 SET posted_debits = posted_debits + 1 WHERE address = 'account:1'")
    assert replayed(database, "balances")[0] == 1
    for _ in range(2):
        code, words = replayed(database, *cancel)
        assert (code, words.endswith("No rebuild of balances is under way.")) == (0, True)
    assert (versions(owner, "balances"), tables(owner, "balances")) == ([(1, "running")], ["balances_v1"])


def test_what_the_command_is_given_is_checked(database: Database, tmp_path: Path) -> None:
    for arguments in (
        ("nothing",),
        (),
        ("entries", "--all"),
        ("entries", "--accept-difference", " "),
        ("entries", "--reason", ""),
        ("entries", "--pause", "--cancel"),
        ("entries", "--workers", "0"),
        ("pause", "entries", "--workers", "2"),
        ("restart", "entries", "--reason", ""),
        ("drop-retired", "entries", "--reason", "x"),
    ):
        assert replayed(database, *arguments)[0] == 2, arguments
    result = invoke(replay, ["entries", "--data-dir", str(tmp_path / "absent")])
    assert result.exit_code == 3
    assert not (tmp_path / "absent").exists()
    with pytest.raises(ProjectionNotFound):
        rebuild(database, "nothing")


def test_all_projections_are_replayed_at_once(
    database: Database, owner: Connection[Any], service: Connection[Any]
) -> None:
    fill(database, owner, 20)
    code, words = replayed(database, "--all", "--reason", "an audit")
    assert code == 0
    for name in PROJECTIONS:
        assert f"Version 2 of {name} replaces 1." in words
        assert find_rebuild(service, name, 2).reason == "an audit"


def test_what_was_replaced_is_kept_until_it_is_dropped(database: Database, owner: Connection[Any]) -> None:
    fill(database, owner, 20)
    with database.connect("test reader") as reader, reader.transaction():
        reader.execute("SELECT count(*) FROM entries_v1")
        assert rebuild(database, "entries").switched
        assert [unread.version for unread in unread_versions(owner, "entries")] == [1]
        code, words = replayed(database, "drop-retired", "entries")
        assert (code, words) == (0, "Kept version 1 of entries (shape 2, retired): it is in use.")
        assert tables(owner, "entries") == ["entries_v1", "entries_v2"]
    code, words = replayed(database, "entries", "--drop-retired")
    assert (code, words.endswith("Dropped version 1 of entries (shape 2, retired).")) == (0, True)
    assert (versions(owner, "entries"), tables(owner, "entries")) == ([(2, "running")], ["entries_v2"])
    code, words = replayed(database, "drop-retired", "entries")
    assert (code, words) == (0, "There is no version of entries but the live one.")
