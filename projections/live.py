"""Reading the live version of a projection, together with the position that it reflects.

One version of each shape of tables is live, and a release reads that of the shape which it knows. Which version that
is, its position, the head of the journal and the rows all come from one snapshot of the database, so a position that
is stated with an answer is true of exactly that answer.
"""

from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeVar

from psycopg import Connection, Cursor, errors
from psycopg.rows import TupleRow, tuple_row

from domain.errors import ProjectionBehind
from domain.journal.queries import load
from projections.projection import Projection

_SQL = load("projections", "live.sql")
_ATTEMPTS = 5

Item = TypeVar("Item")


class Reading(NamedTuple, Generic[Item]):
    """What a projection says, the position that it reflects, and the newest position of the journal then."""

    found: Item
    position: int
    head: int


class Page(NamedTuple, Generic[Item]):
    """Some rows of a list, the position that they reflect, and the newest position of the journal then."""

    rows: list[Item]
    position: int
    head: int


def read_live(
    connection: Connection[Any], projection: Projection, read: Callable[[Cursor[TupleRow], int], Item]
) -> Reading[Item]:
    """Return what `read` finds, given a cursor and the number of the version that is live.

    The connection must not be in a transaction. Raises `ProjectionBehind` while there is no version that this release
    can read: what is still being filled would pass for a list without the rest.
    """
    for _ in range(_ATTEMPTS - 1):
        try:
            return _read_once(connection, projection, read)
        except errors.UndefinedTable:
            # A rebuild has switched, and the version that this snapshot calls live was dropped meanwhile.
            continue
    return _read_once(connection, projection, read)


def _read_once(
    connection: Connection[Any], projection: Projection, read: Callable[[Cursor[TupleRow], int], Item]
) -> Reading[Item]:
    with connection.transaction():
        cursor = connection.cursor(row_factory=tuple_row)
        cursor.execute(_SQL["one_instant"])
        wanted = {"name": projection.name, "shape": projection.shape}
        row = cursor.execute(_SQL["live"], wanted, prepare=True).fetchone()
        assert row is not None
        version, position, state, head = row
        if version is None or state == "rebuilding":
            raise ProjectionBehind(position or 0, head, "rebuilding")
        return Reading(read(cursor, version), position, head)
