"""The newest events of the journal, read and decoded once for all projections that run in a process.

Projections that keep up read the same events within a moment of one another, and reading and decoding them is most of
what keeping up costs. One that lags behind what is kept here reads for itself.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from psycopg import Connection

from domain.events import Recorded
from domain.journal.encoding import decode
from domain.journal.queries import load
from domain.journal.reader import Row
from projections.batches import Batch, batch_of
from projections.projection import Projection

MAX_EVENTS = 20_000

_SQL = load("domain.journal", "journal.sql")


class Stored:
    """An event as it is stored, decoded when it is first asked for."""

    __slots__ = ("_recorded", "row")

    def __init__(self, row: Row) -> None:
        self.row = row
        self._recorded: Recorded | None = None

    def recorded(self) -> Recorded:
        """Return the event; raise `UnreadableEvent`. Two threads at once decode it twice, to the same."""
        if self._recorded is None:
            self._recorded = decode(*self.row)
        return self._recorded


class Tail:
    """The events after some position up to the newest that was asked for."""

    def __init__(self, max_events: int = MAX_EVENTS) -> None:
        self._max_events = max_events
        self._after = 0
        self._events: list[Stored] = []
        self._lock = threading.Lock()

    def batch(
        self, connection: Connection[Any], projection: Projection, after: int, upto: int
    ) -> Batch | None:
        """Return the batch of a range of committed positions, None if it has to be read otherwise.

        That is if it begins before what is kept here, or if a position of it is missing from the journal. What is not
        here yet is read on the connection.
        """
        with self._lock:
            if after > self._after + len(self._events):
                self._after, self._events = after, []
            if not self._extend(connection, upto) or after < self._after:
                return None
            events = self._events[after - self._after : upto - self._after]
        return batch_of(after, upto, _read_by(projection, events))

    def _extend(self, connection: Connection[Any], upto: int) -> bool:
        """Read on until a position; tell whether every event until there is here."""
        known = self._after + len(self._events)
        if upto > known:
            rows = connection.execute(_SQL["range"], (known, upto), prepare=True, binary=True).fetchall()
            if len(rows) != upto - known:
                return False
            self._events += map(Stored, rows)
            excess = max(0, len(self._events) - self._max_events)
            del self._events[:excess]
            self._after += excess
        return True


def _read_by(
    projection: Projection, events: Sequence[Stored]
) -> Iterator[tuple[int, Callable[[], Recorded]]]:
    topics, continuing = set(projection.topics), set(projection.continuing_topics)
    for event in events:
        _, version, topic, _, position = event.row
        if topic in topics or (version > 1 and topic in continuing):
            yield position, event.recorded
