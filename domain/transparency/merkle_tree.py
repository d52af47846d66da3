"""The Merkle tree of RFC 9162 §2.1, which RFC 6962 also has: roots, and proofs of inclusion and of consistency.

A tree is given by its complete subtrees: `Nodes` returns the hash of the subtree with 2^level leaves that is the
index-th of its level, counted from 0. Nothing here needs a database, so the offline verification of an export uses it
too.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence

HASH_BYTES = 32

Nodes = Callable[[int, int], bytes]
"""Returns the hash of a complete subtree, given its level and its index in the level."""

EMPTY_ROOT = hashlib.sha256().digest()
"""The root of a tree without leaves."""

_sha256 = hashlib.sha256


def leaf_hash(leaf: bytes) -> bytes:
    """Return the hash of a leaf."""
    return _sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of a node, given the hashes of its children."""
    return _sha256(b"\x01" + left + right).digest()


def folded(hashes: Sequence[bytes]) -> bytes:
    """Return the root of a complete subtree, given the hashes of one of its levels: a power of two of them."""
    while len(hashes) > 1:
        pairs = iter(hashes)
        hashes = [_sha256(b"\x01" + left + right).digest() for left, right in zip(pairs, pairs, strict=True)]
    return hashes[0]


def root(size: int, nodes: Nodes) -> bytes:
    """Return the root of the tree of the first `size` leaves."""
    return _subtree(0, size, nodes) if size else EMPTY_ROOT


def inclusion_path(index: int, size: int, nodes: Nodes) -> list[bytes]:
    """Return the proof that a leaf, counted from 0, is in the tree of the first `size` leaves (RFC 9162 §2.1.3.1)."""
    assert 0 <= index < size
    return list(_inclusion(index, 0, size, nodes))


def consistency_path(first: int, second: int, nodes: Nodes) -> list[bytes]:
    """Return the proof that the tree of `first` leaves is a prefix of the tree of `second` (RFC 9162 §2.1.4.1).

    The proof is empty for equal sizes and for the tree without leaves, where there is nothing to prove.
    """
    assert 0 <= first <= second
    if first in (0, second):
        return []
    return list(_consistency(first, 0, second, nodes, is_known=True))


def verify_inclusion(leaf: bytes, index: int, size: int, root: bytes, path: Sequence[bytes]) -> bool:
    """Tell whether a path proves that the leaf with this hash is the index-th of a tree (RFC 9162 §2.1.3.2)."""
    if not 0 <= index < size:
        return False
    place, last, found = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            return False
        if place & 1 or place == last:
            found = node_hash(sibling, found)
            while place and not place & 1:
                place, last = place >> 1, last >> 1
        else:
            found = node_hash(found, sibling)
        place, last = place >> 1, last >> 1
    return last == 0 and found == root


def verify_consistency(
    first: int, second: int, first_root: bytes, second_root: bytes, path: Sequence[bytes]
) -> bool:
    """Tell whether a path proves that one tree is a prefix of another (RFC 9162 §2.1.4.2)."""
    if not 0 <= first <= second:
        return False
    if first in (0, second):
        expected = EMPTY_ROOT if first == 0 else second_root
        return not path and first_root == expected
    hashes = [first_root, *path] if first & (first - 1) == 0 else list(path)
    if not hashes:
        return False
    return _roots_of(first - 1, second - 1, hashes) == (first_root, second_root)


def _roots_of(place: int, last: int, hashes: Sequence[bytes]) -> tuple[bytes, bytes] | None:
    """Return the two roots that a path leads to, or None if its length does not fit the sizes."""
    while place & 1:
        place, last = place >> 1, last >> 1
    first = second = hashes[0]
    for sibling in hashes[1:]:
        if last == 0:
            return None
        if place & 1 or place == last:
            first, second = node_hash(sibling, first), node_hash(sibling, second)
            while place and not place & 1:
                place, last = place >> 1, last >> 1
        else:
            second = node_hash(second, sibling)
        place, last = place >> 1, last >> 1
    return (first, second) if last == 0 else None


def _subtree(start: int, end: int, nodes: Nodes) -> bytes:
    """Return the hash of the leaves from `start` to before `end`. A subtree of this size must begin there."""
    size = end - start
    if size & (size - 1) == 0:
        level = size.bit_length() - 1
        return nodes(level, start >> level)
    middle = start + _split(size)
    return node_hash(_subtree(start, middle, nodes), _subtree(middle, end, nodes))


def _inclusion(index: int, start: int, end: int, nodes: Nodes) -> Iterator[bytes]:
    if end - start == 1:
        return
    middle = start + _split(end - start)
    if index < middle:
        yield from _inclusion(index, start, middle, nodes)
        yield _subtree(middle, end, nodes)
    else:
        yield from _inclusion(index, middle, end, nodes)
        yield _subtree(start, middle, nodes)


def _consistency(first: int, start: int, end: int, nodes: Nodes, *, is_known: bool) -> Iterator[bytes]:
    """Yield the proof for the first leaves up to `first`. `is_known`: nothing lies to the left of this subtree."""
    if first == end:
        if not is_known:
            yield _subtree(start, end, nodes)
        return
    middle = start + _split(end - start)
    if first <= middle:
        yield from _consistency(first, start, middle, nodes, is_known=is_known)
        yield _subtree(middle, end, nodes)
    else:
        yield from _consistency(first, middle, end, nodes, is_known=False)
        yield _subtree(start, middle, nodes)


def _split(size: int) -> int:
    """Return the largest power of two that is less than a size."""
    return 1 << ((size - 1).bit_length() - 1)


class Accumulator:
    """Computes the root of a tree that is read once, leaf by leaf. Its memory grows only with the tree's height."""

    def __init__(self, leaves: Iterable[bytes] = ()) -> None:
        """`leaves` are leaf hashes."""
        self.size = 0
        self._peaks: list[bytes] = []
        for leaf in leaves:
            self.append(leaf)

    @classmethod
    def resumed(cls, size: int, peaks: Sequence[bytes]) -> "Accumulator":
        """Return the tree of the first `size` leaves, given its `peaks`; raise `ValueError` if they are not as many."""
        if len(peaks) != size.bit_count():
            raise ValueError(f"a tree of {size} leaves has not {len(peaks)} peaks")
        tree = cls()
        tree.size, tree._peaks = size, list(peaks)
        return tree

    @property
    def peaks(self) -> list[bytes]:
        """The hashes of the complete subtrees that make up the tree, from left to right, each as large as possible."""
        return list(self._peaks)

    def append(self, leaf: bytes) -> None:
        """Add the hash of the next leaf."""
        found, carried = leaf, self.size
        while carried & 1:
            found = node_hash(self._peaks.pop(), found)
            carried >>= 1
        self._peaks.append(found)
        self.size += 1

    @property
    def root(self) -> bytes:
        """The root of the tree of all leaves so far."""
        if not self._peaks:
            return EMPTY_ROOT
        found = self._peaks[-1]
        for peak in reversed(self._peaks[:-1]):
            found = node_hash(peak, found)
        return found
