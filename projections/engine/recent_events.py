"""The newest events of the journal, read and decoded once for all projections that run in a process.

Projections that keep up read the same events within moments of one another, so none of these is fetched or decoded
twice. A projection that lags behind the events kept here reads by itself.
"""

import threading
from typing import Any

from psycopg import Connection

from domain.journal.queries import load
from domain.journal.reader import whole_rows
from projections.engine.batches import MAX_BATCH_BYTES, WHOLE, EventBatch, EventRange, StoredEvent
from projections.engine.projection import Projection

MAX_EVENTS = 20_000
MAX_BYTES = 32 * 1024**2
"""The bound on the stored size of the events kept. Decoded, they take about as much again."""

_SQL = load("projections.engine.batches")


class RecentEvents:
    """The events after some position, up to the newest that was asked for."""

    def __init__(self, max_events: int = MAX_EVENTS) -> None:
        self._max_events = max_events
        self._after = 0
        self._events: list[StoredEvent] = []
        self._bytes = 0
        self._asked = EventRange(0, 0, ())
        """The range that was last asked for. Projections that advance together ask for the same one."""
        self._lock = threading.Lock()

    def batch(
        self, connection: Connection[Any], projection: Projection, after: int, upto: int
    ) -> EventBatch | None:
        """Return the batch for a range of committed positions, or None if the caller must read it otherwise.

        It is None if the range begins before the events kept here, or if one of its positions is missing from the
        journal. Events that are not here yet are read on the connection, at most `MAX_BATCH_BYTES` at once. The batch
        ends where these end.
        """
        with self._lock:
            if not self._begin(connection, after, upto):
                return None
            upto = min(upto, self._after + len(self._events))
            asked = self._asked
            if (asked.after, asked.upto) != (after, upto):
                events = self._events[after - self._after : upto - self._after]
                self._asked = asked = EventRange(after, upto, events)
        return asked.batch(projection)

    def last_whole(self, connection: Connection[Any], after: int, upto: int) -> int:
        """Return where the last command ends that is wholly known to be in a range that ends before the head.

        A read model then never shows one side of a transfer without the other. It is `upto` if one command takes up
        the whole range, or if the range is not here.
        """
        with self._lock:
            if not self._begin(connection, after, upto):
                return upto
            upto = min(upto, self._after + len(self._events))
            events = self._events[after - self._after : upto - self._after]
        last = events[-1].envelope() if events else b""
        return next((event.row[4] for event in reversed(events) if event.envelope() != last), upto)

    def _begin(self, connection: Connection[Any], after: int, upto: int) -> bool:
        """Read what is missing of a range; tell whether it begins here and has no gap."""
        if after > self._after + len(self._events):
            self._after, self._events, self._bytes = after, [], 0
        return self._extend(connection, upto) and after >= self._after

    def _extend(self, connection: Connection[Any], upto: int) -> bool:
        """Read on up to a position, or as far as fits; tell whether every event up to it is here."""
        known = self._after + len(self._events)
        if upto > known:
            wanted = {"after": known, "upto": upto, "topics": None, "continuing": [], **WHOLE._asdict()}
            wanted["most_bytes"] = MAX_BATCH_BYTES
            stored = _SQL["events"].rows(connection, wanted, prepare=True, binary=True)
            rows = whole_rows(stored, MAX_BATCH_BYTES)
            read_bytes = sum(len(row[3]) for row in rows)
            end = rows[-1][4] if read_bytes >= MAX_BATCH_BYTES else upto
            if len(rows) != end - known:
                return False
            self._events += map(StoredEvent, rows)
            self._bytes += read_bytes
            excess = self._excess(len(rows))
            self._bytes -= sum(len(event.row[3]) for event in self._events[:excess])
            del self._events[:excess]
            self._after += excess
        return True

    def _excess(self, newest: int) -> int:
        """Return how many of the oldest events to drop. The `newest` ones stay, because a caller is asking for them."""
        excess = max(0, len(self._events) - self._max_events)
        left = self._bytes - sum(len(event.row[3]) for event in self._events[:excess])
        while left > MAX_BYTES and excess < len(self._events) - newest:
            left -= len(self._events[excess].row[3])
            excess += 1
        return excess
