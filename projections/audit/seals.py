"""The rows that `seals` and `event_index` must hold: the tiles of the tree over all events, and the events' index."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from projections.audit.stored import Journal, Row

_UUID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_WIDTH = 256
_STRETCH = 65_536
_HASHES = 2**35 - 1


def tiles(journal: Journal) -> Iterator[Row]:
    """Return the tiles of the tree, level by level. Nothing for a sample: every event is in all nodes above it."""
    if journal.sample is not None:
        return
    level, hashes = 0, _leaves(journal)
    above: list[bytes] = []
    while True:
        for number, tile in enumerate(_tiles_of(hashes)):
            yield level, number, b"".join(tile)
            if len(tile) == _WIDTH:
                above.append(_root(tile))
        if not above:
            return
        level, hashes, above = level + 1, iter(above), []


def index(journal: Journal) -> Iterator[Row]:
    """Return the rows of the index, stretch by stretch. Nothing for a sample."""
    if journal.sample is not None:
        return
    stretch = 0
    masks: dict[int, int] = {}
    for stream, _, topic, state, position in journal.as_stored():
        if (position - 1) // _STRETCH > stretch:
            yield from _index_rows(stretch, masks, _STRETCH)
            stretch, masks = (position - 1) // _STRETCH, {}
        at = (position - 1) % _STRETCH
        for key in _keys(stream, topic, bytes(state)):
            hashed = (
                int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "big") >> 28 & _HASHES
            )
            place = hashed << 12 | at // 16
            masks[place] = masks.get(place, 0) | 1 << at % 16
    yield from _index_rows(stretch, masks, journal.upto - stretch * _STRETCH)


def _index_rows(stretch: int, masks: Mapping[int, int], events: int) -> Iterator[Row]:
    """Return the rows of a stretch that has so many events, by slot.

    `masks` has the marks: by a hash of 35 bits and the number of 16 neighbours, a bit for each of these. A complete
    stretch has 2,048 rows, by the first bits of the hash. Before that, each complete 2,048 events have 64 rows, and the
    others one row for each 128.
    """
    rows: dict[int, list[int]] = {}
    for place, mask in masks.items():
        hashed, window = place >> 12, place & 4_095
        if events == _STRETCH:
            row = hashed >> 24
        elif window // 128 < events // 2_048:
            row = 2_048 | window // 128 << 6 | hashed >> 29
        else:
            row = 4_096 | window // 8
        rows.setdefault(stretch << 13 | row, []).append(place << 16 | mask)
    for slot in sorted(rows):
        yield slot, b"".join(mark.to_bytes(8, "big") for mark in sorted(rows[slot]))


def _leaves(journal: Journal) -> Iterator[bytes]:
    for stream, version, topic, state, position in journal.as_stored():
        place = json.dumps(
            {"position": position, "stream": stream, "version": version, "type": topic},
            separators=(",", ":"),
            ensure_ascii=False,
        )
        leaf = b"\x00" + place.encode()[:-1] + b',"event":' + bytes(state) + b"}"
        yield hashlib.sha256(leaf).digest()


def _tiles_of(hashes: Iterator[bytes]) -> Iterator[list[bytes]]:
    tile: list[bytes] = []
    for hashed in hashes:
        tile.append(hashed)
        if len(tile) == _WIDTH:
            yield tile
            tile = []
    if tile:
        yield tile


def _root(tile: Sequence[bytes]) -> bytes:
    if len(tile) == 1:
        return tile[0]
    half = len(tile) // 2
    return hashlib.sha256(b"\x01" + _root(tile[:half]) + _root(tile[half:])).digest()


def _keys(stream: str, topic: str, state: bytes) -> set[str]:
    """Return the keys by which an event can be found: what it says, and everything that it might mention."""
    event = json.loads(state)
    ledger, kind, *name = stream.split("/", 2)
    found = {
        ("", ""),
        ("type", topic),
        ("actor", event["actor"]),
        ("correlation_id", event["correlation_id"]),
    }
    if kind in ("accounts", "transactions"):
        found.add(("account" if kind == "accounts" else "transaction_id", name[0]))
    if _UUID.fullmatch(event["causation_id"]):
        found.add(("transaction_id", event["causation_id"]))
    for member, text in _texts("", event["data"]):
        if member == "account":
            found.add(("account", text))
        if _UUID.fullmatch(text):
            found.add(("transaction_id", text))
    return {f"{ledger}/{field}/{value}" for field, value in found}


def _texts(member: str, value: Any) -> Iterator[tuple[str, str]]:
    """Yield every text within a value, with the name of its member. Names of members are texts without a member."""
    if isinstance(value, str):
        yield member, value
    elif isinstance(value, list):
        for item in value:
            yield from _texts("", item)
    elif isinstance(value, dict):
        for name, item in value.items():
            yield "", name
            yield from _texts(name, item)
