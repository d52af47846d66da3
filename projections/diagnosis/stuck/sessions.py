"""Sessions of the database that keep the service waiting: who they are, what they hold, and how to end them.

They are found by what PostgreSQL says of locks, which nobody can lock: also where the journal itself cannot be read.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple

import psycopg
from psycopg import Connection
from psycopg.rows import tuple_row

from domain.journal.queries import load
from domain.journal.silence import as_login

_SQL = load(__name__)
_HEAD = "the journal's head"


class Blocking(NamedTuple):
    """A session that holds what the service needs, since when, by the database's clock, and what it holds.

    `user`, `state` and `since` are None where the login may not see more: see it as a superuser, or as a member of
    `pg_read_all_stats`.
    """

    pid: int
    application_name: str
    user: str | None
    client: str
    state: str | None
    since: datetime | None
    seconds: float
    holds: str

    @property
    def command(self) -> str:
        """What ends it, to be pasted into psql."""
        return f"SELECT pg_terminate_backend({self.pid})"

    @property
    def words(self) -> str:
        """What is known of it."""
        who = f"process {self.pid} of the database ({self.application_name or 'unnamed'}, user {self.user or '?'}"
        return (
            f"{who}, from {self.client}), {self.state or 'its state may not be seen'}, in a transaction for"
            f" {self.seconds:.0f} s, holds {self.holds}"
        )


def blocking_sessions(connection: Connection[Any], seconds: float) -> list[Blocking]:
    """Return the sessions that have held the journal's head, or kept one of the service waiting, for so long.

    The connection must be in no transaction.
    """
    held: dict[int, set[str]] = {}
    for pid, what in (*_waited_for(connection), *_holders_of_head(connection)):
        held.setdefault(pid, set()).add(what)
    if not held:
        return []
    with as_login(connection):
        wanted = {"pids": list(held), "seconds": seconds}
        rows = connection.cursor(row_factory=tuple_row).execute(_SQL["sessions"], wanted).fetchall()
    return [Blocking._make((*row, ", ".join(sorted(held[row[0]])))) for row in rows]


def _waited_for(connection: Connection[Any]) -> list[tuple[int, str]]:
    with as_login(connection):
        return connection.cursor(row_factory=tuple_row).execute(_SQL["waited_for"]).fetchall()


def _holders_of_head(connection: Connection[Any]) -> Iterator[tuple[int, str]]:
    try:
        with connection.transaction():
            connection.execute("SET LOCAL lock_timeout = '500ms'")
            rows = connection.cursor(row_factory=tuple_row).execute(_SQL["holders_of_head"]).fetchall()
    except (psycopg.errors.LockNotAvailable, psycopg.errors.UndefinedTable):
        return  # who has locked the whole table is seen by that
    for (pid,) in rows:
        yield pid, _HEAD
