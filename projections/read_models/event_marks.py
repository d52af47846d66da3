"""Marks: numbers that say which of 16 neighbouring events have a key. The index of events is made of them.

A mark has 63 bits. From its highest on they are: a hash of the key; the number of the window, as 16 neighbours are
called, within its stretch of 65,536 positions; and the mask, one bit for each neighbour that has the key, the lowest
for the first. So marks in order are in the order of keys, and the marks of a key lie together.

The events of a command are neighbours and share most of their keys. So a mark stands for about three events, and what
they share is parsed and hashed once. Parsing and hashing are most of the index's cost.
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from functools import lru_cache
from hashlib import blake2b
from sys import byteorder

from msgspec import MsgspecError

from domain.journal.reader import Row
from domain.model.streams import account_stream, ledger_of, transaction_stream
from projections.read_models.event_keys import (
    BEFORE_DATA,
    Said,
    content_of,
    envelope_part,
    keys_of,
    keys_of_stream,
    possible_mentions,
    said_of,
    shared_keys,
)

WINDOW = 16
STRETCH = 65_536
MARK_BITS = 63

_WINDOW_BITS = WINDOW.bit_length() - 1
_STRETCH_BITS = STRETCH.bit_length() - 1
_HASH_SHIFT = _STRETCH_BITS - _WINDOW_BITS + WINDOW
_MASKS = (1 << WINDOW) - 1
_PLACES = (1 << _HASH_SHIFT) - 1 - _MASKS
_HASHES = (1 << MARK_BITS) - 1 - _PLACES - _MASKS

_FIRST_VERSION = b'{"class_version":1'
_VERSION = _FIRST_VERSION[:-1]
_CREDITS = b',"credits":}}'
_DIGITS = b"0123456789"

Masks = dict[int, int]
"""The marks of one window: by the hash of the key, the mask."""


def marks_of(rows: Sequence[Row], known: Iterable[int] = ()) -> list[int]:
    """Return, in order, the marks of events at consecutive positions of a stretch, and those that are `known`.

    `known` are marks of the positions before, perhaps also of the first events' window. Some of the marks are of keys
    that an event only seems to have.
    """
    at = rows[0][4] - 1
    marks, masks = _divided(known, _place(at))
    command: _Command | None = None
    begin = -(at % WINDOW)
    while begin < len(rows):
        place = _place(at + max(begin, 0))
        command = _add_events(masks, rows[max(begin, 0) : begin + WINDOW], command)
        marks += [hashed | place | mask for hashed, mask in masks.items()]
        masks.clear()
        begin += WINDOW
    marks.sort()
    return marks


def _place(at: int) -> int:
    """Return the number of an event's window, as it stands in a mark, given the event's place counted from 0."""
    return at >> _WINDOW_BITS << WINDOW & _PLACES


def _divided(known: Iterable[int], place: int) -> tuple[list[int], Masks]:
    """Return the marks of all windows but one, and those of that one in two parts."""
    marks: list[int] = []
    masks: Masks = {}
    for mark in known:
        if mark & _PLACES == place:
            masks[mark & _HASHES] = mark & _MASKS
        else:
            marks.append(mark)
    return marks, masks


def _add_events(masks: Masks, neighbours: Sequence[Row], command: "_Command | None") -> "_Command | None":
    """Add the keys of events of one window, given the command of the event before; return the last one's command.

    The keys that a command's events share are added once for all of them.
    """
    bit = 1 << (neighbours[0][4] - 1) % WINDOW
    shared = 0
    for row in neighbours:
        hashes = command.hashes_of(row) if command else None
        if hashes is None:
            if command and shared:
                _add(masks, command.hashes, shared)
            command, shared = _Command.of(row), 0
            hashes = command.hashes_of(row) if command else None
        _add(masks, _hashes_by_meaning(row) if hashes is None else hashes, bit)
        shared |= bit
        bit <<= 1
    if command:
        _add(masks, command.hashes, shared)
    return command


def _add(masks: Masks, hashes: Iterable[int], mask: int) -> None:
    for hashed in hashes:
        masks[hashed] = masks[hashed] | mask if hashed in masks else mask


def _hashes_by_meaning(row: Row) -> list[int]:
    return [key_hash(*key) for key in keys_of(row, content_of(row[3]))]


class _Command:
    """What consecutive events of one command share, so that it is parsed and hashed only once.

    `hashes` are of the keys that all of them have. `_envelope` is the stored envelope up to where the payload begins.
    `_posting` is how the commonest event is stored, up to its amounts. `_accounts` has the hashes of the accounts that
    the events so far mention. They are forgotten with the command: to find an account among very many takes longer than
    to hash it.

    Payloads are not parsed if what they may mention can be seen without parsing.
    """

    __slots__ = (
        *(
            "_account_stem",
            "_accounts",
            "_envelope",
            "_ledger",
            "_own_stream",
            "_payload_at",
            "_posting",
            "_stem",
        ),
        "hashes",
    )

    def __init__(self, ledger: str, envelope: bytes, said: Said) -> None:
        cause = said.cause or ""
        self._ledger = ledger
        self._stem = f"{ledger}/"
        self._account_stem = account_stream(ledger, "")
        self._own_stream = transaction_stream(ledger, cause)
        self._accounts: dict[str, int] = {}
        self._envelope = envelope
        self._payload_at = len(_FIRST_VERSION) + len(envelope)
        self._posting = b'%b%b{"transaction_id":"%b","debits":' % (_FIRST_VERSION, envelope, cause.encode())
        self.hashes = [*_caller(ledger, said.actor)]
        if said.correlation_id is not None:
            self.hashes.append(key_hash(ledger, "correlation_id", said.correlation_id))
        if cause:
            self.hashes.append(key_hash(ledger, "transaction_id", cause))

    @classmethod
    def of(cls, row: Row) -> "_Command | None":
        """Return the command of an event, or None if the event is not stored in this project's own form."""
        stream, _, _, state, _ = row
        if (envelope := envelope_part(state)) is None:
            return None
        try:
            return cls(ledger_of(stream), envelope + BEFORE_DATA, said_of(envelope))
        except (MsgspecError, ValueError):
            return None

    def hashes_of(self, row: Row) -> list[int] | None:
        """Return the hashes of the other keys of an event, or None if it is not an event of this command.

        Some may come more than once, and some may be of keys that the event only seems to have.
        """
        stream, _, topic, state, _ = row
        if not stream.startswith(self._stem):
            return None
        # Most events are postings to accounts, as this release stores them. They mention only their cause.
        if (
            state.startswith(self._posting)
            and state[len(self._posting) :].translate(None, _DIGITS) == _CREDITS
        ):
            return self._of_stream(stream, topic)
        if not (state.startswith(self._envelope, len(_FIRST_VERSION)) and state.startswith(_VERSION)):
            return None
        try:
            ids, accounts = possible_mentions(state[self._payload_at : -1])
            hashes = [self._account_hash(address) for address in accounts]
        except ValueError:
            return _hashes_by_meaning(row)
        if ids:
            hashes += [key_hash(self._ledger, "transaction_id", id) for id in ids]
        return hashes + self._of_stream(stream, topic)

    def _of_stream(self, stream: str, topic: str) -> list[int]:
        """Return the hashes of the keys that follow from an event's type and stream, and are not shared by all."""
        of_type = _type_hash(self._ledger, topic)
        if stream.startswith(self._account_stem):
            return [of_type, self._account_hash(stream[len(self._account_stem) :])]
        if stream == self._own_stream:
            return [of_type]
        return [of_type, *[key_hash(*key) for key in keys_of_stream(stream)]]

    def _account_hash(self, address: str) -> int:
        hashed = self._accounts.get(address)
        if hashed is None:
            hashed = self._accounts[address] = key_hash(self._ledger, "account", address)
        return hashed


@lru_cache(20_000)
def _caller(ledger: str, actor: str | None) -> tuple[int, ...]:
    """Return the hashes of the keys of a ledger and of who acted in it."""
    return tuple([key_hash(*key) for key in shared_keys(ledger, Said(actor))])


@lru_cache(1_000)
def _type_hash(ledger: str, topic: str) -> int:
    return key_hash(ledger, "type", topic)


def key_hash(ledger: str, field: str, value: str) -> int:
    """Return the hash that stands for a key, as it stands in a mark."""
    hashed = _begun_hash(ledger, field).copy()
    hashed.update(value.encode())
    return int.from_bytes(hashed.digest()) & _HASHES


@lru_cache(1_000)
def _begun_hash(ledger: str, field: str) -> blake2b:
    """Return what the hashes of all values of a field share. Copying it takes half the time of beginning anew."""
    return blake2b(f"{ledger}/{field}/".encode(), digest_size=8)


def marks_with(marks: Sequence[int], hashed: int) -> Sequence[int]:
    """Return a key's marks, from marks in order."""
    begin = bisect_left(marks, hashed)
    return marks[begin : bisect_left(marks, hashed + (1 << _HASH_SHIFT), begin)]


def common(marks: Sequence[int], others: Sequence[int]) -> list[int]:
    """Return marks, without a hash, of the events that two keys have in common, given each key's marks in order.

    The shorter list is looked up in the longer one, because one key may be rare and the other one everywhere.
    """
    found: list[int] = []
    few, many = sorted((marks, others), key=len)
    for mark in few:
        place = mark & _PLACES
        at = bisect_left(many, many[0] & _HASHES | place)
        if at < len(many) and many[at] & _PLACES == place and (mask := mark & many[at] & _MASKS):
            found.append(place | mask)
    return found


def offsets_of(mark: int) -> list[int]:
    """Return the places within their stretch, counted from 0, of the events that have a mark's key."""
    first = (mark & _PLACES) >> WINDOW << _WINDOW_BITS
    return [first + offset for offset in range(WINDOW) if mark >> offset & 1]


def packed(marks: Iterable[int]) -> bytes:
    """Return marks as they are stored: 8 bytes each, the highest first."""
    return _swapped(array("Q", marks)).tobytes()


def unpacked(stored: bytes) -> Sequence[int]:
    """Return marks from their stored form."""
    return _swapped(array("Q", stored))


def _swapped(marks: "array[int]") -> "array[int]":
    if byteorder == "little":
        marks.byteswap()
    return marks
