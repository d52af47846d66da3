"""Tiles: they are the same however a tree was appended to, and all earlier trees can be read from them."""

from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.transparency.merkle_tree import (
    Accumulator,
    consistency_path,
    inclusion_path,
    leaf_hash,
    root,
    verify_inclusion,
)
from domain.transparency.tiles import (
    WIDTH,
    TileAddress,
    append,
    by_address,
    hashes_of,
    nodes_of,
    partial_tiles,
)

MANY = WIDTH * WIDTH + 3 * WIDTH + 7
LEAVES = [leaf_hash(str(number).encode()) for number in range(MANY)]


def grown(sizes: list[int]) -> dict[TileAddress, bytes]:
    """The tiles of a tree that was appended to in several steps, each reading only the edge."""
    tiles: dict[TileAddress, bytes] = {}
    for before, after in zip([0, *sizes], sizes, strict=False):
        partial = {place: tiles[place] for place in partial_tiles(before)}
        tiles.update(append(before, partial, LEAVES[before:after]))
    return tiles


@pytest.fixture(scope="module")
def at_once() -> dict[TileAddress, bytes]:
    return grown([MANY])


def test_the_tiles_of_a_tree_have_its_nodes(at_once: dict[TileAddress, bytes]) -> None:
    assert at_once.keys() == {
        *(TileAddress(0, number) for number in range(260)),
        TileAddress(1, 0),
        TileAddress(1, 1),
        TileAddress(2, 0),
    }
    assert hashes_of(at_once[TileAddress(0, 1)]) == LEAVES[WIDTH : 2 * WIDTH]
    assert len(at_once[TileAddress(0, 259)]) == 7 * 32
    assert hashes_of(at_once[TileAddress(1, 0)])[5] == Accumulator(LEAVES[5 * WIDTH : 6 * WIDTH]).root
    assert hashes_of(at_once[TileAddress(2, 0)]) == [Accumulator(LEAVES[: WIDTH * WIDTH]).root]


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(0, MANY), max_size=6))
def test_appending_in_steps_makes_the_same_tiles(at_once: dict[TileAddress, bytes], steps: list[int]) -> None:
    assert grown(sorted({*steps, MANY})) == at_once


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 511, 65_535, 65_536, 65_537, MANY])
def test_earlier_trees_are_read_from_later_tiles(at_once: dict[TileAddress, bytes], size: int) -> None:
    nodes = nodes_of(at_once.__getitem__)
    assert root(size, nodes) == Accumulator(LEAVES[:size]).root
    if size:
        path = inclusion_path(size // 2, size, nodes)
        assert verify_inclusion(LEAVES[size // 2], size // 2, size, root(size, nodes), path)


def test_a_proof_reads_few_tiles(at_once: dict[TileAddress, bytes]) -> None:
    reads = count()

    def tile_at(place: TileAddress) -> bytes:
        next(reads)
        return at_once[place]

    consistency_path(12_345, MANY, nodes_of(tile_at))
    assert next(reads) < 64


def test_a_tree_that_is_not_as_large_is_not_appended_to(at_once: dict[TileAddress, bytes]) -> None:
    partial = {place: at_once[place] for place in partial_tiles(MANY)}
    with pytest.raises(ValueError, match="level 0, number 259 has not 8 hashes"):
        append(MANY + 1, partial, LEAVES[:1])
    with pytest.raises(KeyError):
        append(MANY + WIDTH, partial, LEAVES[:1])
    with pytest.raises(LookupError, match="too short"):
        nodes_of(at_once.__getitem__)(0, MANY)


def test_rows_are_spread_by_place() -> None:
    assert by_address([(0, 3, b"a"), (1, 0, b"b")]) == {TileAddress(0, 3): b"a", TileAddress(1, 0): b"b"}
