"""Places: of what one process at a time may do, who does it, and who takes over when that one hangs.

A place is an advisory lock of a session. It is free as soon as the session is gone, and all that its holder writes is
written in that same session: who has lost the place can write nothing more. So a holder proves that it is alive by
speaking. `try_acquire` has the server end its session after `SESSION_SILENCE_SECONDS` of silence, and those who stand
by end one that the server would wait for (`domain/journal/silence.py`). A loop that holds a place says something at
least every `SAY_EVERY_SECONDS`, also while it waits for something else; what it computes in between takes less than the
rest.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as Late
from time import monotonic
from typing import Any, TypeVar

from psycopg import Connection

from domain.journal.queries import load
from domain.journal.silence import HOLDERS_OF_PLACE, Watch, bound_session
from domain.model.times import Instant, moment

SAY_EVERY_SECONDS = 2.0

Found = TypeVar("Found")
_SQL = load("projections.engine.batches")


def try_acquire(connection: Connection[Any], purpose: str, name: str) -> bool:
    """Take the one place there is for a purpose on a projection; tell whether it was free.

    It is held until the connection ends, or says nothing for too long.
    """
    row = connection.execute(_SQL["hold"], {"purpose": purpose, "name": name}).fetchone()
    if row is None or not row[0]:
        return False
    bound_session(connection)
    return True


class Standby:
    """Waits for places, and sees that those who hold them are alive."""

    def __init__(self) -> None:
        self._watches: dict[tuple[str, str], Watch] = {}
        self._look_at = 0.0

    def try_acquire(self, connection: Connection[Any], purpose: str, name: str) -> bool:
        """Take a place if it is free, and tell so; otherwise look at who holds it."""
        if try_acquire(connection, purpose, name):
            self._watches.pop((purpose, name), None)
            return True
        watch = self._watches.setdefault(
            (purpose, name), Watch(HOLDERS_OF_PLACE, {"purpose": purpose, "name": name})
        )
        watch.look(connection)
        return False

    def wait(
        self, connection: Connection[Any], purpose: str, name: str, stop: threading.Event, seconds: float
    ) -> bool:
        """Try every so many seconds until the place is taken; return false if `stop` is set first."""
        while not self.try_acquire(connection, purpose, name):
            if stop.wait(seconds):
                return False
        return True


class ClockWrong(Exception):
    """This machine's clock differs from the database's, so that others do better what follows a clock."""


class Timekeeper:
    """Compares a clock with the database's now and then, for those who act by it."""

    def __init__(self, clock: Callable[[], Instant], max_difference_seconds: float | None) -> None:
        """Nothing is compared where `max_difference_seconds` is None."""
        self._clock = clock
        self._max_difference_seconds = max_difference_seconds
        self._compare_at = 0.0

    def require_right(self, connection: Connection[Any]) -> None:
        """Raise `ClockWrong` if the clock differs; asks the database every `SAY_EVERY_SECONDS` at most."""
        if self._max_difference_seconds is None or monotonic() < self._compare_at:
            return
        before = moment(self._clock()).timestamp()
        (database,) = connection.execute(_SQL["clock"]).fetchone() or (before,)
        after = moment(self._clock()).timestamp()
        if max(before - database, database - after) > self._max_difference_seconds:
            raise ClockWrong(f"the clock differs from the database's by {before - database:.1f} s")
        self._compare_at = monotonic() + SAY_EVERY_SECONDS


def say_something(connection: Connection[Any]) -> None:
    """Prove that the holder is alive."""
    connection.execute("SELECT")


def pause(connection: Connection[Any], stop: threading.Event, seconds: float) -> None:
    """Wait, and keep the place that the connection holds, until the time is over or `stop` is set."""
    until = monotonic() + seconds
    while not stop.wait(min(SAY_EVERY_SECONDS, max(0.0, until - monotonic()))) and monotonic() < until:
        say_something(connection)


def result_of(connection: Connection[Any], future: "Future[Found]", timeout_seconds: float) -> Found:
    """Return what another thread finds, and keep the place meanwhile; raises `TimeoutError`."""
    until = monotonic() + timeout_seconds
    while (left := until - monotonic()) > SAY_EVERY_SECONDS:
        try:
            return future.result(SAY_EVERY_SECONDS)
        except Late:
            if future.done():
                raise
            say_something(connection)
    return future.result(max(0.0, left))
