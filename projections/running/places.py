"""Who holds the places: of each projection, of its rebuild, of the publishers, one session of PostgreSQL does.

`leadership.try_acquire` takes a place. This module looks at who has it, for those who must tell nobody from somebody
who fails or hangs.
"""

from collections.abc import Collection
from datetime import datetime
from typing import Any, Literal, NamedTuple

from psycopg import Connection
from psycopg.rows import tuple_row

from domain.journal.queries import load
from domain.model.times import Instant, instant
from projections.registry import NATS, find_projection

Purpose = Literal["projection", "rebuild", "publish", "pay"]
Place = tuple[Purpose, str]
"""What a place is for, and the name it is held by."""

TRIED_LATELY_SECONDS = 30.0
"""Whoever fails tries again every few seconds: one that has not for so long is there no more."""

_SQL = load(__name__)


class Session(NamedTuple):
    """A session of PostgreSQL, and what it does."""

    pid: int
    application_name: str
    user: str
    state: str

    def __str__(self) -> str:
        name = self.application_name or "unnamed"
        return f"PostgreSQL process {self.pid} ({name}, user {self.user or 'unknown'}, {self.state or 'unknown'})"


class Holder(NamedTuple):
    """The session that holds a place: from where, since when, and the processes that it waits for, if it does.

    Of another login's session not all may be seen.
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
    """Return who holds each of some places; those that are free are left out. On a standby all seem to be."""
    wanted = {"purposes": [purpose for purpose, _ in places], "names": [name for _, name in places]}
    rows = connection.cursor(row_factory=tuple_row).execute(_SQL["holders"], wanted).fetchall()
    return {(purpose, name): _holder(*rest) for purpose, name, *rest in rows}


def places_of(name: str, purpose: Purpose = "projection") -> list[Place]:
    """Return the places of whoever advances a projection, or rebuilds it: by this release's name, and by an older one.

    Raises `ProjectionNotFound`.
    """
    if name == NATS:
        return [("publish", NATS)]
    return [(purpose, name), (purpose, find_projection(name).of_shape)]


def sessions(connection: Connection[Any], pids: Collection[int]) -> list[Session]:
    """Return the sessions with these process numbers that there still are."""
    rows = connection.cursor(row_factory=tuple_row).execute(_SQL["sessions"], {"pids": list(pids)})
    return [Session(*row) for row in rows]


def is_standby(connection: Connection[Any]) -> bool:
    """Tell whether the server only follows a primary: then places, locks and sessions are the primary's."""
    row = connection.cursor(row_factory=tuple_row).execute(_SQL["is_standby"]).fetchone()
    return row is not None and bool(row[0])


def end_session(connection: Connection[Any], holder: Holder) -> bool:
    """End the session of a holder, so that the place is free; tell whether that was done.

    The process that had it connects anew if it lives. Raises `psycopg.errors.InsufficientPrivilege` for a login that
    may not end it.
    """
    row = connection.cursor(row_factory=tuple_row).execute(_SQL["end"], {"pid": holder.pid}).fetchone()
    return row is not None and bool(row[0])


def _holder(
    pid: int, application_name: str, client: str, since: datetime | None, state: str, blocked_by: list[int]
) -> Holder:
    return Holder(
        pid, application_name, client, None if since is None else instant(since), state, tuple(blocked_by)
    )
