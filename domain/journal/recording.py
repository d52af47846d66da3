"""Records events together with changes of other tables, in one transaction: both are committed, or neither.

Events recorded this way are rare. They concern the installation and not money, and those other tables decide them.
Everything that the journal decides goes through the group commit. To the group commit, this is one more writer: the
holder of the head's lock gives out positions, and a writer that finds the head moved reads the appended events.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from psycopg import Connection, errors

from domain.journal.abbreviations import ENVELOPE
from domain.journal.encoding import encode_abbreviated, encode_abbreviated_envelope
from domain.journal.queries import load
from domain.journal.writer import Rows
from domain.model.errors import JournalUnavailable
from domain.model.events import Context, Envelope, Event
from domain.model.times import EARLIEST, Instant, instant

# Everybody waits for the holder of the lock, so the server ends the transaction of a holder that stops.
_LIMITS = "SET LOCAL lock_timeout = '10s'; SET LOCAL idle_in_transaction_session_timeout = '10s'"

_SQL = load("domain.journal.journal")


class Recorder:
    """Records events in the transaction that holds the head's lock."""

    def __init__(
        self, connection: Connection[Any], position: int, recorded_at: str, now: datetime, channel: str
    ) -> None:
        self._connection = connection
        self._channel = channel
        self._head_recorded_at = recorded_at
        self._recorded_at = max(recorded_at, instant(now))
        self.position = position
        """The newest position of the journal, with what was recorded here."""
        self.now = now
        """The time by the database's clock: when the change beside the events happened."""

    @property
    def head_recorded_at(self) -> Instant:
        """When the newest event was recorded that the journal had when it was locked."""
        return self._head_recorded_at

    def record(
        self,
        events: Sequence[tuple[str, Event]],
        context: Context,
        not_before: Instant = EARLIEST,
        cause: str | None = None,
    ) -> None:
        """Append (stream, event) in order, in the name of the caller in `context`, dated `not_before` at the least.

        `cause` is what caused them, by default the conversation.
        """
        recorded_at = self._recorded_at = max(self._recorded_at, not_before)
        encoded = encode_abbreviated_envelope(self._envelope(context, cause))
        versions = self._versions([stream for stream, _ in events])
        rows = Rows(self.position, [], [], [], [], [])
        for number, (stream, event) in enumerate(events):
            versions[stream] += 1
            rows.streams.append(stream)
            rows.versions.append(versions[stream])
            rows.topics.append(event.TOPIC)
            rows.states.append(encode_abbreviated(event, ENVELOPE if number else encoded))
            rows.shares.append(number)
        self._append(rows, recorded_at)

    def copy(self, rows: Rows) -> None:
        """Append rows that another journal has recorded. The head's time stays as it is. Do this before recording."""
        self._append(rows, self._head_recorded_at)

    def _append(self, rows: Rows, recorded_at: Instant) -> None:
        values = {**rows.values(recorded_at), "channel": self._channel}
        if _SQL["append"].row(self._connection, values) is None:
            raise AssertionError("rows do not begin at the head that was locked")
        self.position = rows.last

    def _envelope(self, context: Context, cause: str | None) -> Envelope:
        actor, correlation_id, traceparent = context
        return Envelope(self._recorded_at, actor, correlation_id, cause or correlation_id, None, traceparent)

    def _versions(self, streams: Sequence[str]) -> Counter[str]:
        wanted = {"streams": list(dict.fromkeys(streams))}
        return Counter(dict(_SQL["versions"].rows(self._connection, wanted)))


@contextmanager
def recording(connection: Connection[Any]) -> Iterator[Recorder]:
    """Begin a transaction with the head's lock, and yield a recorder of events in it.

    Everything else that is done on the connection meanwhile is committed with the events. Raises `JournalUnavailable`
    if another writer holds the lock for too long, and `psycopg.Error`.
    """
    with connection.transaction():
        connection.execute(_LIMITS)
        try:
            row = _SQL["lock_to_record"].only(connection)
        except errors.LockNotAvailable as error:
            raise JournalUnavailable("locked") from error
        yield Recorder(connection, *row)
