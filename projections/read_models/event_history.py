"""The history of events: the journal's own events in the order of positions, filtered.

An answer is complete up to the position that it states. The index finds the events up to its own position; later ones
are read from the journal, event by event. Only if the index is far behind does the answer end before the head, and it
says so.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from heapq import merge
from itertools import islice
from operator import attrgetter
from typing import Any, NamedTuple

from psycopg import Connection, Cursor
from psycopg.rows import TupleRow

from domain.journal.encoding import UnreadableEvent
from domain.journal.queries import load
from domain.journal.reader import Row, whole_rows
from domain.model.errors import JournalUnavailable
from domain.model.streams import ledger_of
from domain.model.times import Instant
from domain.transparency.leaves import hash_of
from projections.engine.live_version import Page, Rows, read_live
from projections.engine.projection import directed
from projections.read_models.event_index import PROJECTION, candidates, indexed
from projections.read_models.event_keys import Content, EventFilters, content_of, passes, wanted_keys

MAX_TAIL_EVENTS = 20_000
"""How many events that are not in the index yet are read one by one."""

MAX_POSITION = 2**63 - 1

CHUNK_EVENTS = 500
CHUNK_BYTES = 4 * 1024**2
"""Of what is looked up at once of events as they are stored, and of one event more."""

_SQL = load(__name__)


class JournalEvent(NamedTuple):
    """An event as it is stored, read but not interpreted. Members that cannot be read are None.

    `leaf_hash` is the hash of its leaf in the tree of the journal (`domain/transparency/leaves.py`).
    """

    row: Row
    content: Content
    leaf_hash: bytes

    @property
    def position(self) -> int:
        """The event's position in the journal."""
        return self.row[4]

    @property
    def ledger(self) -> str:
        """The ledger that the event's stream belongs to."""
        return ledger_of(self.row[0])


def journal_event(row: Row) -> JournalEvent:
    """Return a stored event, read but not interpreted."""
    stream, version, topic, state, position = row
    return JournalEvent(row, content_of(state), hash_of(position, stream, version, topic, state))


def list_events(
    connection: Connection[Any],
    ledger: str,
    filters: EventFilters = EventFilters(),  # noqa: B008 - it cannot be changed
    *,
    low: int = 1,
    high: int | None = None,
    limit: int,
    descending: bool = False,
    max_tail_events: int | None = MAX_TAIL_EVENTS,
    only: Callable[[JournalEvent], bool] | None = None,
    most_bytes: int | None = None,
    existing: Sequence[str] = (),
    types: Sequence[str] = (),
) -> Page[JournalEvent]:
    """Return up to `limit` events of a ledger at positions from `low` to before `high`.

    `position` of the page is the position up to which they are complete: the head, unless more than `max_tail_events`
    would have to be read one by one. For `INSTALLATION` as the ledger, they are the events that belong to no ledger.
    If `types` are given, they are of one of these, and not of the type in `filters`. `only` filters the events found.
    The page ends early with the event that makes it larger than `most_bytes` as stored, unless that is None. `existing`
    is as for `read_live`. Raises `JournalUnavailable` if events are too damaged to search by time, and
    `ProjectionBehind` while there is no index.
    """

    def read(cursor: Cursor[TupleRow], version: int) -> tuple[Rows[JournalEvent], int]:
        ((head,),) = cursor.execute(_HEAD).fetchall()
        known = indexed(cursor, version)
        upto = head if max_tail_events is None else min(head, known + max_tail_events)
        asked = [filters._replace(type=type) for type in types] or [filters]
        chunk = min(limit, CHUNK_EVENTS)
        searches = [_Search(cursor, version, ledger, each, chunk, descending) for each in asked]
        span = searches[0].span(low, min(upto + 1, high or upto + 1))
        found = merge(
            *(search.found(*span, known) for search in searches),
            key=attrgetter("position"),
            reverse=descending,
        )
        return _fitting(islice(filter(only, found), limit), most_bytes), upto

    reading = read_live(connection, PROJECTION, read, existing=existing)
    rows, upto = reading.found
    return Page(rows, upto, reading.head, reading.lacking)


def events_after(
    connection: Connection[Any], position: int, ledger: str | None, filters: EventFilters
) -> tuple[list[JournalEvent], int]:
    """Return the next events after a position that pass the filters, and the position up to which these are all.

    They are read from the journal itself, one chunk at a time, so nobody waits for the index. Without a ledger they are
    those of every ledger, and those that belong to none. If the position stays the same, there is nothing new.
    """
    wanted = {
        "low": position + 1,
        "high": MAX_POSITION,
        "limit": CHUNK_EVENTS,
        "most_bytes": CHUNK_BYTES,
    }
    stored = directed(_SQL["between"], descending=False).rows(connection, wanted, prepare=False)
    rows = whole_rows(stored, CHUNK_BYTES)
    found = [event for row in rows if (event := _passing(row, ledger or ledger_of(row[0]), filters))]
    return found, rows[-1][4] if rows else position


def _passing(stored: TupleRow, ledger: str, filters: EventFilters) -> JournalEvent | None:
    """Return an event if it passes the filters in a ledger."""
    stream, version, topic, state, position = stored
    row = (stream, version, topic, bytes(state), position)
    content = content_of(row[3])
    if not passes(row, content, frozenset(wanted_keys(ledger, filters)), filters):
        return None
    return JournalEvent(row, content, hash_of(position, stream, version, topic, row[3]))


def _fitting(events: Iterable[JournalEvent], most_bytes: int | None) -> Rows[JournalEvent]:
    found: Rows[JournalEvent] = Rows()
    for event in events:
        if most_bytes is not None and found.size_bytes >= most_bytes:
            found.ends_early = True
            break
        found.append(event)
        found.size_bytes += len(event.row[3])
    return found


_HEAD = load("domain.journal.journal")["head"]


class _Search(NamedTuple):
    """A search for events within one snapshot of the database. `chunk` is how many events are looked up at once."""

    cursor: Cursor[TupleRow]
    version: int
    ledger: str
    filters: EventFilters
    chunk: int
    descending: bool

    def span(self, low: int, high: int) -> tuple[int, int]:
        """Return the part of a range of positions that was recorded in the filters' time range."""
        since, until = self.filters.recorded_from, self.filters.recorded_to
        copies = _SQL["copies"].rows(self.cursor, {"ledger": self.ledger}) if since or until else []
        return (
            max(low, self._begin(since, copies)) if since else low,
            min(high, self._end(until, copies)) if until else high,
        )

    def _begin(self, since: Instant, copies: Sequence[TupleRow]) -> int:
        """Return a position from which on all events of the ledger since a time are. The filters leave others out."""
        if not copies:
            return self._first_since(since)
        begun = [int(first) for first, _, time in copies if time < since]
        return begun[-1] if begun else min(self._first_since(since), copies[0][0])

    def _end(self, until: Instant, copies: Sequence[TupleRow]) -> int:
        """Return a position before which all events of the ledger until a time are. The filters leave others out."""
        if not copies:
            return self._first_since(until)
        after = next((int(first) for first, _, time in copies if time >= until), None)
        return after or max(self._first_since(until), copies[-1][1] + 1)

    def found(self, low: int, high: int, known: int) -> Iterator[JournalEvent]:
        """Yield the events of a range, in order. Up to the position `known` the index finds them."""
        middle = min(max(low, known + 1), high)
        parts = [self._indexed(low, middle, known), self._tail(middle, high)]
        for part in reversed(parts) if self.descending else parts:
            yield from part

    def _indexed(self, low: int, high: int, known: int) -> Iterator[JournalEvent]:
        if low >= high:
            return
        keys = wanted_keys(self.ledger, self.filters)
        found = candidates(self.cursor, self.version, known, keys, low, high, descending=self.descending)
        while positions := list(islice(found, self.chunk)):
            while positions and (rows := self._rows("at_positions", positions=positions)):
                yield from self._passing(rows)
                positions = positions[positions.index(rows[-1][4]) + 1 :] if _is_full(rows) else []

    def _tail(self, low: int, high: int) -> Iterator[JournalEvent]:
        while low < high:
            rows = self._rows("between", low=low, high=high, limit=CHUNK_EVENTS)
            yield from self._passing(rows)
            if len(rows) < CHUNK_EVENTS and not _is_full(rows):
                return
            low, high = (low, rows[-1][4]) if self.descending else (rows[-1][4] + 1, high)

    def _rows(self, name: str, **wanted: Any) -> list[Row]:
        """Return the rows of a query in the order of the list, or as many of them as fit."""
        query = directed(_SQL[name], descending=self.descending)
        stored = query.rows(self.cursor, {**wanted, "most_bytes": CHUNK_BYTES}, prepare=False)
        return whole_rows(stored, CHUNK_BYTES)

    def _passing(self, rows: list[TupleRow]) -> Iterator[JournalEvent]:
        for row in rows:
            if (event := _passing(row, self.ledger, self.filters)) is not None:
                yield event

    def _first_since(self, time: Instant) -> int:
        row = _SQL["first_since"].row(self.cursor, {"time": time}, prepare=False)
        if row is None:
            raise JournalUnavailable(UnreadableEvent.reason)
        return int(row[0])


def _is_full(rows: list[TupleRow]) -> bool:
    """Tell whether rows may end where no more fitted."""
    return sum(len(row[3]) for row in rows) >= CHUNK_BYTES
