"""A small pool of connections for reads. Each is checked before it is lent, and replaced if it is dead.

psycopg's pool connects in the background, and waits longer after each failure. After a restart of PostgreSQL, each of
its dead connections cost another reader seconds. Here the reader that needs a connection makes it, so nobody waits
longer than that takes.
"""

import select
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic, sleep
from typing import Any, NamedTuple

import psycopg
from psycopg import Connection
from psycopg.pq import TransactionStatus

from domain.journal.database import UnfitDatabase
from domain.journal.outage import Outage

PATIENCE_SECONDS = 5.0
"""How long readers wait for a database that is away. Readers that come after that fail at once until it is back."""

RETRY_SECONDS = 0.05
MAX_IDLE_SECONDS = 600.0
MAX_AGE_SECONDS = 3600.0

_PART = "readers"


class NoReader(psycopg.OperationalError):
    """Every connection is in use, and none became free in time."""


class _Kept(NamedTuple):
    connection: Connection[Any]
    made_at: float
    used_at: float


class Readers:
    """At most `size` connections at once. The most recently used is lent first, so surplus ones become idle."""

    def __init__(
        self,
        connect: Callable[[], Connection[Any]],
        size: int,
        outage: Outage,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        """`outage` is told whether `connect` succeeds."""
        self._connect = connect
        self._outage = outage
        self._patience_seconds = patience_seconds
        self._free = threading.BoundedSemaphore(size)
        self._lock = threading.Lock()
        self._idle: list[_Kept] = []
        self._is_closed = False
        self._lost_at: float | None = None
        self._drained_at = 0.0

    def open(self, wait: bool = False, timeout: float = 0.0) -> None:
        """Do nothing: connections are made when they are needed."""

    def __enter__(self) -> "Readers":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def connection(self) -> Iterator[Connection[Any]]:
        """A connection in autocommit mode for one reader; raises `psycopg.OperationalError` if there is none."""
        if not self._free.acquire(timeout=self._patience_seconds):
            raise NoReader(f"no connection became free in {self._patience_seconds:g} s")
        try:
            kept = self._take() or _Kept(self._connect_anew(), monotonic(), monotonic())
            try:
                yield kept.connection
            finally:
                self._give_back(kept)
        finally:
            self._free.release()

    def drain(self) -> None:
        """Discard all present connections, idle or lent: one of them was lost, so others may be about to be."""
        with self._lock:
            self._drained_at = monotonic()
            idle, self._idle = self._idle, []
        for kept in idle:
            kept.connection.close()

    def close(self) -> None:
        """Close the idle connections. Lent ones are closed when they are returned."""
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
        for kept in idle:
            kept.connection.close()

    def _take(self) -> _Kept | None:
        """Return the most recently used connection that is alive, or None. Dead ones found on the way are closed."""
        while True:
            with self._lock:
                if not self._idle:
                    return None
                kept = self._idle.pop()
            if not is_ended(kept.connection):
                return kept
            kept.connection.close()

    def _give_back(self, kept: _Kept) -> None:
        now = monotonic()
        connection, made_at, _ = kept
        is_clean = not connection.closed and connection.info.transaction_status == TransactionStatus.IDLE
        with self._lock:
            outworn = [old for old in self._idle if old.used_at < now - MAX_IDLE_SECONDS]
            self._idle = [young for young in self._idle if young.used_at >= now - MAX_IDLE_SECONDS]
            is_to_be_kept = is_clean and not self._is_closed and made_at > self._youngest_outworn(now)
            if is_to_be_kept:
                self._idle.append(kept._replace(used_at=now))
            else:
                outworn.append(kept)
        for old in outworn:
            old.connection.close()

    def _youngest_outworn(self, now: float) -> float:
        return max(self._drained_at, now - MAX_AGE_SECONDS)

    def _connect_anew(self) -> Connection[Any]:
        """Connect, trying again until the database has been away for `patience_seconds`."""
        while True:
            try:
                connection = self._connect()
            except UnfitDatabase:
                raise
            except psycopg.OperationalError as error:
                self._outage.lost(_PART, error, when_asked=True)
                with self._lock:
                    now = monotonic()
                    self._lost_at = self._lost_at or now
                    is_over = now >= self._lost_at + self._patience_seconds
                if is_over or self._is_closed:
                    raise
                sleep(RETRY_SECONDS)
            else:
                self._lost_at = None
                self._outage.back(_PART)
                return connection


def is_ended(connection: Connection[Any]) -> bool:
    """Tell whether an idle connection is dead. The server is asked only if it has sent something by itself.

    The server announces an end by a restart, an administrator, a time-out or a failover. A host that vanished is found
    only by its silence, in the time that keepalives give it.
    """
    if connection.closed:
        return True
    arrived = select.poll()
    arrived.register(connection.fileno(), select.POLLIN)
    if not arrived.poll(0):
        return False
    try:
        connection.execute("")
    except psycopg.Error:
        return True
    return False
