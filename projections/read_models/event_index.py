"""The index of the journal's events: which events have a key, such as an account that they mention.

The journal grows for ever, so the index is compact and is written only at its end; event_index.sql says how. A hash
stands for a key, so the events found here are candidates. `event_history` looks each of them up and checks it, and
reads events that are not indexed yet from the journal itself.
"""

import struct
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Any, NamedTuple

from msgspec import MsgspecError
from psycopg import Connection, Cursor
from psycopg.rows import TupleRow

from domain.journal.arrays import bigint_array, bytea_array
from domain.journal.queries import Query
from domain.journal.reader import Row
from domain.model.streams import ledger_of, transaction_stream
from projections.engine.projection import Projection, Queries
from projections.read_models.event_keys import (
    BEFORE_DATA,
    PASSING_FIELDS,
    Key,
    content_of,
    keys_of,
    keys_of_stream,
    parts_of,
    possible_accounts,
    possible_ids,
    said_of,
    shared_keys,
)

LINGER_SECONDS = 0.1
"""Small batches rewrite the rows of common keys again and again, and few callers wait for the index."""

NEIGHBOURS = 256
STRETCH_POSITIONS = 256 * NEIGHBOURS
MAX_STRETCHES = 256

_STRETCH_SHIFT = 44
_HASH_BITS = 36
_NEIGHBOURS_SHIFT = 8
_STRETCH_BITS = STRETCH_POSITIONS.bit_length() - 1

_COPY_HEAD = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_COPY_ROW = struct.Struct("!hiqi").pack
_COPY_END = b"\xff\xff"


def project(connection: Connection[Any], queries: Queries, rows: Sequence[Row]) -> None:
    """Add events to the index."""
    # The neighbours of the first event may have rows already; all others begin in this batch.
    begun = -(rows[0][4] - 1) % NEIGHBOURS
    if known := _slots(rows[:begun]):
        slots, offsets = zip(*known, strict=True)
        queries["extend"].run(
            connection, {"slots": bigint_array(slots), "offsets": bytea_array(offsets)}, prepare=True
        )
    if new := _slots(rows[begun:]):
        with connection.cursor().copy(queries["add"]) as copy:
            copy.write(_encoded(new))


def _encoded(slots: Iterable[tuple[int, bytearray]]) -> bytes:
    """Return rows in COPY's binary format."""
    pieces: list[bytes | bytearray] = [_COPY_HEAD]
    for slot, offsets in slots:
        pieces += (_COPY_ROW(2, 8, slot, len(offsets)), offsets)
    pieces.append(_COPY_END)
    return b"".join(pieces)


def _slots(rows: Sequence[Row]) -> list[tuple[int, bytearray]]:
    """Return the slots of the keys of events at consecutive positions, each with the events' offsets, in order."""
    found: list[tuple[int, bytearray]] = []
    begin = 0
    while begin < len(rows):
        at = rows[begin][4] - 1
        end = begin + NEIGHBOURS - at % NEIGHBOURS
        place = _place(at)
        for hashed, offsets in _offsets(rows[begin:end]).items():
            found.append((place + (hashed << _NEIGHBOURS_SHIFT), offsets))
        begin = end
    found.sort()
    return found


def _offsets(neighbours: Sequence[Row]) -> Mapping[int, bytearray]:
    """Return the offsets of events among their neighbours, by the hashes of their keys.

    They may include keys that an event only seems to have.
    """
    found: defaultdict[int, bytearray] = defaultdict(bytearray)
    command: _Command | None = None
    for offset, row in enumerate(neighbours, start=(neighbours[0][4] - 1) % NEIGHBOURS):
        if command is None or not command.has(row):
            command = _Command.of(row)
        for hashed in command.hashes_of(row) if command else _hashes_by_meaning(row):
            found[hashed].append(offset)
    return found


def _hashes_by_meaning(row: Row) -> Iterable[int]:
    return {key_hash(*key) for key in keys_of(row, content_of(row[3]))}


class _Command(NamedTuple):
    """What consecutive events of one command share, so that it is parsed and hashed only once.

    `stem` is the common beginning of their streams' names. `envelope` is the stored envelope up to where the payload
    begins. `own_stream` is the stream of the transaction whose request caused them, and `cause` its id. Payloads are
    not parsed if what they may mention can be seen without parsing. Parsing and hashing are most of the index's cost.
    """

    ledger: str
    stem: str
    envelope: bytes
    cause: bytes
    own_stream: str
    hashes: frozenset[int]

    @classmethod
    def of(cls, row: Row) -> "_Command | None":
        """Return the command of an event, or None if the event is not stored in this project's own form."""
        stream, _, _, state, _ = row
        if (parts := parts_of(state)) is None:
            return None
        try:
            said = said_of(parts[0])
        except (MsgspecError, ValueError):
            return None
        ledger = ledger_of(stream)
        hashes = frozenset([_hash(*key) for key in shared_keys(ledger, said)])
        cause = said.cause or ""
        return cls(
            ledger,
            f"{ledger}/",
            parts[0] + BEFORE_DATA,
            cause.encode(),
            transaction_stream(ledger, cause),
            hashes,
        )

    def has(self, row: Row) -> bool:
        """Tell whether an event belongs to this command."""
        stream, _, _, state, _ = row
        return state.startswith(self.envelope, state.find(b",")) and stream.startswith(self.stem)

    def hashes_of(self, row: Row) -> Iterable[int]:
        """Return the hashes of the keys of an event of this command."""
        stream, _, topic, state, _ = row
        ledger = self.ledger
        payload = state[state.find(b",") + len(self.envelope) : -1]
        hashes = {*self.hashes, _known_hash(ledger, "type", topic)}
        if stream != self.own_stream:
            hashes.update(_hashes_of_stream(stream))
        try:
            for id in possible_ids(payload, self.cause):
                hashes.add(_hash(ledger, "transaction_id", id))
            for address in possible_accounts(payload):
                hashes.add(_hash(ledger, "account", address))
        except ValueError:
            return _hashes_by_meaning(row)
        return hashes


@lru_cache(20_000)
def _hashes_of_stream(stream: str) -> tuple[int, ...]:
    return tuple([_hash(*key) for key in keys_of_stream(stream)])


def _place(at: int) -> int:
    """Return the bits of a slot that come from an event's place, counted from 0."""
    return (at >> _STRETCH_BITS << _STRETCH_SHIFT) + (at >> _NEIGHBOURS_SHIFT) % 256


def _neighbours(slot: int) -> int:
    """Return the number, from 0, of the group of neighbours that a slot belongs to."""
    return (slot >> _STRETCH_SHIFT << 8) + slot % 256


def key_hash(ledger: str, field: str, value: str) -> int:
    """Return the hash that stands for a key."""
    digest = blake2b(f"{ledger}/{field}/{value}".encode(), digest_size=5).digest()
    return int.from_bytes(digest) >> (40 - _HASH_BITS)


_known_hash = lru_cache(20_000)(key_hash)


def _hash(ledger: str, field: str, value: str) -> int:
    # Ids appear in one command and hardly ever again: in the cache they would push the others out.
    return key_hash(ledger, field, value) if field in PASSING_FIELDS else _known_hash(ledger, field, value)


def indexed(cursor: Cursor[TupleRow], version: int) -> int:
    """Return the position up to which events are in the index of a version."""
    row = PROJECTION.queries(version)["position"].only(cursor)
    return int(row[0])


def candidates(
    cursor: Cursor[TupleRow], version: int, keys: Sequence[Key], low: int, high: int, *, descending: bool
) -> Iterator[int]:
    """Yield the positions from `low` to before `high` of events that have all keys, and of a few that only seem to.

    Each step searches more stretches at once than the one before. So a page of common events costs little, and rare
    events are found in few steps.
    """
    query = _query(PROJECTION.queries(version), len(keys))
    hashes = {f"key_{number}": key_hash(*key) << _NEIGHBOURS_SHIFT for number, key in enumerate(keys)}
    for first, last in _stretches(low - 1, high - 2, descending=descending):
        found = query.rows(cursor, {"first": first, "last": last, **hashes}, prepare=False)
        for slot, *offsets in sorted(found, reverse=descending):
            yield from _positions(slot, offsets, low, high, descending=descending)


def _query(queries: Queries, count: int) -> Query:
    numbers = range(1, count)
    columns = "".join(f", other_{number}.offsets" for number in numbers)
    joins = "\n".join(queries["join"].fill(number=number) for number in numbers)
    return queries["find"].fill(columns=columns, joins=joins)


def _stretches(first_at: int, last_at: int, *, descending: bool) -> Iterator[tuple[int, int]]:
    """Yield ranges of stretches that cover a range of events, counted from 0. Each is twice as long as the last."""
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
    "event_index", __name__, (), ("event_index",), project, all_events=True, linger_seconds=LINGER_SECONDS
)
