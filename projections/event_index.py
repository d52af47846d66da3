"""The index of the journal's events: which of them have a key, such as an account that they mention.

It is compact, and written at one end only, since the journal that it is of grows for ever; how it does that stands in
event_index.sql. A hash stands for a key, so that what is found here are candidates: `event_history` looks each of them
up and sees whether it is what was asked for, and reads what is not indexed yet in the journal itself.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Any

from psycopg import Connection, Cursor
from psycopg.rows import TupleRow

from domain.addresses import ledger_of
from domain.journal.reader import Row
from projections.event_keys import (
    Key,
    content_of,
    envelope_of,
    keys_of,
    keys_of_place,
    parts_of,
    possible_mentions,
    shared_keys,
)
from projections.projection import Projection, Queries

LINGER_SECONDS = 0.1
"""Small batches write the rows of common keys again and again, and few wait for the index."""

NEIGHBOURS = 256
STRETCH_POSITIONS = 256 * NEIGHBOURS
MAX_STRETCHES = 256

_STRETCH_SHIFT = 44
_HASH_BITS = 36
_NEIGHBOURS_SHIFT = 8
_STRETCH_BITS = STRETCH_POSITIONS.bit_length() - 1


def project(connection: Connection[Any], queries: Queries, rows: Sequence[Row]) -> None:
    """Add events to the index."""
    found = _slots(rows)
    # What begins in this batch is new; the neighbours of its first event may be known.
    begun = (rows[0][4] - 1) >> _NEIGHBOURS_SHIFT
    known = {slot: offsets for slot, offsets in found.items() if _neighbours(slot) == begun}
    if known:
        connection.execute(queries["extend"], {"slots": list(known), "offsets": list(known.values())})
    new = sorted(found.keys() - known.keys())
    if new:
        with connection.cursor().copy(queries["add"]) as copy:
            copy.set_types(["int8", "bytea"])
            for slot in new:
                copy.write_row((slot, found[slot]))


def _slots(rows: Iterable[Row]) -> dict[int, bytearray]:
    """Return the offsets of events among their neighbours, by the slots of their keys."""
    found: defaultdict[int, bytearray] = defaultdict(bytearray)
    for row in rows:
        at = row[4] - 1
        place, offset = _place(at), at % NEIGHBOURS
        for hashed in _hashes(row):
            found[place + hashed].append(offset)
    return found


def _hashes(row: Row) -> Iterable[int]:
    """Return the hashes of an event's keys, perhaps with some of keys that it only seems to have.

    What all events of a command have is looked up once, and a payload is not read where what it may mention can be seen
    without: this is most of what the index costs.
    """
    stream, _, topic, state, _ = row
    ledger, parts = ledger_of(stream), parts_of(state)
    if parts is None:
        return {key_hash(*key) for key in keys_of(row, content_of(state))}
    try:
        shared = _shared_hashes(ledger, parts[0])
        accounts, ids = possible_mentions(parts[1])
    except ValueError:
        return {key_hash(*key) for key in keys_of(row, content_of(state))}
    hashes = set(shared | _hashes_of_place(stream, topic))
    for address in accounts:
        hashes.add(key_hash(ledger, "account", address))
    for id in ids:
        hashes.add(key_hash(ledger, "transaction_id", id))
    return hashes


@lru_cache(64)
def _shared_hashes(ledger: str, envelope: bytes) -> frozenset[int]:
    return frozenset(key_hash(*key) for key in shared_keys(ledger, envelope_of(envelope)))


@lru_cache(10_000)
def _hashes_of_place(stream: str, topic: str) -> frozenset[int]:
    return frozenset(key_hash(*key) for key in keys_of_place(stream, topic))


def _place(at: int) -> int:
    """Return what a slot has of where an event is, counted from 0."""
    return (at >> _STRETCH_BITS << _STRETCH_SHIFT) + (at >> _NEIGHBOURS_SHIFT) % 256


def _neighbours(slot: int) -> int:
    """Return which neighbours a slot is of, counted from 0."""
    return (slot >> _STRETCH_SHIFT << 8) + slot % 256


@lru_cache(100_000)
def key_hash(ledger: str, field: str, value: str) -> int:
    """Return what a slot has of a key."""
    digest = blake2b(f"{ledger}/{field}/{value}".encode(), digest_size=5).digest()
    return int.from_bytes(digest) >> (40 - _HASH_BITS) << _NEIGHBOURS_SHIFT


def indexed(cursor: Cursor[TupleRow], version: int) -> int:
    """Return up to which position events are in the index of a version."""
    row = cursor.execute(PROJECTION.queries(version)["position"]).fetchone()
    assert row is not None
    return int(row[0])


def candidates(
    cursor: Cursor[TupleRow], version: int, keys: Sequence[Key], low: int, high: int, *, descending: bool
) -> Iterator[int]:
    """Yield the positions from `low` to before `high` of events that have all keys, and of a few that only seem to.

    It looks into ever more stretches at once, so that a page of what is common costs little, and what is rare is found
    in few steps.
    """
    query = _query(PROJECTION.queries(version), len(keys))
    hashes = {f"key_{number}": key_hash(*key) for number, key in enumerate(keys)}
    for first, last in _stretches(low - 1, high - 2, descending=descending):
        found = cursor.execute(query, {"first": first, "last": last, **hashes}, prepare=False).fetchall()
        for slot, *offsets in sorted(found, reverse=descending):
            yield from _positions(slot, offsets, low, high, descending=descending)


def _query(queries: Queries, count: int) -> bytes:
    numbers = range(1, count)
    columns = "".join(f", other_{number}.offsets" for number in numbers)
    joins = "\n".join(queries["join"].replace(":number", str(number)) for number in numbers)
    return queries["find"].replace(":columns", columns).replace(":joins", joins).encode()


def _stretches(first_at: int, last_at: int, *, descending: bool) -> Iterator[tuple[int, int]]:
    """Yield ranges of stretches that cover a range of events, counted from 0, each twice as many as the one before."""
    low, high = first_at >> _STRETCH_BITS, last_at >> _STRETCH_BITS
    several = 1
    while low <= high:
        if descending:
            yield max(low, high - several + 1), high
            high -= several
        else:
            yield low, min(high, low + several - 1)
            low += several
        several = min(2 * several, MAX_STRETCHES)


def _positions(
    slot: int, offsets: Sequence[bytes], low: int, high: int, *, descending: bool
) -> Iterator[int]:
    beginning = _neighbours(slot) * NEIGHBOURS + 1
    common = set(offsets[0]).intersection(*map(set, offsets[1:]))
    for offset in sorted(common, reverse=descending):
        if low <= beginning + offset < high:
            yield beginning + offset


PROJECTION = Projection(
    "event_index", (), ("event_index",), project, whole=True, linger_seconds=LINGER_SECONDS
)
