"""The answer to a COMMIT is lost: a recorded batch is found, and an unrecorded one is recorded, exactly once."""

from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from eventsourcing.persistence import IntegrityError, StoredEvent, Tracking
from msgspec.structs import replace

from domain.commit.pipeline import Pipeline
from domain.journal.database import Database
from domain.journal.eventsourcing.factory import JournalDatastore
from domain.journal.eventsourcing.recorder import JournalProcessRecorder, JournalRecorder
from domain.journal.writer import JournalWriter
from domain.model.accounts import Account
from domain.model.streams import account_stream
from tests.integration.severing_proxy import SeveringProxy
from tests.ledgers import folded, history, open_accounts, outcomes, running, transfer

pytestmark = pytest.mark.integration

ALICE = "main/accounts/alice"
EVENTS = [
    StoredEvent(ALICE, 1, "test.event", b"one"),
    StoredEvent(ALICE, 2, "test.event", b"two"),
    StoredEvent("main/accounts/bob", 1, "test.event", b"three"),
]


@pytest.fixture
def proxy(database: Database) -> Iterator[SeveringProxy]:
    with SeveringProxy(database.url) as proxy:
        yield proxy


@pytest.fixture
def proxied(database: Database, proxy: SeveringProxy) -> Database:
    """The database as seen through the proxy."""
    return database._replace(url=proxy.database_url)


@pytest.fixture
def datastore(proxied: Database) -> Iterator[JournalDatastore]:
    datastore = JournalDatastore(proxied, pool_size=2, connect_timeout_seconds=5.0)
    yield datastore
    datastore.close()


def recorded(connection: psycopg.Connection[Any]) -> list[tuple[int, str, int, bytes]]:
    columns = "notification_id, originator_id, originator_version, state"
    return connection.execute(f"SELECT {columns} FROM events ORDER BY notification_id").fetchall()


ONCE = [
    (1, ALICE, 1, b"one"),
    (2, ALICE, 2, b"two"),
    (3, "main/accounts/bob", 1, b"three"),
]


def test_the_recorder_finds_what_it_had_recorded(
    datastore: JournalDatastore, proxy: SeveringProxy, owner: psycopg.Connection[Any]
) -> None:
    recorder = JournalRecorder(datastore)
    proxy.sever_next_commit()
    assert recorder.insert_events(EVENTS) == [1, 2, 3]
    assert proxy.severed.is_set()
    assert recorded(owner) == ONCE
    assert recorder.insert_events([StoredEvent(ALICE, 3, "test.event", b"four")]) == [4]


def test_also_where_it_is_told_what_others_have_recorded_since(
    datastore: JournalDatastore, proxy: SeveringProxy, owner: psycopg.Connection[Any], database: Database
) -> None:
    recorder = JournalRecorder(datastore)
    recorder.insert_events([StoredEvent("main/accounts/carol", 1, "test.event", b"before")])
    proxy.sever_next_commit()
    assert recorder.insert_events(EVENTS) == [2, 3, 4]
    direct = JournalDatastore(database, pool_size=1, connect_timeout_seconds=5.0)
    assert JournalRecorder(direct).insert_events([StoredEvent(ALICE, 3, "test.event", b"after")]) == [5]
    direct.close()
    assert [position for position, *_ in recorded(owner)] == [1, 2, 3, 4, 5]


def test_a_position_that_is_recorded_with_events_is_found_with_them(
    datastore: JournalDatastore, proxy: SeveringProxy, owner: psycopg.Connection[Any]
) -> None:
    recorder = JournalProcessRecorder(datastore)
    proxy.sever_next_commit()
    assert recorder.insert_events(EVENTS, tracking=Tracking("upstream", 7)) == [1, 2, 3]
    assert proxy.severed.is_set()
    assert recorded(owner) == ONCE
    assert recorder.max_tracking_id("upstream") == 7


def wait_for_a_waiting_writer(connection: psycopg.Connection[Any]) -> None:
    query = (
        "SELECT count(*) FROM pg_locks WHERE NOT granted AND pg_blocking_pids(pid) @> ARRAY[pg_backend_pid()]"
    )
    while connection.execute(query).fetchone() == (0,):
        pass


@pytest.fixture
def interrupted(
    datastore: JournalDatastore, proxy: SeveringProxy, owner: psycopg.Connection[Any]
) -> Iterator["Future[Any]"]:
    """An append that lost its connection before it could commit, while `owner` holds the head's lock."""
    with ThreadPoolExecutor(1) as thread:
        owner.execute("BEGIN; SELECT * FROM head FOR UPDATE")
        appending = thread.submit(JournalRecorder(datastore).insert_events, EVENTS)
        wait_for_a_waiting_writer(owner)
        proxy.cut()
        yield appending


def test_what_was_not_recorded_is_recorded_by_the_next_attempt(
    interrupted: "Future[Any]", proxy: SeveringProxy, owner: psycopg.Connection[Any]
) -> None:
    owner.execute("COMMIT")
    proxy.restore()
    assert interrupted.result(timeout=30) == [1, 2, 3]
    assert recorded(owner) == ONCE


def test_what_another_writer_recorded_is_not_taken_for_ones_own(
    interrupted: "Future[Any]", proxy: SeveringProxy, owner: psycopg.Connection[Any]
) -> None:
    owner.execute("UPDATE head SET position = 1")
    owner.execute("INSERT INTO events VALUES (%s, 1, 'test.event', 'another', 1)", (ALICE,))
    owner.execute("COMMIT")
    proxy.restore()
    with pytest.raises(IntegrityError):
        interrupted.result(timeout=30)
    assert recorded(owner) == [(1, ALICE, 1, b"another")]


def test_a_part_that_another_writer_recorded_is_not_taken_for_the_whole(
    interrupted: "Future[Any]", proxy: SeveringProxy, owner: psycopg.Connection[Any]
) -> None:
    owner.execute("UPDATE head SET position = 2")
    owner.execute("INSERT INTO events VALUES (%s, 1, 'test.event', 'one', 1)", (ALICE,))
    owner.execute("INSERT INTO events VALUES ('main/accounts/carol', 1, 'test.event', 'another', 2)")
    owner.execute("COMMIT")
    proxy.restore()
    with pytest.raises(IntegrityError):
        interrupted.result(timeout=30)
    assert [state for _, _, _, state in recorded(owner)] == [b"one", b"another"]


def test_a_conflict_is_told_at_once_and_not_taken_for_a_lost_connection(
    datastore: JournalDatastore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even for an event equal to the existing one: repeating it without a lost answer is a conflict."""
    recorder = JournalRecorder(datastore)
    recorder.insert_events(EVENTS)
    monkeypatch.setattr(recorder, "_already_recorded", None)  # it must not be called
    for _ in range(50):
        with pytest.raises(IntegrityError):
            recorder.insert_events(EVENTS[:1])


@pytest.mark.parametrize("commands", [1, 300], ids=["one", "a batch"])
@pytest.mark.parametrize("is_ahead", [True, False], ids=["ahead of the lock", "under the lock"])
def test_the_group_commit_answers_what_it_had_recorded(
    commands: int,
    is_ahead: bool,
    database: Database,
    proxied: Database,
    proxy: SeveringProxy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not is_ahead:
        monkeypatch.setattr(Pipeline, "decide", lambda *_: None)
    with running(proxied) as ledger:
        open_accounts(ledger, "alice", "bob")
        proxy.sever_next_commit()
        asked = [transfer("alice", "bob", 1, key=f"key-{n}") for n in range(commands)]
        results = ledger.execute(*asked).result(timeout=30)
        assert proxy.severed.is_set()
        assert all(getattr(result, "recorded", False) for result in results), results
        assert ledger.account("main", "bob")[0].balance == commands
    folded(history(database))


def test_what_another_writer_recorded_in_its_place_is_not_taken_for_a_batch(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its last event is the same, as when a caller has sent that request again, to another process."""
    asked_twice = replace(transfer("a", "b", 1), effective_at="2026-11-01T00:00:00.000000Z")
    with running(database) as one, running(database) as other:
        open_accounts(one, "a", "b", "c", "d", "e", "f")

        def lose(self: JournalWriter, values: Mapping[str, Any]) -> bool:
            monkeypatch.undo()
            outcomes(other.execute(transfer("e", "f", 1), asked_twice).result())
            raise psycopg.OperationalError("the connection is lost")

        monkeypatch.setattr(JournalWriter, "append", lose)
        first, again = outcomes(one.execute(transfer("c", "d", 1), asked_twice).result())
    assert first.recorded and again.replayed
    states = folded(history(database))
    balances = [states[account_stream("main", address)] for address in "abcdef"]
    assert [state.posted_debits for state in balances if isinstance(state, Account)] == [1, 0, 1, 0, 1, 0]
