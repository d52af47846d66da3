"""Reads the live version of a projection, together with the position that it reflects.

Each shape of a projection's tables has one live version, and a release reads the one of the shape it knows. The
version's number, its position, its dead letters, the head of the journal and the rows all come from one snapshot of the
database, so the position stated with an answer holds for exactly that answer.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from itertools import chain
from typing import Any, Generic, NamedTuple, TypeVar
from uuid import UUID

from msgspec import json
from psycopg import Connection, Cursor, IsolationLevel, errors
from psycopg.pq import TransactionStatus
from psycopg.rows import TupleRow, tuple_row

from domain.journal.queries import Query, Source, load
from domain.journal.reader import head_of
from domain.model.moves import Fence
from domain.model.refusals import stream_not_found
from projections.engine.projection import Projection
from projections.errors import ProjectionBehind

_SQL = load(__name__)
_ATTEMPTS = 5
_encode = json.Encoder().encode

FETCHED_ROWS = 32
"""How many rows of a list are fetched at once where what they hold is bounded: a large one is some 0.5 MB."""

Item = TypeVar("Item")
Made = TypeVar("Made")


class Rows(list[Item]):
    """Rows of a list in order. `ends_early` tells that others follow, although these are fewer than were asked for.

    `size_bytes` is how much they hold, where that is bounded.
    """

    def __init__(self, rows: Iterable[Item] = (), *, ends_early: bool = False, size_bytes: int = 0) -> None:
        super().__init__(rows)
        self.ends_early = ends_early
        self.size_bytes = size_bytes

    def read_as(self, items: Iterable[Made]) -> "Rows[Made]":
        """Return what the rows are read as, in their place."""
        return Rows(items, ends_early=self.ends_early, size_bytes=self.size_bytes)


def ends_early(rows: Sequence[Any]) -> bool:
    """Tell whether others follow that did not fit."""
    return isinstance(rows, Rows) and rows.ends_early


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


def read_rows(
    source: Source, query: Query, wanted: Mapping[str, Any], most_bytes: int | None
) -> Rows[TupleRow]:
    """Return the rows that a query finds, `limit` of them at most if that is among the values that are `wanted`.

    Unless `most_bytes` is None, they end with the row that makes them larger than that; there is none if it is zero.
    What does not fit is not fetched, but for a few rows. The query is planned with its values.
    """
    is_short = (wanted.get("limit") or FETCHED_ROWS + 1) <= FETCHED_ROWS
    if most_bytes is None or is_short:
        rows = query.rows(source, wanted, prepare=False)
        return Rows(rows) if most_bytes is None else _fitting(iter([rows]), most_bytes)
    connection = source.connection if isinstance(source, Cursor) else source
    is_idle = connection.info.transaction_status == TransactionStatus.IDLE
    lasting = connection.transaction() if is_idle else nullcontext()
    with lasting, closing(_fetched(connection.cursor(row_factory=tuple_row), query, wanted)) as parts:
        return _fitting(parts, most_bytes)


def _fetched(cursor: Cursor[TupleRow], query: Query, wanted: Mapping[str, Any]) -> Generator[list[TupleRow]]:
    """Yield the rows of a query in parts, each fetched when it is asked for."""
    cursor.execute("DECLARE listed NO SCROLL CURSOR FOR " + query, wanted, prepare=False)
    try:
        while rows := cursor.execute(b"FETCH %d FROM listed" % FETCHED_ROWS, prepare=False).fetchall():
            yield rows
            if len(rows) < FETCHED_ROWS:
                return
    finally:
        if cursor.connection.info.transaction_status == TransactionStatus.INTRANS:
            cursor.execute("CLOSE listed")


def _fitting(parts: Iterable[list[TupleRow]], most_bytes: int) -> Rows[TupleRow]:
    """Return the rows of parts until they hold so many bytes, written as JSON."""
    found: Rows[TupleRow] = Rows()
    for row in chain.from_iterable(parts):
        if found.size_bytes >= most_bytes:
            found.ends_early = True
            break
        found.append(row)
        found.size_bytes += len(_encode(row))
    return found


def at_head(connection: Connection[Any], read: Callable[[Connection[Any]], Item]) -> Reading[Item]:
    """Return what `read` finds, and the newest position of the journal just before: that much it reflects at least."""
    head = head_of(connection)
    return Reading(read(connection), head, head, Lacking())


@contextmanager
def one_instant(connection: Connection[Any]) -> Iterator[None]:
    """Read everything within this context from one snapshot of the database. The connection must be idle."""
    connection.isolation_level, connection.read_only = IsolationLevel.REPEATABLE_READ, True
    try:
        with connection.transaction():
            yield
    finally:
        if not connection.closed:  # a lost connection takes no settings
            connection.isolation_level = connection.read_only = None


def require(connection: Connection[Any], existing: Sequence[str]) -> None:
    """Raise `LedgerNotFound` or `AccountNotFound` for the first of these streams that has no events."""
    for (stream,) in _SQL["missing"].rows(connection, {"existing": list(existing)}):
        raise stream_not_found(stream)


def read_live(
    connection: Connection[Any],
    projection: Projection,
    read: Callable[[Cursor[TupleRow], int], Item],
    account: str | None = None,
    existing: Sequence[str] = (),
    older: Sequence[int] = (),
) -> Reading[Item]:
    """Return what `read` finds, given a cursor and the number of the live version.

    `account` is the stream of the account that the request is about, if it is about one. `existing` are streams of a
    ledger or account that must have events in the journal, although the projection may not have read them yet. Raises
    `LedgerNotFound` or `AccountNotFound` for the first that has none, and before that `LedgerMoved` or `LedgerMoving`
    if their ledger is not here. The connection must not be in a transaction.
    Raises `ProjectionBehind` while there is no version that this release can read. A version that is still being filled
    is not read, because its rows would look like a complete list. Meanwhile the version of an older release is read if
    its shape is among the `older` ones, which `read` must be able to read.
    """
    for _ in range(_ATTEMPTS - 1):
        try:
            return _read_once(connection, projection, read, account, existing, older)
        except errors.UndefinedTable:
            # A rebuild has switched, and the version that is live in this snapshot was dropped meanwhile.
            continue
    return _read_once(connection, projection, read, account, existing, older)


def _read_once(
    connection: Connection[Any],
    projection: Projection,
    read: Callable[[Cursor[TupleRow], int], Item],
    account: str | None,
    existing: Sequence[str],
    older: Sequence[int],
) -> Reading[Item]:
    with one_instant(connection):
        return _read_now(connection, projection, read, account, existing, older)


def _read_now(
    connection: Connection[Any],
    projection: Projection,
    read: Callable[[Cursor[TupleRow], int], Item],
    account: str | None,
    existing: Sequence[str] = (),
    older: Sequence[int] = (),
) -> Reading[Item]:
    cursor = connection.cursor(row_factory=tuple_row)
    wanted = {"name": projection.name, "shape": projection.shape, "existing": list(existing)}
    row = _SQL["live"].only(cursor, wanted, prepare=True)
    version, position, state, head, streams, missing, absent, installation = row
    if absent is not None:
        raise Fence(absent, installation).refusal()
    if missing:
        raise stream_not_found(missing[0])
    if version is None or state == "rebuilding":
        of_older = {"name": projection.name, "shapes": list(older)}
        found = _SQL["live_of_older"].row(cursor, of_older) if older else None
        if found is None:
            raise ProjectionBehind(position or 0, head, "rebuilding")
        version, position, streams = found
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
    row = _SQL["lacking"].only(cursor, wanted)
    return Lacking(*row)
