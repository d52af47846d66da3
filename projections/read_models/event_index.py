"""The index of the journal's events: which events have a key, such as an account that they mention.

The journal grows for ever, so the index is compact, and what is written often is small. Marks (event_marks.py) say
which events have a key. Those of the newest events are kept together, in one row for each strip of 128 positions.
Sixteen strips become a block, and 32 blocks become a stretch of 65,536 positions. Blocks and stretches have many rows,
divided by the hashes of keys. So a search for a key reads one small row of each stretch, and at most 47 for the newest
events.

A mark is written up to three times, but a transfer takes a tenth of a row. Measured with a row for each key of each 256
neighbours: four rows for a transfer, three times the room and the log, and two to four times PostgreSQL's time.

A hash stands for a key, so the events found here are candidates. `event_history` looks each of them up and checks it,
and reads events that are not indexed yet from the journal itself.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from psycopg import Connection, Cursor
from psycopg.rows import TupleRow

from domain.journal.arrays import bigint_array, bytea_array
from domain.journal.queries import Query
from domain.journal.reader import Row
from domain.journal.statements import statements_of
from projections.engine.projection import Projection, Queries
from projections.read_models.event_keys import Key
from projections.read_models.event_marks import (
    MARK_BITS,
    STRETCH,
    common,
    key_hash,
    marks_of,
    marks_with,
    offsets_of,
    packed,
    unpacked,
)

LINGER_SECONDS = 0.1
"""Small batches rewrite the newest row again and again, and few callers wait for the index."""

MAX_STRETCHES = 256


class Level(NamedTuple):
    """How marks are kept: those of so many positions together, as a segment, in so many rows, divided by hashes.

    From its highest bits on a slot holds the number of the stretch, the level's, the segment's within the stretch, and
    the row's within the segment. No level has more than `_SLOTS` rows in a stretch.
    """

    number: int
    positions: int
    rows: int

    def slot(self, segment: int, hashed: int = 0) -> int:
        """Return the slot of the row that has a key's marks of a segment. Segments are counted from the first event."""
        stretch, within = divmod(segment, STRETCH // self.positions)
        return (stretch * 4 + self.number) * _SLOTS + within * self.rows + (hashed * self.rows >> MARK_BITS)


_SLOTS = 2_048
STRETCHES = Level(0, STRETCH, 2_048)
BLOCKS = Level(1, 2_048, 64)
STRIPS = Level(2, 128, 1)


class Segment(NamedTuple):
    """A segment of a level, by its number, counted from the first event."""

    level: Level
    number: int

    @property
    def stretch(self) -> int:
        """The number of its stretch."""
        return self.number * self.level.positions // STRETCH

    def slot(self, hashed: int) -> int:
        """Return the slot of the row that has a key's marks."""
        return self.level.slot(self.number, hashed)

    def overlaps(self, low: int, high: int) -> bool:
        """Tell whether it has positions from `low` to before `high`."""
        begin = self.number * self.level.positions + 1
        return begin < high and begin + self.level.positions > low


def project(connection: Connection[Any], queries: Queries, rows: Sequence[Row]) -> None:
    """Add events to the index."""
    for part in _parts(rows, BLOCKS):
        slots, marks = zip(*_written(connection, queries, part), strict=True)
        values = {"slots": bigint_array(slots), "marks": bytea_array(marks)}
        statements_of(connection).change(queries["write"], values)


def _parts(rows: Sequence[Row], level: Level) -> Iterator[Sequence[Row]]:
    """Yield the parts of consecutive events that are in the same segment of a level."""
    begin = 0
    while begin < len(rows):
        end = begin + level.positions - (rows[begin][4] - 1) % level.positions
        yield rows[begin:end]
        begin = end


def _written(
    connection: Connection[Any], queries: Queries, rows: Sequence[Row]
) -> Iterator[tuple[int, bytes]]:
    """Yield the rows, by their slots, that are written for events of one block."""
    end = rows[-1][4]
    if end % BLOCKS.positions:
        for strip in _parts(rows, STRIPS):
            yield _strip(connection, queries, strip)
        return
    begun = (rows[0][4] - 1) % BLOCKS.positions
    block = end // BLOCKS.positions - 1
    marks = marks_of(rows, _taken(connection, queries, BLOCKS, block, STRIPS) if begun else ())
    if end % STRETCH:
        yield from _divided(BLOCKS, block, marks)
    else:
        stretch = end // STRETCH - 1
        marks = sorted([*_taken(connection, queries, STRETCHES, stretch, BLOCKS), *marks])
        yield from _divided(STRETCHES, stretch, marks)


def _strip(connection: Connection[Any], queries: Queries, rows: Sequence[Row]) -> tuple[int, bytes]:
    """Return the row of a strip, and its slot, after events were added to it."""
    at = rows[0][4] - 1
    slot = STRIPS.slot(at // STRIPS.positions)
    if at % STRIPS.positions == 0:
        return slot, packed(marks_of(rows))
    found = statements_of(connection).ask(queries["read"], {"slot": slot})
    return slot, packed(marks_of(rows, _marks_in(found)))


def _taken(
    connection: Connection[Any], queries: Queries, level: Level, segment: int, lower: Level
) -> Sequence[int]:
    """Delete the rows of a lower level within a segment, and return their marks."""
    several = level.positions // lower.positions
    wanted = {"first": lower.slot(segment * several), "rows": several * lower.rows}
    return _marks_in(queries["take"].rows(connection, wanted, prepare=True, binary=True))


def _marks_in(found: Iterable[TupleRow]) -> Sequence[int]:
    return unpacked(b"".join([marks for (marks,) in found]))


def _divided(level: Level, segment: int, marks: Sequence[int]) -> Iterator[tuple[int, bytes]]:
    """Yield the rows, by their slots, of a segment that has these marks, which are in order."""
    begin = 0
    for row in range(level.rows):
        end = bisect_left(marks, (row + 1 << MARK_BITS) // level.rows, begin)
        if begin < end:
            yield level.slot(segment) + row, packed(marks[begin:end])
        begin = end


def indexed(cursor: Cursor[TupleRow], version: int) -> int:
    """Return the position up to which events are in the index of a version."""
    row = PROJECTION.queries(version)["position"].only(cursor)
    return int(row[0])


def candidates(
    cursor: Cursor[TupleRow],
    version: int,
    known: int,
    keys: Sequence[Key],
    low: int,
    high: int,
    *,
    descending: bool,
) -> Iterator[int]:
    """Yield the positions from `low` to before `high` of events that have all keys, and of a few that only seem to.

    `known` is what `indexed` returns. Each step searches more stretches at once than the one before. So a page of
    common events costs little, and rare events are found in few steps.
    """
    query = PROJECTION.queries(version)["find"]
    hashed, *others = [key_hash(*key) for key in keys]
    for first, last in _stretches(low - 1, high - 2, descending=descending):
        segments = [segment for segment in _segments(first, last, known) if segment.overlaps(low, high)]
        found = _found(cursor, query, segments, hashed)
        for other in others:
            # Of a further key only the segments are read in which something was found.
            also = _found(cursor, query, found, other)
            found = {segment: both for segment in also if (both := common(found[segment], also[segment]))}
        for segment in reversed(segments) if descending else segments:
            for position in _positions(segment, found.get(segment, ()), descending=descending):
                if low <= position < high:
                    yield position


def _stretches(first_at: int, last_at: int, *, descending: bool) -> Iterator[tuple[int, int]]:
    """Yield ranges of stretches that cover a range of events, counted from 0. Each is twice as long as the last."""
    low, high = first_at // STRETCH, last_at // STRETCH
    several = 1
    while low <= high:
        if descending:
            yield max(low, high - several + 1), high
            high -= several
        else:
            yield low, min(high, low + several - 1)
            low += several
        several = min(2 * several, MAX_STRETCHES)


def _segments(first: int, last: int, known: int) -> Iterator[Segment]:
    """Yield the segments that have the marks of a range of stretches. All but the last one's marks are complete."""
    for stretch in range(first, last + 1):
        events = known - stretch * STRETCH
        if events >= STRETCH:
            yield Segment(STRETCHES, stretch)
            continue
        blocks = known // BLOCKS.positions
        for block in range(stretch * STRETCH // BLOCKS.positions, blocks):
            yield Segment(BLOCKS, block)
        for strip in range(blocks * BLOCKS.positions // STRIPS.positions, -(-known // STRIPS.positions)):
            yield Segment(STRIPS, strip)


def _found(
    cursor: Cursor[TupleRow], query: Query, segments: Iterable[Segment], hashed: int
) -> dict[Segment, Sequence[int]]:
    """Return the segments in which a key is found, each with the key's marks."""
    by_slot = {segment.slot(hashed): segment for segment in segments}
    rows = query.rows(cursor, {"slots": bigint_array(list(by_slot))}, prepare=False, binary=True)
    found = {by_slot[slot]: marks_with(unpacked(stored), hashed) for slot, stored in rows}
    return {segment: marks for segment, marks in found.items() if marks}


def _positions(segment: Segment, marks: Sequence[int], *, descending: bool) -> Iterator[int]:
    begin = segment.stretch * STRETCH + 1
    for mark in reversed(marks) if descending else marks:
        offsets = offsets_of(mark)
        for offset in reversed(offsets) if descending else offsets:
            yield begin + offset


PROJECTION = Projection(
    "event_index",
    __name__,
    (),
    ("event_index",),
    project,
    shape=2,
    all_events=True,
    linger_seconds=LINGER_SECONDS,
)
