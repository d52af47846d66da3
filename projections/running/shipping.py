"""Hands to standbys at once what was written.

Projections commit without waiting for the disk (standing.sql), and a standby gets only what is there. By itself the
server sees to that within some `wal_writer_delay`, or with the next commit of a writer. By default that is 200 ms, for
which a reader of a standby would wait where nobody writes. Turns are seldom enough for a flush after each of them.
"""

from time import monotonic
from typing import Any

from psycopg import Connection

from domain.journal.queries import load

LOOK_SECONDS = 1.0
"""How long a look at whether there are standbys is believed."""

_SQL = load(__name__)


class Shipping:
    """Ships what the session commits that advances projections, where there are standbys."""

    def __init__(self) -> None:
        self._is_followed = False
        self._look_at = 0.0

    def ship(self, connection: Connection[Any]) -> None:
        """Have the server write to disk what was committed, if a standby waits for it. Takes one flush of the disk."""
        now = monotonic()
        if now >= self._look_at:
            self._look_at = now + LOOK_SECONDS
            (self._is_followed,) = _SQL["is_followed"].only(connection)
        if self._is_followed:
            _SQL["ship"].run(connection)
