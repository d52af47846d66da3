"""Announcements: followers hear of every commit soon, and of commits that follow each other closely together."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import Connection

from domain.commit import group_commit
from domain.commit.queue import SubmissionQueue
from domain.journal import writer as journal_writer
from domain.journal.abbreviations import WHOLE
from domain.journal.database import Database
from domain.journal.writer import JournalWriter, Rows
from projections.engine.journal_listener import JournalListener
from tests.ledgers import open_accounts, running, transfer
from tests.projecting import PATIENCE_SECONDS, eventually

pytestmark = pytest.mark.integration

NEVER_SECONDS = 3600.0


class Follower:
    """Hears what is announced of the journal."""

    def __init__(self, connection: Connection[Any], database: Database) -> None:
        self._connection = connection
        self._database = database
        self._listener = JournalListener(connection, database)

    def positions(self) -> list[str]:
        """Return what was announced since the last call. Announcements come in the order of their commits."""
        self._connection.execute("SELECT pg_notify(%s, 'over')", (self._database.journal_channel,))
        heard: list[str] = []
        while "over" not in heard:
            heard += [notification.payload for notification in self._listener.hear(PATIENCE_SECONDS)]
        return [payload for payload in heard if payload != "over"]


@pytest.fixture
def follower(database: Database, owner: Connection[Any]) -> Follower:
    return Follower(owner, database)


@pytest.fixture
def writer(database: Database) -> Iterator[JournalWriter]:
    writer = JournalWriter(database, "tallystick test")
    yield writer
    writer.disconnect()


def rows(after: int) -> Rows:
    """One event after a position."""
    return Rows(after, [f"main/accounts/{after}"], [1], ["test.event"], [b"{}"], [WHOLE])


def append(writer: JournalWriter, after: int) -> bool:
    """Append one event after a position."""
    return writer.append(rows(after).values("2026-01-01T00:00:00.000000Z"))


def append_locked(writer: JournalWriter, after: int) -> None:
    writer.lock(())
    writer.append_locked(rows(after).values("2026-01-01T00:00:00.000000Z"))


def test_a_commit_soon_after_an_announcement_is_announced_by_the_next_or_when_asked(
    writer: JournalWriter, follower: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_writer, "ANNOUNCE_SECONDS", NEVER_SECONDS)
    assert append(writer, 0)
    assert follower.positions() == ["1"]

    assert append(writer, 1)
    append_locked(writer, 2)
    assert writer.owes_announcement
    assert follower.positions() == []
    writer.announce()
    assert follower.positions() == ["3"]


def test_commits_that_are_far_apart_are_announced_one_by_one(
    writer: JournalWriter, follower: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_writer, "ANNOUNCE_SECONDS", 0.0)
    assert append(writer, 0)
    append_locked(writer, 1)
    assert append(writer, 2)
    assert follower.positions() == ["1", "2", "3"]
    assert not writer.owes_announcement


def test_what_was_not_appended_does_not_count_as_announced(
    writer: JournalWriter, follower: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_writer, "ANNOUNCE_SECONDS", NEVER_SECONDS)
    assert not append(writer, 5)
    assert append(writer, 0)
    assert follower.positions() == ["1"]


def test_a_commit_whose_acknowledgement_was_lost_is_announced_when_it_is_found(
    writer: JournalWriter, follower: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_writer, "ANNOUNCE_SECONDS", NEVER_SECONDS)
    assert append(writer, 0) and append(writer, 1)
    writer.disconnect()
    owed = [writer.owes_announcement]
    writer.lock(())
    assert not writer.contains(rows(2))
    owed.append(writer.owes_announcement)
    assert writer.contains(rows(1))
    writer.release()
    owed.append(writer.owes_announcement)
    assert owed == [False, False, True]
    writer.announce()
    assert follower.positions() == ["1", "2"]


def test_commands_that_record_nothing_put_no_announcement_off(
    database: Database, follower: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever tries out and repeats what was done keeps the writer busy, and announces nothing."""
    monkeypatch.setattr(journal_writer, "ANNOUNCE_SECONDS", 0.5)
    monkeypatch.setattr(SubmissionQueue, "is_idle_for", lambda *_: False)
    heard: set[str] = set()
    with running(database) as ledger:
        open_accounts(ledger, "a", "b")
        again = transfer("a", "b", 1)
        position = ledger.perform(again).position

        def is_heard() -> bool:
            assert ledger.perform(again).replayed
            heard.update(follower.positions())
            return str(position) in heard

        eventually(is_heard)


def test_the_last_of_many_commits_is_announced(database: Database, follower: Follower) -> None:
    with running(database) as ledger:
        open_accounts(ledger, "a", "b")
        for _ in range(20):
            position = ledger.perform(transfer("a", "b", 1)).position
        eventually(lambda: str(position) in follower.positions())


def test_who_stops_announces_what_is_not_announced_yet(
    database: Database, follower: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (journal_writer, group_commit):
        monkeypatch.setattr(module, "ANNOUNCE_SECONDS", NEVER_SECONDS)
    with running(database) as ledger:
        open_accounts(ledger, "a", "b")
        position = ledger.perform(transfer("a", "b", 1)).position
    assert follower.positions()[-1] == str(position)


def test_an_announcement_that_fails_keeps_no_command_from_being_recorded(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = 0

    def failing(self: JournalWriter) -> None:
        nonlocal failures
        failures += 1
        raise psycopg.OperationalError("the connection is lost")

    monkeypatch.setattr(journal_writer, "ANNOUNCE_SECONDS", NEVER_SECONDS)
    monkeypatch.setattr(group_commit, "ANNOUNCE_SECONDS", 0.0)
    monkeypatch.setattr(JournalWriter, "announce", failing)
    with running(database) as ledger:
        open_accounts(ledger, "a", "b")
        for amount in range(1, 6):
            seen = failures
            ledger.perform(transfer("a", "b", 1))
            eventually(lambda: failures > seen)  # noqa: B023  called at once
            assert ledger.account("main", "b")[0].balance == amount
