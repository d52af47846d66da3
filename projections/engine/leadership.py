"""Leadership: places that only one process at a time can hold, and who takes over from a holder that hangs.

A place is an advisory lock of a session. It is free as soon as the session is gone. All that its holder writes is
written in that same session, so a holder that lost the place can write nothing more. A holder proves that it is alive
by sending statements. `try_acquire` has the server end the session after `SESSION_SILENCE_SECONDS` of silence, and
standbys end a session that the server would keep waiting for (`domain/journal/silence.py`). A loop that holds a place
sends something at least every `SAY_EVERY_SECONDS`, also while it waits for something else; computing in between must
take less than the rest of the allowed silence.
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
    """Take the one place that exists for a purpose and a name, such as a projection's; tell whether it was free.

    The place is held until the connection ends or is silent for too long.
    """
    row = connection.execute(_SQL["hold"], {"purpose": purpose, "name": name}).fetchone()
    if row is None or not row[0]:
        return False
    bound_session(connection)
    return True


class Standby:
    """Waits for places, and checks that their holders are alive."""

    def __init__(self) -> None:
        self._watches: dict[tuple[str, str], Watch] = {}
        self._look_at = 0.0

    def try_acquire(self, connection: Connection[Any], purpose: str, name: str) -> bool:
        """Take a place and return true if it is free. Otherwise check whether its holder is silent."""
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
        """Try every `seconds` until the place is taken; return false if `stop` is set first."""
        while not self.try_acquire(connection, purpose, name):
            if stop.wait(seconds):
                return False
        return True


class ClockWrong(Exception):
    """This machine's clock differs from the database's, so another machine should do the work that follows a clock."""


class Timekeeper:
    """Compares a clock with the database's from time to time, for work that follows the clock."""

    def __init__(self, clock: Callable[[], Instant], max_difference_seconds: float | None) -> None:
        """If `max_difference_seconds` is None, nothing is compared."""
        self._clock = clock
        self._max_difference_seconds = max_difference_seconds
        self._compare_at = 0.0

    def require_right(self, connection: Connection[Any]) -> None:
        """Raise `ClockWrong` if the clock differs. It asks the database at most every `SAY_EVERY_SECONDS`."""
        if self._max_difference_seconds is None or monotonic() < self._compare_at:
            return
        before = moment(self._clock()).timestamp()
        (database,) = connection.execute(_SQL["clock"]).fetchone() or (before,)
        after = moment(self._clock()).timestamp()
        if max(before - database, database - after) > self._max_difference_seconds:
            raise ClockWrong(f"the clock differs from the database's by {before - database:.1f} s")
        self._compare_at = monotonic() + SAY_EVERY_SECONDS


def say_something(connection: Connection[Any]) -> None:
    """Prove that the holder of this connection is alive."""
    connection.execute("SELECT")


def pause(connection: Connection[Any], stop: threading.Event, seconds: float) -> None:
    """Wait until the time is over or `stop` is set, and keep the connection's place meanwhile."""
    until = monotonic() + seconds
    while not stop.wait(min(SAY_EVERY_SECONDS, max(0.0, until - monotonic()))) and monotonic() < until:
        say_something(connection)


def result_of(connection: Connection[Any], future: "Future[Found]", timeout_seconds: float) -> Found:
    """Return the result of another thread, and keep the connection's place meanwhile; raises `TimeoutError`."""
    until = monotonic() + timeout_seconds
    while (left := until - monotonic()) > SAY_EVERY_SECONDS:
        try:
            return future.result(SAY_EVERY_SECONDS)
        except Late:
            if future.done():
                raise
            say_something(connection)
    return future.result(max(0.0, left))
