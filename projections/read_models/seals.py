"""The seals: the Merkle tree over the journal, stored in tiles (`domain/transparency/tiles.py`).

The tree follows from the journal alone, so a rebuild makes the same tree again. If it does not, the journal was changed
behind it, and the comparison says so. The signed checkpoints do not follow from the journal, so they are stored
elsewhere (`projections/transparency/checkpoints.py`), and no rebuild touches them.

Every event is a leaf, also an event that this release cannot read.
"""

from collections.abc import Collection, Mapping, Sequence
from functools import cache
from typing import Any

from psycopg import Connection, Cursor
from psycopg.rows import TupleRow

from domain.journal.arrays import Array, bigint_array, bytea_array
from domain.journal.reader import Row
from domain.journal.statements import statements_of
from domain.transparency.leaves import hash_of
from domain.transparency.merkle_tree import Nodes
from domain.transparency.tiles import TileAddress, append, by_address, nodes_of, partial_tiles
from projections.engine.projection import Inconsistent, Projection, Queries

LINGER_SECONDS = 0.1
"""Each batch rewrites the tiles at the edge of the tree, so fewer and larger batches are cheaper."""


def project(connection: Connection[Any], queries: Queries, rows: Sequence[Row]) -> None:
    """Append the leaves of events to the tree; raise `Inconsistent` if its size does not fit their positions."""
    size = rows[0][4] - 1
    leaves = [
        hash_of(position, stream, version, topic, state) for stream, version, topic, state, position in rows
    ]
    places = partial_tiles(size)
    statements = statements_of(connection)
    partial = by_address(statements.ask(queries["edge"], _addresses(places))) if places else {}
    try:
        changed = append(size, partial, leaves)
    except (KeyError, ValueError) as error:
        raise Inconsistent(f"the tree has not {size} leaves: {error}") from error
    grown = {place: tile for place, tile in changed.items() if place in partial}
    begun = {place: tile for place, tile in changed.items() if place not in partial}
    written = ((queries["grow"], grown), (queries["begin"], begun))
    statements.ask_together(*[(query, _columns(tiles)) for query, tiles in written if tiles])


def _columns(tiles: Mapping[TileAddress, bytes]) -> dict[str, Array]:
    return {**_addresses(tiles), "hashes": bytea_array([*tiles.values()])}


def _addresses(places: Collection[TileAddress]) -> dict[str, Array]:
    return {
        "levels": bigint_array([place.level for place in places]),
        "numbers": bigint_array([place.number for place in places]),
    }


def nodes(cursor: Cursor[TupleRow], version: int) -> Nodes:
    """Return the nodes of a version's tree. Each tile is read once; a missing node raises `Inconsistent`."""
    query = PROJECTION.queries(version)["tile"]

    @cache
    def tile_at(place: TileAddress) -> bytes:
        row = cursor.execute(query, place._asdict(), prepare=True).fetchone()
        if row is None:
            raise Inconsistent(f"the tree has no tile at level {place.level}, number {place.number}")
        return bytes(row[0])

    node = nodes_of(tile_at)

    def node_or_contradiction(level: int, index: int) -> bytes:
        try:
            return node(level, index)
        except LookupError as error:
            raise Inconsistent(str(error)) from error

    return node_or_contradiction


def standing(cursor: Cursor[TupleRow], version: int) -> tuple[int, str]:
    """Return the number of leaves in a version's tree, and the state of the version."""
    row = PROJECTION.queries(version)["standing"].only(cursor)
    return row[0], row[1]


PROJECTION = Projection(
    "seals", __name__, (), ("seals",), project, all_events=True, linger_seconds=LINGER_SECONDS
)
