"""How far the copy of a standby is behind its primary."""

from typing import Any, NamedTuple

from psycopg import Connection

from domain.journal.queries import load

_SQL = load(__name__)


class Replay(NamedTuple):
    """Whether the server follows a primary, and how old its copy is.

    `lag_seconds` is 0 if everything that arrived is replayed and the connection to the primary stands. Without that
    connection it is the age of the last commit replayed, since nobody here knows what came after it. None is unknown:
    nothing was replayed since the server started. On a primary it is 0.
    """

    is_copy: bool
    lag_seconds: float | None

    def is_within(self, seconds: float | None) -> bool:
        """Tell whether the copy is known to be at most this old. None is no bound."""
        return seconds is None or (self.lag_seconds is not None and self.lag_seconds <= seconds)


def read_replay(connection: Connection[Any]) -> Replay:
    """Return how far the server of a connection is behind its primary."""
    return Replay(*_SQL["replay"].only(connection))
