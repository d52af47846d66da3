"""How many connections one API process keeps, for how long, and which of them end first.

One look at all of them twice a second decides, in place of a timer for each step of each request: those would cost
every request some microseconds, and half a second more or less matters to nobody.
"""

import resource
from time import monotonic
from typing import Protocol

import structlog

MAX_CONNECTIONS = 2000
MIN_CONNECTIONS = 16
# What a process needs besides: its program and libraries, the pool of the database and the connections that listen
# there, those to providers, and the connections that are being told that there is no room.
RESERVED_DESCRIPTORS = 128
# So many beyond the bound are told so, and may read it; the others are closed at once.
TOLD_AT_ONCE = 32

LOOK_SECONDS = 0.5
# Who has just connected may be about to ask.
SPARED_SECONDS = 1.0
# An end to what is over only for a moment would be a line for each moment.
QUIET_SECONDS = 5.0
# Of those that wait, how many are ended together: to look at all of them for each one would cost more than they do.
ENDED_TOGETHER = 16

_log = structlog.get_logger(__name__)


class Connection(Protocol):
    """What is asked of a connection."""

    @property
    def waits_since(self) -> float | None:
        """Since when it has asked for nothing; None while it is being answered."""

    @property
    def has_asked(self) -> bool:
        """Whether it has ever asked for anything."""

    def look(self, now: float) -> None:
        """End what has taken too long."""

    def make_way(self) -> None:
        """End, since others are to have the place; it asks for nothing now."""


def bound_of_connections() -> int:
    """Return how many connections this process can keep, given the descriptors that it may have."""
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(MIN_CONNECTIONS, min(MAX_CONNECTIONS, descriptors - RESERVED_DESCRIPTORS))


class Connections:
    """The connections of one process. `bound` is how many are kept; `now` is the time of the last look."""

    def __init__(self, bound: int) -> None:
        self.bound = bound
        self.now = monotonic()
        self._kept: set[Connection] = set()
        self._ending: set[Connection] = set()
        self._full_since: float | None = None
        self._full_at = 0.0
        self._ended = self._refused = 0
        self.is_looked_at = False

    def add(self, connection: Connection) -> bool:
        """Keep a connection, if there is room or some can be made; tell whether it is kept."""
        if len(self._kept) >= self.bound:
            self._make_room()
        if len(self._kept) >= self.bound:
            self._refused += 1
            self._ending.add(connection)
            return False
        self._kept.add(connection)
        return True

    @property
    def can_tell(self) -> bool:
        """Whether one more connection can be told that there is no room."""
        return len(self._ending) <= TOLD_AT_ONCE

    def ending(self, connection: Connection) -> None:
        """Count a connection no more: it ends as soon as its client has read what it was told."""
        if connection in self._kept:
            self._kept.discard(connection)
            self._ending.add(connection)

    def remove(self, connection: Connection) -> None:
        """Forget a connection that has ended."""
        self._kept.discard(connection)
        self._ending.discard(connection)

    def look(self) -> bool:
        """Look at all connections; tell whether there is anything to look at again."""
        self.now = monotonic()
        for connection in [*self._kept, *self._ending]:
            connection.look(self.now)
        if self._full_since is not None and self.now - self._full_at > QUIET_SECONDS:
            _log.warning(
                "connections are below their bound again",
                bound=self.bound,
                seconds=round(self._full_at - self._full_since, 1),
                ended=self._ended,
                refused=self._refused,
            )
            self._full_since = None
        return bool(self._kept or self._ending) or self._full_since is not None

    def _make_room(self) -> None:
        """End those that have waited longest, first those that never asked for anything."""
        self._full_at = self.now = monotonic()
        if self._full_since is None:
            self._full_since, self._ended, self._refused = self.now, 0, 0
            _log.warning("connections are at their bound", bound=self.bound)
        waiting = [
            (connection.has_asked, since, id(connection), connection)
            for connection in self._kept
            if (since := connection.waits_since) is not None and self.now - since > SPARED_SECONDS
        ]
        for *_, connection in sorted(waiting)[:ENDED_TOGETHER]:
            self._ended += 1
            connection.make_way()
            self.ending(connection)
