"""The Merkle tree in tiles, in the form of C2SP tlog-tiles: what is stored of the tree, and how it grows.

A tile holds the hashes of up to 256 neighbouring nodes of every eighth level. The nodes of tile (level, number) are
complete subtrees of 256^level leaves each, beginning with the 256·number-th of them. The tiles at the right edge are
partial. They only ever grow, so every earlier tree can be read from the tiles of a later one.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from domain.transparency.merkle_tree import HASH_BYTES, Nodes, folded

HEIGHT = 8
WIDTH = 1 << HEIGHT


class TileAddress(NamedTuple):
    """A tile's level, and its number in the level, both from 0."""

    level: int
    number: int


Tiles = Mapping[TileAddress, bytes]
"""Tiles by their address. Each is its hashes, one after another."""


def partial_tiles(size: int) -> list[TileAddress]:
    """Return the addresses of the partial tiles in a tree of `size` leaves. An append reads them."""
    places = []
    level = 0
    while size:
        if size % WIDTH:
            places.append(TileAddress(level, size // WIDTH))
        size //= WIDTH
        level += 1
    return places


def append(size: int, partial: Tiles, leaves: Sequence[bytes]) -> dict[TileAddress, bytes]:
    """Return every tile that changes when leaves are appended to a tree of `size` leaves with these partial tiles.

    Raises `KeyError` if a partial tile is missing, and `ValueError` if a tile's length does not fit the size.
    """
    changed: dict[TileAddress, bytes] = {}
    level = 0
    hashes = leaves
    while hashes:
        begun = size % WIDTH
        known = partial[TileAddress(level, size // WIDTH)] if begun else b""
        if len(known) != begun * HASH_BYTES:
            raise ValueError(f"the tile at level {level}, number {size // WIDTH} has not {begun} hashes")
        hashes = _fill(TileAddress(level, size // WIDTH), known, hashes, changed)
        size //= WIDTH
        level += 1
    return changed


def _fill(
    place: TileAddress, known: bytes, hashes: Sequence[bytes], changed: dict[TileAddress, bytes]
) -> list[bytes]:
    """Put hashes into tiles of one level from an address on; return the nodes that stand for the full tiles."""
    level, first = place
    everything = [*hashes_of(known), *hashes]
    full = []
    for start in range(0, len(everything), WIDTH):
        tile = everything[start : start + WIDTH]
        changed[TileAddress(level, first + start // WIDTH)] = b"".join(tile)
        if len(tile) == WIDTH:
            full.append(folded(tile))
    return full


def hashes_of(tile: bytes) -> list[bytes]:
    """Return the hashes of a tile."""
    return [tile[start : start + HASH_BYTES] for start in range(0, len(tile), HASH_BYTES)]


def nodes_of(tile_at: Callable[[TileAddress], bytes]) -> Nodes:
    """Return the nodes of a tree, read from its tiles. A node raises `LookupError` if its tile does not contain it."""

    def node(level: int, index: int) -> bytes:
        height = level % HEIGHT
        first = index << height
        place = TileAddress(level // HEIGHT, first // WIDTH)
        start = first % WIDTH * HASH_BYTES
        part = tile_at(place)[start : start + (HASH_BYTES << height)]
        if len(part) != HASH_BYTES << height:
            raise LookupError(f"the tile at level {place.level}, number {place.number} is too short")
        return folded(hashes_of(part))

    return node


def by_address(tiles: Iterable[tuple[int, int, bytes]]) -> dict[TileAddress, bytes]:
    """Return tiles by their address, given as rows of level, number and hashes."""
    return {TileAddress(level, number): bytes(hashes) for level, number, hashes in tiles}
