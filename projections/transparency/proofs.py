"""Proofs of inclusion and of consistency, read from the journal's tree for sizes that a checkpoint has sealed."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from psycopg import Connection, Cursor
from psycopg.rows import TupleRow

from domain.model.errors import BeyondJournal, InvalidRequest
from domain.transparency.merkle_tree import consistency_path, inclusion_path, root
from projections.engine.live_version import read_live
from projections.errors import ProjectionBehind
from projections.read_models.seals import PROJECTION, nodes, standing
from projections.transparency.checkpoints import newest


class Inclusion(NamedTuple):
    """A proof that an event is in the tree of the first `size` events (RFC 9162 §2.1.3)."""

    position: int
    size: int
    leaf_hash: bytes
    root: bytes
    path: list[bytes]


class Growth(NamedTuple):
    """A proof that the tree of `first` events is the beginning of the tree of `second` events (RFC 9162 §2.1.4)."""

    first: int
    second: int
    first_root: bytes
    second_root: bytes
    path: list[bytes]


Proof = TypeVar("Proof", Inclusion, Growth)
Prove = Callable[[Cursor[TupleRow], int, int], Proof]
"""Makes a proof from a cursor, the version of the tree, and the sealed size."""


def prove_inclusion(connection: Connection[Any], position: int, size: int | None) -> Inclusion:
    """Return the proof that the tree of `size` events, the newest sealed size if None, has the event at a position.

    Raises `InvalidRequest` if the position is above the size or the size is beyond the journal, then `ProjectionBehind`
    if the size is not sealed yet.
    """
    if size is not None and position > size:
        raise InvalidRequest(
            "?position", f"is beyond the {size} events of this checkpoint; a later one covers it"
        )

    def prove(cursor: Cursor[TupleRow], version: int, sealed: int) -> Inclusion:
        within = size or sealed
        node = nodes(cursor, version)
        path = inclusion_path(position - 1, within, node)
        return Inclusion(position, within, node(0, position - 1), root(within, node), path)

    return _proved(connection, ("?position", position) if size is None else ("?size", size), prove)


def prove_growth(connection: Connection[Any], first: int, second: int | None) -> Growth:
    """Return the proof that the tree of `first` events begins the tree of `second`, the newest sealed size if None.

    Raises `InvalidRequest` if the sizes are in the wrong order or beyond the journal, then `ProjectionBehind` if they
    are not sealed yet.
    """
    if second is not None and first > second:
        raise InvalidRequest("?from", f"is larger than the {second} events of `to`")

    def prove(cursor: Cursor[TupleRow], version: int, sealed: int) -> Growth:
        until = sealed if second is None else second
        node = nodes(cursor, version)
        path = consistency_path(first, until, node)
        return Growth(first, until, root(first, node), root(until, node), path)

    return _proved(connection, ("?from", first) if second is None else ("?to", second), prove)


def _proved(connection: Connection[Any], largest: tuple[str, int], prove: Prove[Proof]) -> Proof:
    """Return the proof if the size that it needs is sealed. `largest` is that size after the name of its parameter."""
    name, needed = largest

    def read(cursor: Cursor[TupleRow], version: int) -> tuple[Proof | None, int, str]:
        size, state = standing(cursor, version)
        signed = newest(cursor)
        sealed = signed.size if signed else 0
        # While it is rebuilt, the tree may be smaller than what was sealed.
        is_there = signed is not None and needed <= sealed <= size
        return prove(cursor, version, sealed) if is_there else None, min(sealed, size), state

    reading = read_live(connection, PROJECTION, read)
    proof, sealed, state = reading.found
    if proof is None:
        if needed > reading.head:
            raise BeyondJournal(name)
        raise ProjectionBehind(sealed, reading.head, state)
    return proof
