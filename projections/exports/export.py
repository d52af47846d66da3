"""Exporting the journal: reads its lines from one state of the database, in constant memory.

The format of the lines is in `domain/transparency/export_format.py`.

An export is evidence, so a journal that was tampered with is exported as it is. Each event is exported with the hash
that the journal's tree has at its position, as far as the tree is sealed. That hash shows which event was altered.
"""

from collections.abc import Generator, Iterator
from typing import Any, NamedTuple
from uuid import uuid4

from psycopg import Connection
from psycopg.rows import tuple_row

from domain.journal.queries import load
from domain.journal.reader import head_of
from domain.transparency.checkpoints import open_checkpoint
from domain.transparency.export_format import (
    FORMAT,
    Attestation,
    Exported,
    Footer,
    Header,
    ShownRange,
    event_line,
    part_line,
)
from domain.transparency.leaves import hash_of
from domain.transparency.merkle_tree import Accumulator, Nodes, consistency_path
from domain.transparency.signed_notes import InvalidNote
from domain.transparency.tiles import WIDTH, hashes_of
from projections.engine.live_version import one_instant
from projections.engine.projection import Inconsistent
from projections.read_models.seals import PROJECTION, nodes
from projections.transparency.checkpoints import Signed, newest, read_verifiers

ROWS_AT_ONCE = 5_000

_SQL = load(__name__)


class BeyondHead(Exception):
    """The requested positions are not all in the journal."""


class _Tree(NamedTuple):
    """The tree of the journal: its number of leaves, its version, and its nodes."""

    size: int
    version: int
    node: Nodes


def export_lines(
    connection: Connection[Any], since: int = 1, until: int | None = None
) -> Generator[bytes, None, None]:
    """Return the lines of the events from `since` to `until`, both included, `until` being the head if None.

    The connection must not be in a transaction. Raises `BeyondHead`, before the first line.
    """
    with one_instant(connection):
        _SQL["whole_cursors"].run(connection)
        head = head_of(connection)
        until = head if until is None else until
        if not 1 <= since <= until + 1 <= head + 1:
            raise BeyondHead(f"there are no positions {since} to {until}: the newest is {head}")
        tree = _tree(connection)
        yield from _lines(connection, since, until, tree)
        yield part_line(_seal(connection, until, head, tree))


def _lines(connection: Connection[Any], since: int, until: int, tree: _Tree | None) -> Iterator[bytes]:
    accumulator = _before(connection, since - 1)
    peaks = [peak.hex() for peak in accumulator.peaks]
    yield part_line(Header(export=FORMAT, since=since, until=until, peaks=peaks))
    sealed = _sealed(connection, since, tree)
    at, known = 0, b""
    for row in _rows(connection, since, until):
        position, leaf = row[0], hash_of(*row)
        while at < position:
            at, known = next(sealed, (position, b""))
        yield event_line(Exported(*row, known if at == position and known else leaf))
        accumulator.append(leaf)
    yield part_line(Footer(end=until, root=accumulator.root.hex()))


def _before(connection: Connection[Any], size: int) -> Accumulator:
    """Return the tree of the first `size` events. It is computed from the journal being exported."""
    return Accumulator(hash_of(*row) for row in _rows(connection, 1, size))


def _rows(connection: Connection[Any], since: int, until: int) -> Iterator[tuple[int, str, int, str, bytes]]:
    with connection.cursor(f"export_{uuid4().hex}", row_factory=tuple_row) as cursor:
        cursor.itersize = ROWS_AT_ONCE
        cursor.execute(_SQL["events"], {"since": since, "until": until}, binary=True)
        yield from cursor


def _tree(connection: Connection[Any]) -> _Tree | None:
    cursor = connection.cursor(row_factory=tuple_row)
    row = _SQL["tree"].row(cursor, {"shape": PROJECTION.shape})
    return None if row is None else _Tree(row[1], row[0], nodes(cursor, row[0]))


def _sealed(connection: Connection[Any], since: int, tree: _Tree | None) -> Iterator[tuple[int, bytes]]:
    """Yield positions and the hash of the tree's leaf at each. The first is `since`, or a few positions before it."""
    if tree is None:
        return
    query = _SQL["leaves"].fill(version=tree.version)
    with connection.cursor(f"leaves_{uuid4().hex}", row_factory=tuple_row) as cursor:
        cursor.execute(query, {"first": (since - 1) // WIDTH}, binary=True)
        for number, tile in cursor:
            yield from enumerate(hashes_of(bytes(tile)), start=number * WIDTH + 1)


def _seal(connection: Connection[Any], until: int, head: int, tree: _Tree | None) -> Attestation:
    """Return the newest checkpoint with the path to its tree, or the newest within the export if there is no path."""
    cursor = connection.cursor(row_factory=tuple_row)
    verifiers = read_verifiers(connection)
    keys = [str(verifier) for verifier in verifiers]
    shown = _shown(connection, until)
    signed = newest(cursor)
    if signed is not None and signed.size > until:
        try:
            size = open_checkpoint(signed.note, verifiers).size
            if tree is not None and tree.size >= size:
                path = consistency_path(until, size, tree.node)
                return Attestation(signed.note, [node.hex() for node in path], keys, head, shown)
        except (InvalidNote, Inconsistent):
            pass  # `verify` reports what is wrong with the signed tree
        row = _SQL["checkpoint_within"].row(cursor, {"size": until})
        signed = None if row is None else Signed(*row)
    return Attestation(None if signed is None else signed.note, [], keys, head, shown)


def _shown(connection: Connection[Any], until: int) -> dict[str, list[ShownRange]]:
    """Return where the positions up to one are shown of each ledger that ever arrived."""
    found: dict[str, list[ShownRange]] = {}
    for ledger, *ranges in _SQL["shown"].rows(connection, {"until": until}):
        position, shown, recorded = ranges
        found.setdefault(ledger, []).append((position, shown, recorded))
    return found
