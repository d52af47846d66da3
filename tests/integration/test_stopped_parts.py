"""A process that fills a part of a rebuild and is stopped: another takes its place, and everything is written once."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from time import monotonic, sleep
from typing import Any

import psutil
import pytest
from psycopg import Connection
from psycopg.sql import SQL, Identifier

from domain.journal.database import Database
from projections.rebuilding import division, part_processes
from projections.rebuilding.rebuilder import rebuilding
from projections.rebuilding.requests import Rebuild, find_rebuild, request_rebuild
from projections.rebuilding.transitions import UNDER_WAY
from projections.registry import PROJECTIONS
from tests.author import Bookkeeper
from tests.integration.stopped_programs import ROOT
from tests.lifeline import ends_with_the_tests
from tests.projecting import await_head, eventually, projecting

pytestmark = [pytest.mark.integration, pytest.mark.apart]

WORKERS = 2


def fill(database: Database) -> None:
    """A journal of everything, and its projections at the head of it."""
    Bookkeeper(database, 7).write()
    with projecting(database), database.connect("test") as connection:
        await_head(connection)


@pytest.fixture(autouse=True)
def divided(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short journals are filled by processes too."""
    monkeypatch.setattr(division, "SHORT_EVENTS", 0)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of the processes that were started here to fill parts."""
    started: list[int] = []
    start = part_processes.PartProcess._start

    def starting(filler: part_processes.PartProcess) -> None:
        start(filler)
        assert filler._process is not None
        ends_with_the_tests(filler._process.pid)
        started.append(filler._process.pid)

    monkeypatch.setattr(part_processes.PartProcess, "_start", starting)
    return started


@contextmanager
def locked(database: Database, projection: str, version: int) -> Iterator[Connection[Any]]:
    """The first table of a version is locked meanwhile, so that whoever fills it waits in the midst of a batch."""
    table = PROJECTIONS[projection].table_names(version)[0]
    with database.connect_as_owner("test lock") as connection, connection.transaction():
        connection.execute(SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(Identifier(table)))
        yield connection


def asked_for(database: Database, name: str) -> Rebuild:
    """A rebuild that nobody carries out yet."""
    with database.connect("test service") as connection:
        return request_rebuild(connection, name, "test")


def fillers(parent: int) -> list[psutil.Process]:
    """The processes that fill parts for a parent."""
    found = []
    for child in psutil.Process(parent).children(recursive=True):
        with suppress(psutil.Error):
            if "projections.rebuilding.part" in child.cmdline():
                found.append(child)
    return found


def waiting(owner: Connection[Any]) -> int:
    """How many sessions that fill parts wait for a lock."""
    row = owner.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND application_name = 'tallystick filling' AND wait_event_type = 'Lock'"
    ).fetchone()
    return int(row[0]) if row else 0


def in_a_copy(owner: Connection[Any]) -> int:
    """How many sessions that fill parts the server waits for in the midst of a statement."""
    row = owner.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND application_name = 'tallystick filling' AND state = 'active' AND wait_event_type = 'Client'"
    ).fetchone()
    return int(row[0]) if row else 0


def await_equal(owner: Connection[Any], asked: Rebuild) -> None:
    """Wait until a rebuild has ended, and see that it made what the live version was."""

    def is_over() -> bool:
        return find_rebuild(owner, asked.name, asked.version).state not in UNDER_WAY

    eventually(is_over)
    ended = find_rebuild(owner, asked.name, asked.version)
    assert (ended.state, ended.equal, len(ended.comparisons) > 0) == ("switched", True, True)


@pytest.mark.prepared(by=fill)
def test_a_part_that_is_stopped_in_the_midst_of_a_batch_is_replaced(
    database: Database, owner: Connection[Any], started: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(part_processes, "SILENT_SECONDS", 3.0)
    asked = asked_for(database, "balances")
    with rebuilding(database, [PROJECTIONS["balances"]], WORKERS):
        with locked(database, "balances", asked.version):
            eventually(lambda: waiting(owner) == WORKERS)
            assert len(started) == WORKERS
            victim, other = started
            os.kill(victim, signal.SIGSTOP)
        await_equal(owner, asked)
        assert len(started) == WORKERS + 1
        assert not psutil.pid_exists(victim)
    assert not any(map(psutil.pid_exists, started))
    assert other in started


@pytest.mark.prepared(by=fill)
def test_a_part_that_is_stopped_before_it_has_said_a_word_is_replaced(
    database: Database, owner: Connection[Any], started: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(part_processes, "SILENT_SECONDS", 3.0)
    monkeypatch.setattr(part_processes, "STARTING_SECONDS", 5.0)
    start = part_processes.PartProcess._start

    def stopping(filler: part_processes.PartProcess) -> None:
        start(filler)
        if len(started) == 1:
            os.kill(started[0], signal.SIGSTOP)

    monkeypatch.setattr(part_processes.PartProcess, "_start", stopping)
    asked = asked_for(database, "entries")
    with rebuilding(database, [PROJECTIONS["entries"]], WORKERS):
        await_equal(owner, asked)
    assert len(started) >= WORKERS + 1
    assert not any(map(psutil.pid_exists, started))


@pytest.mark.prepared(by=fill)
def test_a_part_that_waits_for_the_database_is_left_to_it(
    database: Database, owner: Connection[Any], started: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(part_processes, "SILENT_SECONDS", 3.0)
    asked = asked_for(database, "balances")
    with rebuilding(database, [PROJECTIONS["balances"]], WORKERS):
        with locked(database, "balances", asked.version):
            eventually(lambda: waiting(owner) == WORKERS)
            sleep(8)
            assert waiting(owner) == len(started) == WORKERS
        await_equal(owner, asked)
    assert len(started) == WORKERS


def test_who_was_stopped_itself_takes_nobody_for_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(part_processes, "monotonic", lambda: now[0])
    filler = part_processes.PartProcess()
    filler._silent_since = filler._looked_at = now[0]
    now[0] += part_processes.SILENT_SECONDS + 100
    assert not filler._hangs(None)
    for _ in range(int(part_processes.SILENT_SECONDS)):
        now[0] += 1
        assert not filler._hangs(None)
    now[0] += 1
    assert filler._hangs(None)


ELSEWHERE = """
import sys
from domain.journal.database import Database
from projections.rebuilding import division, part_processes
from projections.rebuilding.rebuilder import rebuilding
from projections.registry import PROJECTIONS

division.SHORT_EVENTS = 0
with rebuilding(Database(*sys.argv[1:]), [PROJECTIONS["balances"]], 2):
    print("rebuilding", flush=True)
    sys.stdin.read()
"""


@contextmanager
def rebuilding_elsewhere(database: Database) -> Iterator[psutil.Popen]:
    """Another machine that carries out the rebuild; what it has started is ended with it."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", ELSEWHERE, database.url, database.schema]
    process = psutil.Popen(command, env=environment, cwd=ROOT, stdin=-1, stdout=-1)
    try:
        assert process.stdout.readline() == b"rebuilding\n"
        yield process
    finally:
        for child in fillers(process.pid):
            child.kill()
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


@pytest.mark.long
@pytest.mark.prepared(by=fill)
def test_parts_of_a_machine_that_hangs_hold_up_no_other_machine(
    database: Database, owner: Connection[Any], started: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("projections.rebuilding.rebuilder.SILENCE_SECONDS", 8.0)
    asked = asked_for(database, "balances")
    with rebuilding_elsewhere(database) as elsewhere:
        with locked(database, "balances", asked.version):
            eventually(lambda: waiting(owner) == WORKERS)
            hanging = [elsewhere, *fillers(elsewhere.pid)]
            for process in hanging:
                process.suspend()
        # No timer of the server runs there.
        eventually(lambda: in_a_copy(owner) >= 1)
        with rebuilding(database, [PROJECTIONS["balances"]], WORKERS):
            began = monotonic()
            await_equal(owner, asked)
            assert monotonic() - began < 60
            for process in hanging:
                with suppress(psutil.NoSuchProcess):
                    process.resume()
            # What wakes up finds that it is fenced, and changes nothing.
            eventually(lambda: not fillers(elsewhere.pid))
    (live,) = owner.execute(
        "SELECT version FROM projection_versions WHERE name = 'balances' AND live AND state = 'running'"
    ).fetchall()
    assert live == (asked.version,)
    assert len(started) >= WORKERS
