"""Database sessions that keep the service waiting: which they are, what they hold, and how to end them.

They are found in PostgreSQL's lock views. Nobody can lock those, so this works even when the journal cannot be read.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple

import psycopg
from psycopg import Connection

from domain.journal.queries import load
from domain.journal.silence import as_login

_SQL = load(__name__)
_HEAD = "the journal's head"


class Blocking(NamedTuple):
    """A session that holds something the service needs: since when by the database's clock, and what it `holds`.

    `user`, `state` and `since` are None if the login may not see them. A superuser or a member of `pg_read_all_stats`
    may.
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
        """The SQL statement that ends the session, to be pasted into psql."""
        return f"SELECT pg_terminate_backend({self.pid})"

    @property
    def words(self) -> str:
        """A description of the session for an operator."""
        who = f"database process {self.pid} ({self.application_name or 'unnamed'}, user {self.user or '?'}"
        return (
            f"{who}, from {self.client}), {self.state or 'state not visible'}, in a transaction for"
            f" {self.seconds:.0f} s, holds {self.holds}"
        )


def blocking_sessions(connection: Connection[Any], seconds: float) -> list[Blocking]:
    """Return the sessions that for at least `seconds` held the journal's head or kept the service waiting.

    The connection must be in no transaction.
    """
    held: dict[int, set[str]] = {}
    for pid, what in (*_waited_for(connection), *_holders_of_head(connection)):
        held.setdefault(pid, set()).add(what)
    if not held:
        return []
    with as_login(connection):
        wanted = {"pids": list(held), "seconds": seconds}
        rows = _SQL["sessions"].rows(connection, wanted)
    return [Blocking._make((*row, ", ".join(sorted(held[row[0]])))) for row in rows]


def _waited_for(connection: Connection[Any]) -> list[tuple[int, str]]:
    with as_login(connection):
        return _SQL["waited_for"].rows(connection)


def _holders_of_head(connection: Connection[Any]) -> Iterator[tuple[int, str]]:
    try:
        with connection.transaction():
            connection.execute("SET LOCAL lock_timeout = '500ms'")
            rows = _SQL["holders_of_head"].rows(connection)
    except (psycopg.errors.LockNotAvailable, psycopg.errors.UndefinedTable):
        return  # the session that has locked the whole table is found by that lock
    for (pid,) in rows:
        yield pid, _HEAD
