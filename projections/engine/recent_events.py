"""The newest events of the journal, read and decoded once for all projections that run in a process.

Projections that keep up read the same events within moments of one another, so none of these is fetched or decoded
twice. A projection that lags behind the events kept here reads by itself. Where several processes divide the
projections, each fetches only what its own read.
"""

import threading
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from typing import Any

from psycopg import Connection

from domain.journal.arrays import Array, text_array
from domain.journal.queries import load
from domain.journal.reader import Row, whole_rows, with_bases
from domain.journal.statements import statements_of
from projections.engine.batches import (
    MAX_BATCH_BYTES,
    EventBatch,
    EventRange,
    StoredEvent,
    position_of,
    topics_read,
)
from projections.engine.projection import Projection

MAX_EVENTS = 20_000
MAX_BYTES = 32 * 1024**2
"""The bound on the stored size of the events kept. Decoded, they take about as much again."""

_SQL = load("projections.engine.batches")


class RecentEvents:
    """The events after some position, up to the newest that was asked for."""

    def __init__(self, max_events: int = MAX_EVENTS) -> None:
        self._max_events = max_events
        self._topics: Mapping[str, list[str] | None] = topics_read(None)
        self._wanted = _arrays(self._topics)
        self._after = self._upto = 0
        self._events: list[StoredEvent] = []
        self._bytes = 0
        self._asked = EventRange(0, 0, ())
        """The range that was last asked for. Projections that advance together ask for the same one."""
        self._lock = threading.Lock()

    def serve(self, projections: Iterable[Projection]) -> None:
        """Fetch from here on only what one of these projections reads, and the first event of each command."""
        topics = topics_read(projections)
        with self._lock:
            if topics != self._topics:
                self._topics, self._wanted = topics, _arrays(topics)
                self._begin_at(self._upto)

    def forget(self) -> None:
        """Forget all events. For after a connection was lost: another server may have become the primary."""
        with self._lock:
            self._begin_at(0)

    def batch(
        self, connection: Connection[Any], projection: Projection, after: int, upto: int
    ) -> EventBatch | None:
        """Return the batch for a range of committed positions, or None if the caller must read it otherwise.

        It is None if the range begins before the events kept here, if one of its positions is missing from the journal,
        or if the projection reads events that are not fetched here. Events that are not here yet are read on the
        connection, at most `MAX_BATCH_BYTES` at once. The batch ends where these end.
        """
        with self._lock:
            if not self._fetches(projection) or not self._begin(connection, after, upto):
                return None
            upto = min(upto, self._upto)
            asked = self._asked
            if (asked.after, asked.upto) != (after, upto):
                self._asked = asked = EventRange(after, upto, self._between(after, upto))
        return asked.batch(projection)

    def last_whole(self, connection: Connection[Any], after: int, upto: int) -> int:
        """Return where the last command ends that is wholly known to be in a range that ends before the head.

        A read model then never shows one side of a transfer without the other. It is `upto` if one command takes up
        the whole range, or if the range is not here.
        """
        with self._lock:
            if not self._begin(connection, after, upto):
                return upto
            upto = min(upto, self._upto)
            events = self._between(after, upto)
        last = events[-1].envelope() if events else b""
        begins_after = after
        for event in reversed(events):
            if event.envelope() != last:
                return begins_after
            begins_after = position_of(event) - 1
        return upto

    def _fetches(self, projection: Projection) -> bool:
        """Tell whether everything that a projection reads is fetched."""
        if self._topics["topics"] is None:
            return True
        read, fetched = topics_read([projection]), {key: set(of or ()) for key, of in self._topics.items()}
        return (
            not projection.all_events
            and fetched["topics"].issuperset(read["topics"] or ())
            and fetched["topics"].union(fetched["continuing"]).issuperset(read["continuing"] or ())
        )

    def _between(self, after: int, upto: int) -> list[StoredEvent]:
        first, last = (bisect_right(self._events, position, key=position_of) for position in (after, upto))
        return self._events[first:last]

    def _begin(self, connection: Connection[Any], after: int, upto: int) -> bool:
        """Read what is missing of a range; tell whether it begins here and has no gap."""
        if after > self._upto:
            self._begin_at(after)
        return self._extend(connection, upto) and after >= self._after

    def _begin_at(self, position: int) -> None:
        self._after = self._upto = position
        self._events, self._bytes = [], 0
        self._asked = EventRange(0, 0, ())

    def _extend(self, connection: Connection[Any], upto: int) -> bool:
        """Read on up to a position, or as far as fits; tell whether the journal has every position up to there."""
        known = self._upto
        if upto > known:
            rows, is_whole = self._read(connection, known, upto)
            read_bytes = sum(len(row[3]) for row in rows)
            end = rows[-1][4] if read_bytes >= MAX_BATCH_BYTES else upto
            if not is_whole and len(rows) != end - known:
                return False
            self._events += map(StoredEvent, rows)
            self._upto = end
            self._bytes += read_bytes
            if excess := self._excess(len(rows)):
                self._bytes -= sum(len(event.row[3]) for event in self._events[:excess])
                self._after = position_of(self._events[excess - 1])
                del self._events[:excess]
        return True

    def _read(self, connection: Connection[Any], after: int, upto: int) -> tuple[list[Row], bool]:
        """Return what is fetched of a range, and whether no position is known to be missing from it.

        If all events are fetched, the caller can see by itself whether one is missing.
        """
        wanted = {"after": after, "upto": upto, "most_bytes": MAX_BATCH_BYTES, **self._wanted}
        asked = [(_SQL["recent"], wanted), (_SQL["count"], wanted)]
        if self._topics["topics"] is None:
            asked.pop()
        rows, *counted = statements_of(connection).ask_together(*asked)
        return whole_rows(with_bases(connection, rows), MAX_BATCH_BYTES), counted == [[(upto - after,)]]

    def _excess(self, newest: int) -> int:
        """Return how many of the oldest events to drop. The `newest` ones stay, because a caller is asking for them."""
        excess = max(0, len(self._events) - self._max_events)
        left = self._bytes - sum(len(event.row[3]) for event in self._events[:excess])
        while left > MAX_BYTES and excess < len(self._events) - newest:
            left -= len(self._events[excess].row[3])
            excess += 1
        return excess


def _arrays(lists: Mapping[str, list[str] | None]) -> Mapping[str, Array | None]:
    return {name: None if each is None else text_array(each) for name, each in lists.items()}
