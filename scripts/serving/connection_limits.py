"""How many connections one API process keeps, for how long, and which of them are ended first.

One check of all connections twice a second replaces a timer for each step of each request. Such timers would cost every
request some microseconds, and half a second more or less does not matter.
"""

import resource
from time import monotonic
from typing import Protocol

import structlog

MAX_CONNECTIONS = 2000
MIN_CONNECTIONS = 16
# Descriptors the process needs for its program and libraries, the database pool, the listening database connections,
# the connections to providers, and the connections that are being refused.
RESERVED_DESCRIPTORS = 128
# This many connections beyond the limit are told so and may read it. The others are closed at once.
TOLD_AT_ONCE = 32

LOOK_SECONDS = 0.5
# A client that has just connected may be about to send its request.
SPARED_SECONDS = 1.0
# Reporting the end sooner would log a line for every short pause.
QUIET_SECONDS = 5.0
# How many waiting connections are ended together. Sorting all of them for each single one would cost more.
ENDED_TOGETHER = 16

_log = structlog.get_logger(__name__)


class Connection(Protocol):
    """What `Connections` needs of a connection."""

    @property
    def waits_since(self) -> float | None:
        """Since when it is idle or its request incomplete, on the monotonic clock. None while it is being answered."""

    @property
    def has_asked(self) -> bool:
        """Whether it has ever sent a complete request."""

    def look(self, now: float) -> None:
        """End the connection if something has taken too long."""

    def make_way(self) -> None:
        """End the connection, because another one needs its place. It is not being answered."""


def bound_of_connections() -> int:
    """Return how many connections this process can keep with the descriptors it may open."""
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(MIN_CONNECTIONS, min(MAX_CONNECTIONS, descriptors - RESERVED_DESCRIPTORS))


class Connections:
    """The connections of one process. `bound` is how many are kept; `now` is the time of the last check."""

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
        """Keep a connection if there is room or some can be made. Tell whether it is kept."""
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
        """Stop counting a connection that ends as soon as its client has read its answer."""
        if connection in self._kept:
            self._kept.discard(connection)
            self._ending.add(connection)

    def remove(self, connection: Connection) -> None:
        """Forget a connection that has ended."""
        self._kept.discard(connection)
        self._ending.discard(connection)

    def look(self) -> bool:
        """Check all connections. Tell whether there is anything to check next time."""
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
        """End the connections that have waited longest, starting with those that never sent a request."""
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
