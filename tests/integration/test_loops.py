"""The loop of the background parts: whatever ends its connection, it starts again, and it stops when it is asked to."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import Connection
from structlog.testing import capture_logs

from domain.journal.database import Database
from domain.journal.outage import Denials, Outage
from domain.journal.silence import as_login
from projections.engine import leadership
from projections.engine.leadership import ClockWrong, Loop, Pauses, try_acquire
from tests.projecting import eventually

PLACE = ("test", "loop")
PATIENCE_SECONDS = 30.0

Work = Callable[[Connection[Any]], None]


@pytest.fixture(autouse=True)
def outage(monkeypatch: pytest.MonkeyPatch) -> Outage:
    """No other test's losses decide what is logged."""
    outage = Outage("database")
    monkeypatch.setattr(leadership, "DATABASE", outage)
    return outage


@pytest.fixture(autouse=True)
def denials(monkeypatch: pytest.MonkeyPatch) -> Denials:
    """No other test's denials decide what is logged."""
    denials = Denials()
    monkeypatch.setattr(leadership, "DENIALS", denials)
    return denials


@pytest.fixture
def said() -> Iterator[list[Any]]:
    with capture_logs() as lines:
        yield lines


@contextmanager
def looping(loop: Loop, serve: Work, stop: threading.Event) -> Iterator[None]:
    thread = threading.Thread(target=loop.run, args=(stop, serve), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(PATIENCE_SECONDS)
    assert not thread.is_alive()


def test_a_loop_that_is_stopped_in_an_outage_leaves_none_behind(outage: Outage, tmp_path: Path) -> None:
    stop, nowhere = threading.Event(), Database(f"postgresql://nobody@/postgres?host={tmp_path}")
    with looping(Loop(nowhere, "loop"), lambda connection: None, stop):
        eventually(lambda: outage.parts == {"loop"})
    assert outage.parts == frozenset()


class Working:
    """Work that fails in one way at first, and works from then on."""

    def __init__(self, stop: threading.Event, fail: Work, times: int) -> None:
        self._stop = stop
        self._fail = fail
        self._times = times
        self.begun = 0
        self.is_well = threading.Event()

    def __call__(self, connection: Connection[Any]) -> None:
        self.begun += 1
        if self.begun <= self._times:
            self._fail(connection)
        self.is_well.set()
        self._stop.wait(PATIENCE_SECONDS)


def lose(connection: Connection[Any]) -> None:
    with as_login(connection):
        connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")


def meet_denial(connection: Connection[Any]) -> None:
    connection.execute("DELETE FROM events")


def meet_deadlock(_: object) -> None:
    raise psycopg.errors.DeadlockDetected("deadlock detected")


def fail(_: object) -> None:
    raise ValueError("a fault")


def run_until_well(database: Database, fail: Work, times: int = 2, **settings: Any) -> None:
    stop = threading.Event()
    work = Working(stop, fail, times)
    loop = Loop(database, "test", PLACE, **{"pause_seconds": lambda _: 0.01, **settings})
    with looping(loop, work, stop):
        assert work.is_well.wait(PATIENCE_SECONDS)
    assert work.begun == times + 1


def is_free(database: Database) -> bool:
    with database.connect("tallystick test") as connection:
        return try_acquire(connection, *PLACE)


def test_a_lost_connection_is_made_again_and_said_once_at_each_end(
    database: Database, said: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = iter([True, True, False])
    connect = Database.connect

    def connect_or_not(self: Database, application_name: str) -> Any:
        if bool(said) and next(refused, False):
            raise psycopg.OperationalError("connection refused")
        return connect(self, application_name)

    monkeypatch.setattr(Database, "connect", connect_or_not)
    run_until_well(database, lose, times=1)
    assert [(line["event"], line.get("part")) for line in said] == [
        ("database out of reach", "test"),
        ("database within reach again", None),
    ]


def test_a_denial_is_said_once_and_is_no_interruption(
    database: Database, said: list[Any], denials: Denials
) -> None:
    run_until_well(database, meet_denial)
    assert [line["event"] for line in said] == ["database denies what is needed"]
    assert denials.times == 2


@pytest.mark.parametrize(
    ("fault", "usual", "has_traceback"),
    [(meet_deadlock, (), False), (fail, (), True), (fail, (ValueError,), False)],
)
def test_any_other_failure_is_said_each_time(
    database: Database, said: list[Any], fault: Work, usual: tuple[type[Exception], ...], has_traceback: bool
) -> None:
    run_until_well(database, fault, usual=usual)
    assert [(line["event"], line["log_level"]) for line in said] == [("test interrupted", "warning")] * 2
    assert {line["exc_info"] is not None for line in said} == {has_traceback}


def test_a_part_may_say_its_failures_itself(database: Database, said: list[Any]) -> None:
    failures: list[Exception] = []
    run_until_well(database, fail, failed=failures.append)
    assert [repr(error) for error in failures] == ["ValueError('a fault')"] * 2
    assert not said


def test_each_end_of_a_connection_is_told_once_the_place_is_free(database: Database) -> None:
    free: list[bool] = []
    run_until_well(database, fail, times=1, ended=lambda: free.append(is_free(database)))
    assert free == [True, True]


def test_the_pause_depends_on_the_failure(database: Database) -> None:
    asked: list[Exception] = []

    def pause_seconds(error: Exception) -> float:
        asked.append(error)
        return 0.0

    run_until_well(database, fail, pause_seconds=pause_seconds)
    assert [type(error) for error in asked] == [ValueError, ValueError]


def test_a_check_that_fails_leaves_the_place_to_others(database: Database, said: list[Any]) -> None:
    free: list[bool] = []

    def check(_: object) -> None:
        free.append(is_free(database))
        raise ClockWrong("the clock differs")

    stop, never = threading.Event(), Working(threading.Event(), fail, 0)
    loop = Loop(database, "test", PLACE, check, pause_seconds=lambda _: 0.01)
    with looping(loop, never, stop):
        eventually(lambda: len(said) >= 3)
    assert all(free)
    assert never.begun == 0
    assert {(line["event"], line["exc_info"]) for line in said} == {("test interrupted", None)}


def test_it_stands_by_until_the_place_is_free(database: Database) -> None:
    stop = threading.Event()
    work = Working(stop, fail, 0)
    with database.connect("tallystick holder") as holder:
        assert try_acquire(holder, *PLACE)
        with looping(Loop(database, "test", PLACE), work, stop):
            assert not work.is_well.wait(2 * leadership.STANDBY_SECONDS)
            holder.close()
            assert work.is_well.wait(PATIENCE_SECONDS)
            assert not is_free(database)
    assert is_free(database)


def test_it_stops_while_it_stands_by(database: Database) -> None:
    stop = threading.Event()
    work = Working(stop, fail, 0)
    with database.connect("tallystick holder") as holder:
        assert try_acquire(holder, *PLACE)
        with looping(Loop(database, "test", PLACE), work, stop):
            eventually(lambda: _sessions(holder) == 1)
    assert work.begun == 0


def test_it_stops_while_it_pauses(database: Database, said: list[Any]) -> None:
    stop = threading.Event()
    work = Working(stop, fail, 1)
    loop = Loop(database, "test", PLACE, pause_seconds=lambda _: 10 * PATIENCE_SECONDS)
    with looping(loop, work, stop):
        eventually(lambda: bool(said))
    assert work.begun == 1


def test_it_does_not_begin_once_it_is_stopped(database: Database) -> None:
    stop = threading.Event()
    stop.set()
    work = Working(stop, fail, 0)
    with looping(Loop(database, "test", PLACE), work, stop):
        pass
    assert work.begun == 0


def test_pauses_double_up_to_the_longest_until_they_begin_again() -> None:
    pauses = Pauses(0.1, 0.5)
    assert [pauses.next_seconds() for _ in range(5)] == [0.1, 0.2, 0.4, 0.5, 0.5]
    pauses.reset()
    assert pauses.next_seconds() == 0.1


def _sessions(connection: Connection[Any]) -> int:
    row = connection.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'tallystick test'"
        " AND datname = current_database()"
    ).fetchone()
    assert row is not None
    return int(row[0])
