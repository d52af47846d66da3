"""The journal of the service under test, and times in it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from psycopg.rows import dict_row

from tests.projecting import eventually, set_state


class Journal:
    """The journal of the service as auditors read it: the public view, in the order of positions."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def head(self) -> int:
        """The newest position."""
        (position,) = self._connection.execute("SELECT position FROM head").fetchone() or (0,)
        return int(position)

    def after(self, position: int) -> list[dict[str, Any]]:
        """The events recorded after a position."""
        cursor = self._connection.cursor(row_factory=dict_row)
        query = "SELECT * FROM journal WHERE position > %s ORDER BY position"
        return cursor.execute(query, [position]).fetchall()

    def pause(self, projection: str) -> None:
        """Pause a projection."""
        set_state(self._connection, projection, "paused")

    def resume(self, projection: str) -> None:
        """Resume a projection."""
        set_state(self._connection, projection, "running")


def soon(seconds: float = 3.0) -> str:
    """A time in the near future, but later than the decision on a request that names it."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def await_time(time: str) -> None:
    """Wait until a time has passed."""
    eventually(lambda: datetime.now(UTC) > datetime.fromisoformat(time))
