"""The readers' connections: bounded, checked before use, and replaced on demand."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import Any

import psycopg
import pytest
from eventsourcing.persistence import OperationalError
from psycopg import Connection

from domain.journal import read_connections as module
from domain.journal.database import Database
from domain.journal.eventsourcing.factory import JournalDatastore
from domain.journal.outage import Outage
from domain.journal.read_connections import NoReader, Readers

pytestmark = pytest.mark.integration


@pytest.fixture
def made() -> list[Connection[Any]]:
    return []


@pytest.fixture
def readers(database: Database, made: list[Connection[Any]]) -> Iterator[Readers]:
    def connect() -> Connection[Any]:
        made.append(database.connect("tallystick reader"))
        return made[-1]

    with Readers(connect, 3, Outage("database"), patience_seconds=0.5) as readers:
        yield readers


def pid(readers: Readers) -> int:
    with readers.connection() as connection:
        return connection.info.backend_pid


def test_one_after_the_other_they_use_the_same_connection(
    readers: Readers, made: list[Connection[Any]]
) -> None:
    assert len({pid(readers) for _ in range(10)}) == 1 == len(made)


def test_there_are_never_more_than_its_size(readers: Readers, made: list[Connection[Any]]) -> None:
    with ThreadPoolExecutor(20) as threads:
        list(threads.map(lambda _: pid(readers), range(200)))
    assert 1 <= len(made) <= 3


def test_who_finds_none_free_is_told_so(readers: Readers) -> None:
    held, ending = threading.Barrier(4), threading.Event()

    def hold() -> None:
        with readers.connection():
            held.wait()
            ending.wait(10)

    holders = [threading.Thread(target=hold) for _ in range(3)]
    for holder in holders:
        holder.start()
    held.wait()
    with pytest.raises(NoReader):
        pid(readers)
    ending.set()
    for holder in holders:
        holder.join()
    assert pid(readers)


def test_a_dead_connection_is_given_to_nobody(
    readers: Readers, owner: Connection[Any], made: list[Connection[Any]]
) -> None:
    first = pid(readers)
    owner.execute("SELECT pg_terminate_backend(%s, 5000)", (first,))
    assert pid(readers) != first
    assert made[0].closed


def test_what_the_server_says_by_itself_is_no_end(
    readers: Readers, database: Database, owner: Connection[Any]
) -> None:
    with readers.connection() as connection:
        connection.execute("LISTEN chatter")
        first = connection.info.backend_pid
    owner.execute("NOTIFY chatter")
    assert pid(readers) == first


def test_a_transaction_that_was_left_open_is_left_to_nobody(readers: Readers) -> None:
    with readers.connection() as connection:
        connection.execute("BEGIN")
        first = connection.info.backend_pid
    assert pid(readers) != first


def test_once_drained_none_of_those_in_use_is_kept(readers: Readers) -> None:
    with readers.connection() as connection:
        first = connection.info.backend_pid
        readers.drain()
    assert pid(readers) != first


def test_an_outworn_connection_is_replaced(readers: Readers, monkeypatch: pytest.MonkeyPatch) -> None:
    first = pid(readers)
    monkeypatch.setattr(module, "MAX_AGE_SECONDS", 0.0)
    assert pid(readers) == first  # found to be too old when it is given back
    assert pid(readers) != first


def test_readers_are_patient_at_first_and_later_ones_are_refused_at_once() -> None:
    attempts = 0

    def refuse() -> Connection[Any]:
        nonlocal attempts
        attempts += 1
        raise psycopg.OperationalError("connection refused")

    with Readers(refuse, 2, Outage("database"), patience_seconds=0.5) as readers:
        began = monotonic()
        with pytest.raises(psycopg.OperationalError):
            pid(readers)
        assert monotonic() - began >= 0.5 and attempts > 2
        attempts = 0
        with pytest.raises(psycopg.OperationalError):
            pid(readers)
        assert attempts == 1


def test_closed_it_keeps_nothing(readers: Readers, made: list[Connection[Any]]) -> None:
    with readers.connection():
        pid(readers)
        readers.close()
    assert len(made) == 2 and all(connection.closed for connection in made)


def test_a_pure_read_that_loses_its_connection_is_made_once_more(
    database: Database, owner: Connection[Any]
) -> None:
    datastore = JournalDatastore(database, 2, 1.0)
    seen: list[int] = []

    def read(connection: Connection[Any]) -> int:
        seen.append(connection.info.backend_pid)
        if len(seen) == 1:
            owner.execute("SELECT pg_terminate_backend(%s, 5000)", (seen[0],))
        return len(connection.execute("SELECT 1").fetchall())

    def read_always_lost(connection: Connection[Any]) -> None:
        seen.append(connection.info.backend_pid)
        owner.execute("SELECT pg_terminate_backend(%s, 5000)", (seen[-1],))
        connection.execute("SELECT 1")

    def read_wrongly(connection: Connection[Any]) -> None:
        seen.append(connection.info.backend_pid)
        connection.execute("SELECT 1 / 0")

    try:
        assert datastore.read(read) == 1
        assert len(set(seen)) == 2
        seen.clear()
        with pytest.raises(OperationalError):
            datastore.read(read_always_lost)
        assert len(seen) == 2
        seen.clear()
        with pytest.raises(Exception, match="division by zero"):
            datastore.read(read_wrongly)
        assert len(seen) == 1
    finally:
        datastore.close()
