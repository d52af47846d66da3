"""The writer's connection to the journal: lock the head, load streams, append, commit.

Whoever holds the head's lock gives out the positions; see `domain/group_commit.py` for who decides and when.
"""

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from psycopg import Connection

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

    def encoded(self, recorded_at: Instant) -> "Encoded":
        """Return them as they are sent, to be recorded at a time."""
        return Encoded(
            {
                "after": self.after,
                "streams": text_array(self.streams),
                "versions": bigint_array(self.versions),
                "topics": text_array(self.topics),
                "states": bytea_array(self.states),
            },
            {"position": self.last, "recorded_at": recorded_at},
        )


class Encoded(NamedTuple):
    """Rows as they are sent, and where the head stands after them: values of the queries `append` and `move_head`."""

    rows: Mapping[str, Any]
    moved: Mapping[str, Any]


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

    def append(self, encoded: Encoded, *, locked: bool) -> None:
        """Append rows, move the head to the last of them, notify, and ask for the commit; one round trip.

        If the head is not `locked` yet it is, first of all. Should it have moved on from where the rows begin, their
        positions are taken: that is an `IntegrityError`, and then nothing was recorded. Another error may come after
        the commit took place; `holds` then tells.
        """
        connection = self._connected()
        with connection.pipeline():
            if not locked:
                connection.execute("BEGIN")
                connection.execute(_SQL["lock_head"], prepare=True)
            connection.execute(_SQL["append"], encoded.rows, prepare=True)
            moved = {**encoded.moved, "channel": self._database.journal_channel}
            connection.execute(_SQL["move_head"], moved, prepare=True)
            connection.execute("COMMIT")

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

    def _load(self, connection: Connection[Any], streams: Collection[str]) -> Any:
        wanted = {"streams": list(streams), "snapshot_topics": TOPICS}
        return connection.execute(LOAD, wanted, prepare=True, binary=True)

    def _connected(self) -> Connection[Any]:
        if self._connection is None:
            self._connection = self._database.connect(self._application_name)
            self._connection.execute(_SESSION)
        return self._connection
