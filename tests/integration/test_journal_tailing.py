"""A reader that follows the journal by position misses nothing, however many processes write it and however they do."""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import psycopg
import pytest
from eventsourcing.persistence import StoredEvent

from domain.journal.database import Database
from domain.journal.eventsourcing.factory import JournalDatastore
from domain.journal.eventsourcing.recorder import JournalRecorder
from tests.ledgers import open_accounts, outcomes, running, transfer

pytestmark = pytest.mark.integration

RECORDING_PROCESSES = 4
COMMITTING_PROCESSES = 4
INSERTS = 100
EVENTS_OF_AN_INSERT = 5
BATCHES = 42
COMMANDS_OF_A_BATCH = 4
EVENTS_OF_A_TRANSFER = 3

Read = Callable[[int], list[int]]
"""Returns the positions after one, as many as it finds at that time."""


def record(database: Database, writer: int, barrier: Any) -> None:
    """A process that writes with the library's recorder."""
    datastore = JournalDatastore(database, pool_size=1, connect_timeout_seconds=5.0)
    recorder = JournalRecorder(datastore)
    stream = f"recorded/by/{writer}"
    barrier.wait(60)
    for n in range(INSERTS):
        versions = range(n * EVENTS_OF_AN_INSERT + 1, (n + 1) * EVENTS_OF_AN_INSERT + 1)
        positions = recorder.insert_events(
            [StoredEvent(stream, version, "test.event", b"") for version in versions]
        )
        assert positions is not None and len(positions) == EVENTS_OF_AN_INSERT
    datastore.close()


def commit(database: Database, writer: int, barrier: Any) -> None:
    """A process that writes with the group commit, as the service does."""
    with running(database) as ledger:
        barrier.wait(60)
        for _ in range(BATCHES):
            outcomes(ledger.execute(*(transfer("a", "b", 1) for _ in range(COMMANDS_OF_A_BATCH))).result())


def by_sql(connection: psycopg.Connection[Any]) -> Read:
    query = "SELECT notification_id FROM events WHERE notification_id > %s ORDER BY notification_id"
    return lambda after: [position for (position,) in connection.execute(query, (after,)).fetchall()]


def by_the_library(datastore: JournalDatastore) -> Read:
    recorder = JournalRecorder(datastore)

    def read(after: int) -> list[int]:
        found = recorder.select_notifications(start=after, limit=10, inclusive_of_start=False)
        return [notification.id for notification in found]

    return read


def follow(read: Read, written: Event) -> list[int]:
    """Read from the newest position seen, never looking back, until all is written and nothing more is found."""
    seen: list[int] = []
    while True:
        complete = written.is_set()
        found = read(seen[-1] if seen else 0)
        seen += found
        if complete and not found:
            return seen


def write_in_many_processes(database: Database) -> None:
    spawn = multiprocessing.get_context("spawn")
    barrier = spawn.Barrier(RECORDING_PROCESSES + COMMITTING_PROCESSES)
    ways = [record] * RECORDING_PROCESSES + [commit] * COMMITTING_PROCESSES
    processes = [
        spawn.Process(target=way, args=(database, writer, barrier), daemon=True)
        for writer, way in enumerate(ways)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(90)
        assert process.exitcode == 0


@pytest.mark.long
def test_a_tailing_reader_misses_nothing(database: Database) -> None:
    with running(database) as ledger:
        open_accounts(ledger, "a", "b")
        opened = ledger.head()
    datastore = JournalDatastore(database, pool_size=2, connect_timeout_seconds=5.0)
    written = Event()
    with ThreadPoolExecutor(2) as threads, database.connect("test reader") as connection:
        reads = by_sql(connection), by_the_library(datastore)
        readers = [threads.submit(follow, read, written) for read in reads]
        try:
            write_in_many_processes(database)
        finally:
            written.set()
        seen = [reader.result(timeout=60) for reader in readers]
    datastore.close()
    transfers = COMMITTING_PROCESSES * BATCHES * COMMANDS_OF_A_BATCH
    recorded = RECORDING_PROCESSES * INSERTS * EVENTS_OF_AN_INSERT
    every = list(range(1, opened + transfers * EVENTS_OF_A_TRANSFER + recorded + 1))
    for positions in seen:
        assert positions == every
    everything_was_written(database, transfers)


def everything_was_written(database: Database, transfers: int) -> None:
    with database.connect("test reader") as connection:
        rows: list[Any] = connection.execute(
            "SELECT originator_id, count(*), max(originator_version), max(notification_id) - min(notification_id)"
            " FROM events WHERE topic = 'test.event' GROUP BY 1 ORDER BY 1"
        ).fetchall()
        accounts: list[Any] = connection.execute(
            "SELECT sum((payload->>'debits')::bigint), sum((payload->>'credits')::bigint)"
            " FROM journal WHERE type = 'account.entries_posted'"
        ).fetchall()
    events = INSERTS * EVENTS_OF_AN_INSERT
    assert [row[:3] for row in rows] == [
        (f"recorded/by/{writer}", events, events) for writer in range(RECORDING_PROCESSES)
    ]
    assert accounts == [(transfers, transfers)]
    # They wrote at the same time: one's events are spread among the others'.
    assert any(spread > events for *_, spread in rows)
