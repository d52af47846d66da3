"""Leadership: places that only one process at a time can hold, who takes over from a holder that hangs, and the loop
in which background parts hold them.

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
from typing import Any, NamedTuple, TypeVar

import psycopg
import structlog
from psycopg import Connection

from domain.journal.database import Database
from domain.journal.outage import DATABASE, DENIALS, is_denied, is_lost
from domain.journal.queries import load
from domain.journal.silence import HOLDERS_OF_PLACE, Watch, bound_session
from domain.model.times import Instant, moment

SAY_EVERY_SECONDS = 2.0
STANDBY_SECONDS = 0.5
RECONNECT_SECONDS = 0.5

Found = TypeVar("Found")
Work = Callable[[Connection[Any]], None]
_SQL = load("projections.engine.batches")
_log = structlog.get_logger(__name__)


def try_acquire(connection: Connection[Any], purpose: str, name: str) -> bool:
    """Take the one place that exists for a purpose and a name, such as a projection's; tell whether it was free.

    The place is held until the connection ends or is silent for too long.
    """
    row = _SQL["hold"].row(connection, {"purpose": purpose, "name": name})
    if row is None or not row[0]:
        return False
    bound_session(connection)
    return True


def release(connection: Connection[Any], purpose: str, name: str) -> None:
    """Give a place up that the connection holds."""
    _SQL["release"].run(connection, {"purpose": purpose, "name": name})


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


class Pauses:
    """Pauses that double from one failure to the next."""

    def __init__(self, first_seconds: float, longest_seconds: float) -> None:
        self._first_seconds = self._next_seconds = first_seconds
        self._longest_seconds = longest_seconds

    def next_seconds(self) -> float:
        """Return how long to wait after this failure."""
        seconds, self._next_seconds = self._next_seconds, min(2 * self._next_seconds, self._longest_seconds)
        return seconds

    def reset(self) -> None:
        """Begin with the first pause again."""
        self._next_seconds = self._first_seconds


class Loop(NamedTuple):
    """A background loop: it connects, takes its place or stands by, works, and starts again after each failure."""

    database: Database
    part: str
    """What the loop is called in the log."""
    place: tuple[str, str] | None = None
    """The purpose and name of the place to take. If None, the work takes the places that it needs."""
    check: Work | None = None
    """Called before the place is taken. It raises if this process should leave the place to others."""
    usual: tuple[type[Exception], ...] = ()
    """Failures that are logged without a traceback, besides `psycopg.Error` and `ClockWrong`."""
    failed: Callable[[Exception], None] | None = None
    """Logs a failure that is neither a lost connection nor a denial. If None, it is logged as a warning."""
    pause_seconds: Callable[[Exception], float] = lambda _: RECONNECT_SECONDS
    """Returns how long to wait after a failure."""
    ended: Callable[[], None] = lambda: None
    """Called whenever a connection, and the place with it, is gone."""

    def run(self, stop: threading.Event, serve: Work) -> None:
        """Run until `stop` is set. No failure ends it.

        `serve` works on the connection, which holds the place. It returns only once `stop` is set.
        """
        while not stop.is_set():
            self.turn(stop, serve)
        DATABASE.ended(self.part)

    def turn(self, stop: threading.Event, serve: Work) -> None:
        """Connect and serve once. After a failure, pause."""
        seconds = 0.0
        try:
            with self.database.connect(f"tallystick {self.part}") as connection:
                DATABASE.back(self.part)
                if self._is_leader(connection, stop):
                    serve(connection)
        except Exception as error:  # noqa: BLE001 - nothing may end a background loop
            self._say(error)
            seconds = self.pause_seconds(error)
        self.ended()
        stop.wait(seconds)

    def _is_leader(self, connection: Connection[Any], stop: threading.Event) -> bool:
        """Wait for the place, if there is one to take; return false if `stop` is set first."""
        if self.check is not None:
            self.check(connection)
        return self.place is None or Standby().wait(connection, *self.place, stop, STANDBY_SECONDS)

    def _say(self, error: Exception) -> None:
        if is_lost(error):
            DATABASE.lost(self.part, error)
        elif is_denied(error):
            DENIALS.note(error)
        elif self.failed is not None:
            self.failed(error)
        else:
            is_usual = isinstance(error, (psycopg.Error, ClockWrong, *self.usual))
            _log.warning(f"{self.part} interrupted", error=repr(error), exc_info=None if is_usual else error)


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
        (database,) = _SQL["clock"].row(connection) or (before,)
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
