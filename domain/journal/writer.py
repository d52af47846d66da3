"""The writer's connection to the journal: lock the head, load streams, append, commit.

Whoever holds the head's lock gives out the positions; see `domain/group_commit.py` for who decides and when.
"""

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from psycopg import Connection, Cursor
from psycopg.pq import TransactionStatus

from domain.journal.arrays import bigint_array, bytea_array, text_array
from domain.journal.database import Database
from domain.journal.queries import load
from domain.journal.reader import LOAD, Row
from domain.journal.snapshots import TOPICS
from domain.times import Instant

# A writer that stops while it holds the lock would stop all others: the server then ends its transaction.
_SESSION = "SET idle_in_transaction_session_timeout = '10s'; SET lock_timeout = '10s'"

_SQL = load("domain.journal", "journal.sql")


class Rows(NamedTuple):
    """Events to append after a position, column by column as they are sent, each list as long as the others."""

    after: int
    streams: list[str]
    versions: list[int]
    topics: list[str]
    states: list[bytes]

    @property
    def last(self) -> int:
        """The position of the last of them; `after` where there are none."""
        return self.after + len(self.streams)

    def values(self, recorded_at: Instant) -> Mapping[str, Any]:
        """Return the values of the query `append`, which records them at a time, but for the channel."""
        return {
            "after": self.after,
            "last": self.last,
            "recorded_at": recorded_at,
            "streams": text_array(self.streams),
            "versions": bigint_array(self.versions),
            "topics": text_array(self.topics),
            "states": bytea_array(self.states),
        }


class Head(NamedTuple):
    """The newest position of the journal, and the time at which it was recorded."""

    position: int
    recorded_at: Instant


class JournalWriter:
    """One connection that writes. Every method raises `psycopg.Error`; after one, `disconnect`."""

    def __init__(self, database: Database, application_name: str) -> None:
        self._database = database
        self._application_name = application_name
        self._connection: Connection[Any] | None = None

    def lock(self, streams: Collection[str]) -> tuple[Head, list[Row]]:
        """Begin a transaction, take the head's lock, and load streams; one round trip."""
        connection = self._connected()
        with connection.pipeline():
            connection.execute("BEGIN")
            locking = connection.execute(_SQL["lock_head"], prepare=True)
            loading = self._load(connection, streams)
            head = Head(*(locking.fetchone() or (0, "")))
            return head, loading.fetchall()

    def load(self, streams: Collection[str]) -> list[Row]:
        """Return the newest snapshot and the events after it of each stream."""
        rows: list[Row] = self._load(self._connected(), streams).fetchall()
        return rows

    def between(self, after: int, until: int) -> list[Row]:
        """Return the events after a position until another, it included."""
        cursor = self._connected().execute(_SQL["range"], (after, until), prepare=True, binary=True)
        return cursor.fetchall()

    def append(self, values: Mapping[str, Any]) -> bool:
        """Append rows, given their `values`, in a transaction of their own; one round trip.

        Tell whether the head was where they begin: if not, nothing was recorded. An error may come after the commit
        took place; `holds` then tells, but after an `IntegrityError` nothing was recorded either.
        """
        connection = self._connected()
        if connection.info.transaction_status != TransactionStatus.IDLE:
            raise AssertionError("what is appended within another transaction is not committed by itself")
        return self._append(connection, values).fetchone() is not None

    def append_locked(self, values: Mapping[str, Any]) -> None:
        """Append rows in the transaction that `lock` began, and ask for its commit; one round trip.

        An error may come after the commit took place; `holds` then tells.
        """
        connection = self._connected()
        with connection.pipeline():
            appending = self._append(connection, values)
            connection.execute("COMMIT")
        if appending.fetchone() is None:
            raise AssertionError("rows do not begin at the head that was locked")

    def holds(self, rows: Rows) -> bool:
        """Tell whether the journal holds these rows, given its head's lock so that nothing is in flight.

        They are recorded all or none, so the last one tells.
        """
        wanted = {"position": rows.last}
        found = self._connected().execute(_SQL["event_at"], wanted, binary=True).fetchone()
        return found == (rows.streams[-1], rows.versions[-1], rows.states[-1])

    def release(self) -> None:
        """End the transaction, and so the lock, without having appended."""
        self._connected().execute("ROLLBACK")

    def disconnect(self) -> None:
        """Close the connection; the next call makes another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _append(self, connection: Connection[Any], values: Mapping[str, Any]) -> Cursor[Any]:
        wanted = {**values, "channel": self._database.journal_channel}
        return connection.execute(_SQL["append"], wanted, prepare=True)

    def _load(self, connection: Connection[Any], streams: Collection[str]) -> Any:
        wanted = {"streams": list(streams), "snapshot_topics": TOPICS}
        return connection.execute(LOAD, wanted, prepare=True, binary=True)

    def _connected(self) -> Connection[Any]:
        if self._connection is None:
            self._connection = self._database.connect(self._application_name)
            self._connection.execute(_SESSION)
        return self._connection
