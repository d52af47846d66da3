"""The journal listener: hears on a connection that has other work what others announce, above all commits.

PostgreSQL wakes every listening session for every announcement, so a process that follows the journal needs no session
more for it. What is announced while the process does other things waits in the connection, and wakes nobody.
"""

from collections.abc import Iterable
from typing import Any

from psycopg import Connection, Notify
from psycopg.sql import SQL, Identifier

from domain.journal.database import Database

_MOST_DIGITS = 18


class JournalListener:
    """Announcements can be missed, so those who wait for them also look at the journal by themselves."""

    def __init__(self, connection: Connection[Any], database: Database, *channels: str) -> None:
        """Listen on the journal's channel, and on others. Nobody else may read the connection's notifications."""
        self._connection = connection
        self._journal_channel = database.journal_channel
        for channel in (self._journal_channel, *channels):
            connection.execute(SQL("LISTEN {}").format(Identifier(channel)))

    def hear(self, wait_seconds: float = 0.0) -> list[Notify]:
        """Return what was announced since the last call. If that is nothing, wait for something, or for so long."""
        return list(self._connection.notifies(timeout=max(0.0, wait_seconds), stop_after=1))

    def head(self, heard: Iterable[Notify]) -> int:
        """Return the newest position of the journal that was announced, or 0.

        Any login may send notifications, so the journal need not have it.
        """
        told = [heard.payload for heard in heard if heard.channel == self._journal_channel]
        return max((int(position) for position in told if is_position(position)), default=0)


def is_position(payload: str) -> bool:
    """Tell whether what was announced can be a position, as far as can be seen."""
    return payload.isdecimal() and len(payload) <= _MOST_DIGITS
