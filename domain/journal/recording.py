"""Events recorded beside changes of other tables: both in one transaction, and so both or neither.

What is recorded so is about the installation and not about money, seldom, and decided by those other tables. Whatever
is decided by the journal goes through the group commit. To that, this is another writer: whoever holds the head's lock
gives out the positions, and a writer that finds the head moved reads what was appended.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from psycopg import Connection, errors
from psycopg.rows import tuple_row

from domain.journal.encoding import encode_envelope, encode_event
from domain.journal.queries import load
from domain.journal.writer import Rows
from domain.model.errors import JournalUnavailable
from domain.model.events import Context, Envelope, Event
from domain.model.times import instant

# Everybody waits for who holds the lock: the server ends the transaction of one that stops.
_LIMITS = "SET LOCAL lock_timeout = '10s'; SET LOCAL idle_in_transaction_session_timeout = '10s'"

_SQL = load("domain.journal.journal")


class Recorder:
    """Records events, while the head's lock is held, in the transaction that holds it."""

    def __init__(
        self, connection: Connection[Any], position: int, recorded_at: str, now: datetime, channel: str
    ) -> None:
        self._connection = connection
        self._position = position
        self._channel = channel
        self._recorded_at = max(recorded_at, instant(now))
        self.now = now
        """The time by the clock of the database: when what is recorded beside the events happened."""

    def record(self, events: Sequence[tuple[str, Event]], context: Context) -> None:
        """Append (stream, event) in order, in the name of who asks; to be called once."""
        encoded = encode_envelope(self._envelope(context))
        versions = self._versions([stream for stream, _ in events])
        rows = Rows(self._position, [], [], [], [])
        for stream, event in events:
            versions[stream] += 1
            rows.streams.append(stream)
            rows.versions.append(versions[stream])
            rows.topics.append(event.TOPIC)
            rows.states.append(encode_event(event, encoded))
        values = {**rows.values(self._recorded_at), "channel": self._channel}
        if self._cursor().execute(_SQL["append"], values).fetchone() is None:
            raise AssertionError("rows do not begin at the head that was locked")

    def _envelope(self, context: Context) -> Envelope:
        actor, correlation_id, traceparent = context
        return Envelope(self._recorded_at, actor, correlation_id, correlation_id, None, traceparent)

    def _versions(self, streams: Sequence[str]) -> Counter[str]:
        wanted = {"streams": list(dict.fromkeys(streams))}
        return Counter(dict(self._cursor().execute(_SQL["versions"], wanted).fetchall()))

    def _cursor(self) -> Any:
        return self._connection.cursor(row_factory=tuple_row)


@contextmanager
def recording(connection: Connection[Any]) -> Iterator[Recorder]:
    """Yield what records events in the transaction that this is, which begins with the head's lock.

    Whatever else is done on the connection meanwhile is committed with them. Raises `JournalUnavailable` if another
    writer holds the lock for too long, and `psycopg.Error`.
    """
    with connection.transaction():
        connection.execute(_LIMITS)
        try:
            row = connection.cursor(row_factory=tuple_row).execute(_SQL["lock_to_record"]).fetchone()
        except errors.LockNotAvailable as error:
            raise JournalUnavailable("locked") from error
        assert row is not None
        yield Recorder(connection, *row)
