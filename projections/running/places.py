"""The holders of places. Each projection, each rebuild and each publisher has one, held by one PostgreSQL session.

`leadership.try_acquire` takes a place. This module shows its holder, so that an operator can tell a process that fails
or hangs from one that does not run.
"""

from collections.abc import Collection
from datetime import datetime
from typing import Any, Literal, NamedTuple

from psycopg import Connection

from domain.journal.queries import load
from domain.model.times import Instant, instant
from projections.registry import NATS, find_projection

Purpose = Literal["projection", "rebuild", "publish", "pay"]
Place = tuple[Purpose, str]
"""The purpose of a place, and its name."""

TRIED_LATELY_SECONDS = 30.0
"""A failing process retries every few seconds, so one that has not retried for this long is gone."""

_SQL = load(__name__)


class Session(NamedTuple):
    """A PostgreSQL session, and its state."""

    pid: int
    application_name: str
    user: str
    state: str

    def __str__(self) -> str:
        name = self.application_name or "unnamed"
        return f"PostgreSQL process {self.pid} ({name}, user {self.user or 'unknown'}, {self.state or 'unknown'})"


class Holder(NamedTuple):
    """The session that holds a place: its client, since when it is connected, and the processes it waits for, if any.

    A session of another login may not be fully visible.
    """

    pid: int
    application_name: str
    client: str
    since: Instant | None
    state: str
    blocked_by: tuple[int, ...]

    def __str__(self) -> str:
        name = self.application_name or "unnamed"
        since = f", connected since {self.since}" if self.since else ""
        return f"PostgreSQL process {self.pid} ({name}, from {self.client}{since})"


def holders(connection: Connection[Any], places: Collection[Place]) -> dict[Place, Holder]:
    """Return the holders of some places. Free places are left out. On a standby all places seem free."""
    wanted = {"purposes": [purpose for purpose, _ in places], "names": [name for _, name in places]}
    rows = _SQL["holders"].rows(connection, wanted)
    return {(purpose, name): _holder(*rest) for purpose, name, *rest in rows}


def places_of(name: str, purpose: Purpose = "projection") -> list[Place]:
    """Return the places in which a projection is advanced or rebuilt: this release's name for it, and an older one.

    Raises `ProjectionNotFound`.
    """
    if name == NATS:
        return [("publish", NATS)]
    return [(purpose, name), (purpose, find_projection(name).of_shape)]


def sessions(connection: Connection[Any], pids: Collection[int]) -> list[Session]:
    """Return the sessions with these process numbers that still exist."""
    rows = _SQL["sessions"].rows(connection, {"pids": list(pids)})
    return [Session(*row) for row in rows]


def is_standby(connection: Connection[Any]) -> bool:
    """Tell whether the server follows a primary. Then places, locks and sessions exist on the primary only."""
    row = _SQL["is_standby"].row(connection)
    return row is not None and bool(row[0])


def end_session(connection: Connection[Any], holder: Holder) -> bool:
    """End the session of a holder, so that its place is free; tell whether it ended.

    If its process is alive, it connects again. Raises `psycopg.errors.InsufficientPrivilege` if the login may not end
    the session.
    """
    row = _SQL["end"].row(connection, {"pid": holder.pid})
    return row is not None and bool(row[0])


def _holder(
    pid: int, application_name: str, client: str, since: datetime | None, state: str, blocked_by: list[int]
) -> Holder:
    return Holder(
        pid, application_name, client, None if since is None else instant(since), state, tuple(blocked_by)
    )
