"""Reads the live version of a projection, together with the position that it reflects.

Each shape of a projection's tables has one live version, and a release reads the one of the shape it knows. The
version's number, its position, its dead letters, the head of the journal and the rows all come from one snapshot of the
database, so the position stated with an answer holds for exactly that answer.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, NamedTuple, TypeVar
from uuid import UUID

from psycopg import Connection, Cursor, errors
from psycopg.rows import TupleRow, tuple_row

from domain.journal.queries import load
from projections.engine.projection import Projection
from projections.errors import ProjectionBehind

_SQL = load(__name__)
_ATTEMPTS = 5

Item = TypeVar("Item")


class Lacking(NamedTuple):
    """What an answer lacks: how many streams are held behind dead letters, and the position of the oldest letter.

    If the request is about one account, `held` is the oldest letter known to concern it, and `held_from` its position.
    """

    streams: int = 0
    oldest: int | None = None
    held: UUID | None = None
    held_from: int | None = None


class Reading(NamedTuple, Generic[Item]):
    """What a projection says, the position that it reflects, and the newest position of the journal at that instant.

    `position` does not hold for the streams in `lacking`: those are shown only up to their dead letters.
    """

    found: Item
    position: int
    head: int
    lacking: Lacking


class Page(NamedTuple, Generic[Item]):
    """Some rows of a list, the position that they reflect, and the newest position of the journal at that instant.

    `position` does not hold for the streams in `lacking`: those are shown only up to their dead letters.
    """

    rows: list[Item]
    position: int
    head: int
    lacking: Lacking


@contextmanager
def one_instant(connection: Connection[Any]) -> Iterator[None]:
    """Read everything within this context from one snapshot of the database."""
    with connection.transaction():
        connection.execute(_SQL["one_instant"])
        yield


def read_live(
    connection: Connection[Any],
    projection: Projection,
    read: Callable[[Cursor[TupleRow], int], Item],
    account: str | None = None,
) -> Reading[Item]:
    """Return what `read` finds, given a cursor and the number of the live version.

    `account` is the stream of the account that the request is about, if it is about one. The connection must not be in
    a transaction. Raises `ProjectionBehind` while there is no version that this release can read. A version that is
    still being filled is not read, because its rows would look like a complete list.
    """
    for _ in range(_ATTEMPTS - 1):
        try:
            return _read_once(connection, projection, read, account)
        except errors.UndefinedTable:
            # A rebuild has switched, and the version that is live in this snapshot was dropped meanwhile.
            continue
    return _read_once(connection, projection, read, account)


def _read_once(
    connection: Connection[Any],
    projection: Projection,
    read: Callable[[Cursor[TupleRow], int], Item],
    account: str | None,
) -> Reading[Item]:
    with one_instant(connection):
        return _read_now(connection, projection, read, account)


def _read_now(
    connection: Connection[Any],
    projection: Projection,
    read: Callable[[Cursor[TupleRow], int], Item],
    account: str | None,
) -> Reading[Item]:
    cursor = connection.cursor(row_factory=tuple_row)
    wanted = {"name": projection.name, "shape": projection.shape}
    row = cursor.execute(_SQL["live"], wanted, prepare=True).fetchone()
    assert row is not None
    version, position, state, head, streams = row
    if version is None or state == "rebuilding":
        raise ProjectionBehind(position or 0, head, "rebuilding")
    lacking = _lacking(cursor, projection.name, version, account) if streams else Lacking()
    return Reading(read(cursor, version), position, head, lacking)


@contextmanager
def streamed_live(
    connection: Connection[Any],
    projection: Projection,
    begin: Callable[[Cursor[TupleRow], int], Item],
    account: str | None = None,
) -> Iterator[Reading[Item]]:
    """Read as `read_live` does, but keep the snapshot of the database until the caller has read what was found.

    `begin` opens the cursors that the caller reads. From then on their tables cannot be dropped.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        is_begun = False
        try:
            with one_instant(connection):
                reading = _read_now(connection, projection, begin, account)
                is_begun = True
                yield reading
                return
        except errors.UndefinedTable:
            # As in `read_live`: the version was dropped between the snapshot and the first use of its tables.
            if is_begun or attempt == _ATTEMPTS:
                raise


def _lacking(cursor: Cursor[TupleRow], name: str, version: int, account: str | None) -> Lacking:
    wanted = {"name": name, "version": version, "account": account}
    row = cursor.execute(_SQL["lacking"], wanted).fetchone()
    assert row is not None
    return Lacking(*row)
