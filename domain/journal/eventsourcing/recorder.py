"""The library's recorders, on the tables that the migrations made.

Positions do not come from the library's sequence. The holder of the lock on the head row gives them out, so positions
have no gaps and follow the order of commits, and readers that follow the journal miss nothing.
"""

from collections.abc import Sequence
from threading import Event
from time import sleep
from typing import Any

from eventsourcing.persistence import InterfaceError, OperationalError, StoredEvent
from eventsourcing.postgres import (
    PostgresAggregateRecorder,
    PostgresApplicationRecorder,
    PostgresDatastore,
    PostgresProcessRecorder,
    PostgresSubscription,
)
from psycopg import Cursor
from psycopg.rows import DictRow
from psycopg.sql import SQL, Identifier

from domain.journal.abbreviations import WHOLE
from domain.journal.queries import load
from domain.journal.writer import Rows
from domain.model.moves import Fence
from domain.model.streams import ledger_of

_SQL = load("domain.journal.journal")
# The library adds the versions that it wants. The stream is its first parameter, and occurs twice in the condition.
_EVENTS_OF_STREAM = SQL(
    "SELECT events.* FROM (SELECT %s::text AS stream) AS wanted"
    " JOIN {schema}.{table} AS events ON {schema}.in_stream(originator_id, wanted.stream) WHERE true"
)
_ATTEMPTS = 10
_RETRY_SECONDS = 0.2
_LOOK_AGAIN_SECONDS = 1.0


class SnapshotRecorder(PostgresAggregateRecorder):
    """Records snapshots, in a table without positions."""

    def _insert_stored_events(
        self, curs: Cursor[DictRow], stored_events: Sequence[StoredEvent], **_: Any
    ) -> None:
        # One statement, so all or none: the connection commits each statement by itself.
        curs.execute(
            f"INSERT INTO {self.events_table_name}"
            " SELECT * FROM unnest(%s::text[], %s::bigint[], %s::text[], %s::bytea[])",
            (
                [str(event.originator_id) for event in stored_events],
                [event.originator_version for event in stored_events],
                [event.topic for event in stored_events],
                [event.state for event in stored_events],
            ),
        )


class _Reminder(Event):
    """A threading event that nobody waits for longer than a second."""

    def wait(self, timeout: float | None = _LOOK_AGAIN_SECONDS) -> bool:
        return super().wait(timeout)


class JournalSubscription(PostgresSubscription):
    """Follows the journal, even if a notification does not arrive.

    The library reads first and listens afterwards, so it gets no notification of events appended in between.
    """

    def _loop_on_pull(self) -> None:
        self._has_been_notified = _Reminder()
        super()._loop_on_pull()


class JournalRecorder(PostgresApplicationRecorder):
    """Records events in the journal."""

    def __init__(
        self, datastore: PostgresDatastore, *, events_table_name: str = "events", **kwargs: Any
    ) -> None:
        super().__init__(datastore, events_table_name=events_table_name, **kwargs)
        self.select_events_statement = _EVENTS_OF_STREAM.format(
            schema=Identifier(datastore.schema), table=Identifier(events_table_name)
        )
        self.channel_name = f"{datastore.schema}_journal"

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int] | None:
        """Append events and return their positions.

        When the connection is lost, it is not known whether COMMIT took place. The next attempt takes the head's lock,
        so that nothing is in flight, and looks for the events; if they are there, it has succeeded. Raises
        `IntegrityError` if another writer has appended to one of the streams, and `LedgerMoving` or `LedgerMoved` if
        nothing is recorded for their ledger here.
        """
        # This replaces the library's own retry, which would meet its own events and report a conflict.
        for attempt in range(_ATTEMPTS):
            try:
                if attempt > 0 and (found := self._already_recorded(stored_events)):
                    return found
                return self._append(stored_events, **kwargs)
            except (InterfaceError, OperationalError):
                if attempt == _ATTEMPTS - 1:
                    raise
                sleep(_RETRY_SECONDS)
        return None

    def subscribe(self, gt: int | None = None, topics: Sequence[str] = ()) -> JournalSubscription:
        """Return the events after the position `gt` as they are appended: all, or only those of `topics`."""
        return JournalSubscription(recorder=self, gt=gt, topics=topics)

    def _append(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int] | None:
        # Not in a pipeline, unlike the library: there a conflict may be found while later statements are still being
        # sent. The COMMIT then fails as if the connection were lost, and is tried again.
        with self.datastore.transaction(commit=True) as cursor:
            self._insert_events(cursor, stored_events, **kwargs)
            if not stored_events:
                return None
            head = cursor.execute(_SQL["lock_head"], prepare=True).fetchone()
            assert head is not None
            streams = [str(event.originator_id) for event in stored_events]
            self._require_written_here(cursor, streams)
            rows = Rows(
                head["position"],
                streams,
                [event.originator_version for event in stored_events],
                [event.topic for event in stored_events],
                [event.state for event in stored_events],
                [WHOLE] * len(stored_events),
            )
            values = {**rows.values(head["recorded_at"]), "channel": self.channel_name}
            appended = cursor.execute(_SQL["append"], values, prepare=True).fetchone()
            assert appended is not None and appended["is_appended"]
            return list(range(rows.after + 1, rows.last + 1))

    def _require_written_here(self, cursor: Cursor[DictRow], streams: Sequence[str]) -> None:
        """Raise the refusal of a ledger that moves or has moved. The head's lock is held, so this stays as it is."""
        ledgers = {ledger_of(stream) for stream in streams}
        for fenced in cursor.execute(_SQL["fences"], prepare=True).fetchall():
            if fenced["ledger"] in ledgers:
                raise Fence(fenced["state"], fenced["installation"]).refusal()

    def _already_recorded(self, stored_events: Sequence[StoredEvent]) -> Sequence[int]:
        if not stored_events:
            return ()
        first = stored_events[0]
        wanted = {"stream": first.originator_id, "version": first.originator_version, "state": first.state}
        with self.datastore.transaction() as cursor:
            cursor.execute(_SQL["lock_head"])
            found = cursor.execute(_SQL["stored_positions"], wanted).fetchone()
            if found is None:
                return ()
            after = found["notification_id"] - 1
            last = after + len(stored_events)
            rows = cursor.execute(_SQL["stored_after"], {"after": after, "last": last}).fetchall()
        # Another writer may have recorded the first of them, and then something else.
        states = [(row["originator_id"], row["originator_version"], row["state"]) for row in rows]
        own = [(str(event.originator_id), event.originator_version, event.state) for event in stored_events]
        return list(range(after + 1, last + 1)) if states == own else ()

    def max_notification_id(self) -> int | None:
        """Return the newest position, or None while the journal is empty."""
        with self.datastore.get_connection() as connection:
            row = connection.execute(_SQL["head"], prepare=True).fetchone()
        assert row is not None
        return row["position"] or None


class JournalProcessRecorder(JournalRecorder, PostgresProcessRecorder):
    """Records events together with the position of the event that caused them."""

    def __init__(
        self,
        datastore: PostgresDatastore,
        *,
        events_table_name: str = "events",
        tracking_table_name: str = "tracking",
    ) -> None:
        super().__init__(
            datastore, events_table_name=events_table_name, tracking_table_name=tracking_table_name
        )
