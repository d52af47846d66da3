"""The Merkle tree: the vectors of RFC 6962's authors, and every proof verified by code written from RFC 9162 alone."""

import hashlib
from collections.abc import Sequence
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.transparency.merkle_tree import (
    EMPTY_ROOT,
    Accumulator,
    Nodes,
    consistency_path,
    folded,
    inclusion_path,
    leaf_hash,
    root,
    verify_consistency,
    verify_inclusion,
)

# From the reference implementation of Certificate Transparency: its leaves, the root of the tree of the first 1, 2, …
# leaves, and paths by the number of the leaf, counted from 0.
LEAVES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
A, B, C = (
    "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
    "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
    "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
)
D, E, F = (
    "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
    "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
)


def nodes_over(leaves: Sequence[bytes]) -> Nodes:
    """The nodes of a tree, computed from its leaves each time."""
    return lambda level, index: folded(leaves[index << level : (index + 1) << level])


def random_leaves(size: int) -> list[bytes]:
    chance = Random(size)
    # All leaves differ. Otherwise the proof of one would prove an equal one.
    return [leaf_hash(number.to_bytes(2) + chance.randbytes(chance.randrange(40))) for number in range(size)]


def merkle_tree_hash(leaves: Sequence[bytes]) -> bytes:
    """MTH of RFC 9162 §2.1.1, of leaves already hashed."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while 2 * split < len(leaves):
        split *= 2
    left, right = merkle_tree_hash(leaves[:split]), merkle_tree_hash(leaves[split:])
    return hashlib.sha256(b"\x01" + left + right).digest()


def path_of(index: int, leaves: Sequence[bytes]) -> list[bytes]:
    """PATH of RFC 9162 §2.1.3.1."""
    if len(leaves) == 1:
        return []
    split = 1
    while 2 * split < len(leaves):
        split *= 2
    if index < split:
        return [*path_of(index, leaves[:split]), merkle_tree_hash(leaves[split:])]
    return [*path_of(index - split, leaves[split:]), merkle_tree_hash(leaves[:split])]


def subproof(size: int, leaves: Sequence[bytes], complete: bool) -> list[bytes]:
    """SUBPROOF of RFC 9162 §2.1.4.1."""
    if size == len(leaves):
        return [] if complete else [merkle_tree_hash(leaves)]
    split = 1
    while 2 * split < len(leaves):
        split *= 2
    if size <= split:
        return [*subproof(size, leaves[:split], complete), merkle_tree_hash(leaves[split:])]
    return [*subproof(size - split, leaves[split:], False), merkle_tree_hash(leaves[:split])]


KNOWN = [leaf_hash(bytes.fromhex(leaf)) for leaf in LEAVES]


@pytest.mark.parametrize("size", range(9))
def test_the_roots_of_the_reference(size: int) -> None:
    assert root(size, nodes_over(KNOWN)).hex() == ROOTS[size]
    assert Accumulator(KNOWN[:size]).root.hex() == ROOTS[size]


@pytest.mark.parametrize(
    ("index", "size", "path"),
    [(0, 1, []), (0, 8, [A, B, C]), (5, 8, [D, E, ROOTS[4]]), (2, 3, [ROOTS[2]]), (1, 5, [ROOTS[1], B, D])],
)
def test_the_inclusion_paths_of_the_reference(index: int, size: int, path: list[str]) -> None:
    assert [node.hex() for node in inclusion_path(index, size, nodes_over(KNOWN))] == path


@pytest.mark.parametrize(
    ("first", "second", "path"),
    [(1, 1, []), (1, 8, [A, B, C]), (6, 8, [F, E, ROOTS[4]]), (2, 5, [B, D]), (0, 8, []), (8, 8, [])],
)
def test_the_consistency_paths_of_the_reference(first: int, second: int, path: list[str]) -> None:
    assert [node.hex() for node in consistency_path(first, second, nodes_over(KNOWN))] == path


@pytest.mark.parametrize("size", range(66))
def test_every_proof_of_every_small_tree(size: int) -> None:
    leaves = random_leaves(size)
    nodes, whole = nodes_over(leaves), merkle_tree_hash(leaves)
    assert root(size, nodes) == Accumulator(leaves).root == whole
    for index in range(size):
        path = inclusion_path(index, size, nodes)
        assert path == path_of(index, leaves)
        assert verify_inclusion(leaves[index], index, size, whole, path)
    for first in range(1, size + 1):
        path = consistency_path(first, size, nodes)
        assert path == subproof(first, leaves, True)
        assert verify_consistency(first, size, merkle_tree_hash(leaves[:first]), whole, path)


@settings(deadline=None)
@given(st.data())
def test_proofs_of_larger_trees(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 300))
    first, index = data.draw(st.integers(1, size)), data.draw(st.integers(0, size - 1))
    leaves = random_leaves(size)
    nodes = nodes_over(leaves)
    assert root(size, nodes) == Accumulator(leaves).root == merkle_tree_hash(leaves)
    assert inclusion_path(index, size, nodes) == path_of(index, leaves)
    assert consistency_path(first, size, nodes) == subproof(first, leaves, True)


def forged(path: list[bytes], chance: Random) -> list[bytes]:
    """A path with one change."""
    path = list(path)
    match chance.randrange(3) if path else 1:
        case 0:
            path[chance.randrange(len(path))] = chance.randbytes(32)
        case 1:
            path.insert(chance.randint(0, len(path)), chance.randbytes(32))
        case 2:
            del path[chance.randrange(len(path))]
    return path


@settings(deadline=None)
@given(st.integers(2, 200), st.randoms(use_true_random=False))
def test_nothing_else_is_accepted(size: int, chance: Any) -> None:
    leaves = random_leaves(size)
    nodes, whole = nodes_over(leaves), Accumulator(leaves).root
    index, first = chance.randrange(size), chance.randrange(1, size)
    path, other = inclusion_path(index, size, nodes), leaf_hash(b"other")
    assert not verify_inclusion(other, index, size, whole, path)
    assert not verify_inclusion(leaves[index], (index + 1) % size, size, whole, path)
    assert not verify_inclusion(leaves[index], index, size, other, path)
    assert not verify_inclusion(leaves[index], index, size, whole, forged(path, chance))
    assert not verify_inclusion(leaves[index], size, size, whole, path)
    before, path = Accumulator(leaves[:first]).root, consistency_path(first, size, nodes)
    assert not verify_consistency(first, size, other, whole, path)
    assert not verify_consistency(first, size, before, other, path)
    assert not verify_consistency(first, size, before, whole, forged(path, chance))
    assert not verify_consistency(size, first, whole, before, path)


def test_trees_that_need_no_proof() -> None:
    some = leaf_hash(b"some")
    assert verify_consistency(0, 7, EMPTY_ROOT, some, [])
    assert not verify_consistency(0, 7, some, some, [])
    assert not verify_consistency(0, 7, EMPTY_ROOT, some, [some])
    assert verify_consistency(7, 7, some, some, [])
    assert not verify_consistency(7, 7, some, EMPTY_ROOT, [])
    assert not verify_consistency(7, 7, some, some, [some])
    assert not verify_inclusion(some, 0, 0, EMPTY_ROOT, [])
