"""Logs an outage: once when something is lost, once a minute while it lasts, and once when it is back.

Many parts of a process use the same database. Each of them tries again several times a second, and all lose it at the
same moment. They share one `Outage`, so that an operator reads one line instead of hundreds.
"""

import threading
from collections.abc import Callable
from time import monotonic

import psycopg
import structlog

from domain.model.errors import JournalUnavailable

REMIND_SECONDS = 60.0

# psycopg puts the last two into the class "invalid transaction state", under internal errors. They mean that the server
# has ended the session.
_ENDED = (
    psycopg.InterfaceError,
    psycopg.errors.IdleInTransactionSessionTimeout,
    psycopg.errors.TransactionTimeout,
)

# A right, a table or writing itself was taken away behind the service's back: no other connection helps.
_DENIED = (
    psycopg.errors.InsufficientPrivilege,
    psycopg.errors.ReadOnlySqlTransaction,
    psycopg.errors.InvalidSchemaName,
    psycopg.errors.UndefinedTable,
    psycopg.errors.UndefinedColumn,
)

# Others hold what is needed, and the database undid the transaction rather than let it wait on.
_LOCKED = (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected)

# A standby had to apply what the primary has done meanwhile, and ended the read that it would have changed. Nothing
# else fails to serialise here: reads only read, and no write of the journal runs at a level at which it could.
_REPLAYED = psycopg.errors.SerializationFailure

_log = structlog.get_logger(__name__)


class Outage:
    """Whether this process can reach one thing, and if not, since when."""

    def __init__(
        self, what: str, remind_seconds: float = REMIND_SECONDS, clock: Callable[[], float] = monotonic
    ) -> None:
        self._what = what
        self._remind_seconds = remind_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._parts: dict[str, bool] = {}
        self._suspicious: set[str] = set()
        self._began_at = 0.0
        self._remind_at = 0.0
        self._ended_at: float | None = None

    @property
    def parts(self) -> frozenset[str]:
        """The parts of this process that cannot reach it now."""
        return frozenset(self._parts)

    def was_on(self, since: float) -> bool:
        """Tell whether any part of this process cannot reach it now, or could not after `since` on the clock.

        A moment and not a number of seconds: a thread that rests between two looks at the clock counts too few.
        """
        return bool(self._parts) or (self._ended_at is not None and self._ended_at > since)

    def lost(self, part: str, error: Exception, *, when_asked: bool = False) -> None:
        """Note that a part cannot reach it.

        A part that tries only `when_asked` may find out late, when all is well again. So the first of its consecutive
        failures is ignored, and the part counts as well again as soon as another part does.
        """
        with self._lock:
            if when_asked and part not in self._suspicious:
                self._suspicious.add(part)
                return
            now, is_first = self._clock(), not self._parts
            self._parts[part] = when_asked
            if is_first:
                self._began_at = now
            elif now < self._remind_at:
                return
            self._remind_at = now + self._remind_seconds
            seconds, parts = round(now - self._began_at, 1), len(self._parts)
        said = str(error).strip().partition("\n")[0] or type(error).__name__
        if is_first:
            _log.warning(f"{self._what} out of reach", part=part, error=said)
        else:
            _log.warning(f"{self._what} still out of reach", seconds=seconds, parts=parts, error=said)

    def back(self, part: str) -> None:
        """Note that a part can reach it."""
        if (
            not self._parts and not self._suspicious
        ):  # checked without the lock, because this runs after each commit
            return
        with self._lock:
            was_on = bool(self._parts)
            self._suspicious.discard(part)
            self._parts.pop(part, None)
            self._parts = {name: when_asked for name, when_asked in self._parts.items() if not when_asked}
            if not was_on or self._parts:
                return
            self._ended_at = self._clock()
            seconds = round(self._ended_at - self._began_at, 1)
        _log.warning(f"{self._what} within reach again", seconds=seconds)

    def ended(self, part: str) -> None:
        """Note that a part has ended. Nobody learns whether it could reach it again, and the outage is not its own."""
        with self._lock:
            self._suspicious.discard(part)
            if self._parts.pop(part, None) is not None and not self._parts:
                self._ended_at = self._clock()


DATABASE = Outage("database")
"""The database of this process."""


def is_lost(error: BaseException | None) -> bool:
    """Tell whether an error means that a connection was lost or cannot be made. Another connection may succeed."""
    if isinstance(error, psycopg.OperationalError):
        return error.sqlstate is None or error.sqlstate.startswith(("08", "57P"))
    if isinstance(error, JournalUnavailable):
        return error.reason == "unreachable"
    return isinstance(error, _ENDED)


def reason_of(error: BaseException) -> str:
    """Return the word for why the journal is unavailable, given the error of the database or of the library."""
    if is_overtaken(error) or is_overtaken(error.__cause__):
        return "replay"
    return "locked" if isinstance(error, _LOCKED) or isinstance(error.__cause__, _LOCKED) else "unreachable"


def is_overtaken(error: BaseException | None) -> bool:
    """Tell whether a standby ended a read because it conflicted with what the primary has done. It can be repeated."""
    return isinstance(error, _REPLAYED)


def is_denied(error: BaseException | None) -> bool:
    """Tell whether an error, or its cause, says that the database answers and denies the service what it needs."""
    while error is not None and not isinstance(error, _DENIED):
        error = error.__cause__
    return error is not None


class Denials:
    """What the database denies this process: said once a minute, with what was denied, while anything meets it."""

    def __init__(
        self, remind_seconds: float = REMIND_SECONDS, clock: Callable[[], float] = monotonic
    ) -> None:
        self._remind_seconds = remind_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self.times = 0
        """How often something was denied, ever."""

        self._remind_at = 0.0
        self._noted_at: float | None = None

    def was_on(self, since: float) -> bool:
        """Tell whether something was denied at `since` on the clock or later."""
        return self._noted_at is not None and self._noted_at >= since

    def note(self, error: BaseException) -> None:
        """Note that a request, or what goes on in the background, was denied something."""
        with self._lock:
            self.times += 1
            self._noted_at = now = self._clock()
            if now < self._remind_at:
                return
            self._remind_at = now + self._remind_seconds
        said = str(error).strip().partition("\n")[0] or type(error).__name__
        _log.error("database denies what is needed", error=said, times=self.times)


DENIALS = Denials()
"""What the database of this process denies it."""
