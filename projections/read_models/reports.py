"""Reports on a ledger: its journal, its trial balance, its daily activity, the statement of an account.

They are read from the projection of entries in one snapshot of the database, so a report states the position that it
reflects. Rows are streamed: a report of a million entries takes no more memory than one of ten. All amounts are whole
minor units.

A transaction's description and actor are read from the journal.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Any, Literal, NamedTuple
from uuid import uuid4

from psycopg import Connection, Cursor, ServerCursor
from psycopg.rows import TupleRow, tuple_row

from domain.journal.queries import Query, load
from domain.model.streams import account_stream
from domain.model.times import Instant
from projections.engine.live_version import Reading, streamed_live
from projections.read_models.entries import PROJECTION, Clock
from projections.read_models.event_keys import UNREADABLE, Content, content_of

Kind = Literal["journal", "trial-balance", "activity", "statement"]

COLUMNS: Mapping[Kind, Sequence[str]] = {
    "journal": (
        "recorded_at",
        "effective_at",
        "position",
        "transaction_id",
        "kind",
        "reference",
        "description",
        "actor",
        "account",
        "asset",
        "debit",
        "credit",
    ),
    "trial-balance": (
        "account",
        "asset",
        "opening",
        "debits",
        "credits",
        "closing",
        "debit_balance",
        "credit_balance",
    ),
    "activity": ("day", "kind", "asset", "transactions", "entries", "amount"),
    "statement": (
        "time",
        "position",
        "transaction_id",
        "kind",
        "reference",
        "asset",
        "direction",
        "amount",
        "balance",
    ),
}
"""The columns of each report. Opening and closing are credits − debits. A statement's balance is its account's.

In `debit_balance` and `credit_balance`, a balance is in the column of its side as a number above zero; the other is
zero.
"""

AMOUNTS = frozenset(
    (
        "opening",
        "debits",
        "credits",
        "closing",
        "debit_balance",
        "credit_balance",
        "debit",
        "credit",
        "amount",
        "balance",
    )
)
"""The columns with amounts, in minor units of the row's asset."""

NUMBERS = frozenset(("position", "transactions", "entries"))
"""The columns with other numbers."""

ROWS_AT_ONCE = 2_000

_SQL = load(__name__)

Row = tuple[Any, ...]
"""A report's row: numbers in the columns of `AMOUNTS` and `NUMBERS`, texts in the others."""


Rows = ServerCursor[TupleRow]


class Span(NamedTuple):
    """A span of time by a clock: `since` is inclusive, `until` exclusive; None is unlimited."""

    clock: Clock = "recorded"
    since: Instant | None = None
    until: Instant | None = None


class Scope(NamedTuple):
    """The accounts of a report: one, those whose addresses begin alike, or groups by their first segments."""

    account: str | None = None
    prefix: str | None = None
    segments: int | None = None


@contextmanager
def report(
    connection: Connection[Any],
    kind: Kind,
    ledger: str,
    span: Span,
    scope: Scope = Scope(),  # noqa: B008 - it cannot be changed
) -> Iterator[Reading[Iterator[Row]]]:
    """Read the rows of a report one by one, with the position that they reflect. The connection is busy meanwhile.

    A statement is about one account. The journal of an account or of a prefix has every transaction that posted to it,
    with all its entries. Raises `ProjectionBehind` while there is no projection that this release can read.
    """
    wanted = {"ledger": ledger, "since": span.since, "until": span.until, **scope._asdict()}

    def begin(_: Cursor[TupleRow], version: int) -> Rows:
        return opened_rows(connection, _query(kind, version, span.clock, scope), wanted)

    stream = account_stream(ledger, scope.account) if kind == "statement" and scope.account else None
    with streamed_live(connection, PROJECTION, begin, stream) as reading, closing(reading.found) as rows:
        found = _described(connection, rows) if kind == "journal" else _rows(kind, rows)
        yield Reading(found, *reading[1:])


def opened_rows(connection: Connection[Any], query: Query, wanted: Mapping[str, Any]) -> Rows:
    """Return a cursor on all rows of a query, which fetches them in parts. The connection must be in a transaction."""
    _SQL["whole_cursors"].run(connection)
    rows = connection.cursor(f"report_{uuid4().hex}", row_factory=tuple_row)
    rows.itersize = ROWS_AT_ONCE
    try:
        rows.execute(query, wanted)
    except BaseException:
        rows.close()
        raise
    return rows


def _query(kind: Kind, version: int, clock: Clock, scope: Scope) -> Query:
    mentioned = ""
    if scope != Scope():
        mentioned = _SQL["mentioned_account" if scope.account else "mentioned_prefix"]
    return _SQL[kind.replace("-", "_")].fill(mentioned=mentioned, version=version, clock=clock)


def _rows(kind: Kind, rows: Rows) -> Iterator[Row]:
    columns = COLUMNS[kind]
    numeric = [name in AMOUNTS or name in NUMBERS for name in columns]
    for row in rows:
        numbers = [int(value) if is_number else value for value, is_number in zip(row, numeric, strict=False)]
        yield (*numbers, *sides(numbers[-1])) if kind == "trial-balance" else tuple(numbers)


def sides(closing: int) -> tuple[int, int]:
    """Return the numbers for the debit and the credit column, given a balance as credits − debits."""
    return max(-closing, 0), max(closing, 0)


def _described(connection: Connection[Any], rows: Rows) -> Iterator[Row]:
    """Yield the entries of a journal, each with the description and actor of its transaction."""
    while chunk := rows.fetchmany(ROWS_AT_ONCE):
        said = _said(connection, {row[2] for row in chunk})
        for *first, account, asset, direction, amount in chunk:
            content = said.get(first[2], UNREADABLE)
            description = content.payload.get("description") if isinstance(content.payload, dict) else None
            debit = amount if direction == "debit" else 0
            yield (
                *first,
                description or "",
                content.text("actor") or "",
                account,
                asset,
                debit,
                amount - debit,
            )


def _said(connection: Connection[Any], positions: set[int]) -> dict[int, Content]:
    found = _SQL["said"].rows(connection, {"positions": list(positions)}, prepare=False)
    return {position: content_of(bytes(state)) for position, state in found}


class Totals:
    """The sums of a report's amounts by asset, counted while its rows pass.

    In a journal and a trial balance, debits and credits are equal in each asset, and opening and closing sum to zero.
    """

    def __init__(self, columns: Sequence[str]) -> None:
        self._asset = columns.index("asset")
        self._summed = [number for number, name in enumerate(columns) if name in AMOUNTS]
        self._width = len(columns)
        self._sums: dict[str, list[int]] = {}

    def counting(self, rows: Iterator[Row]) -> Iterator[Row]:
        """Yield the rows, adding each to the sums."""
        for row in rows:
            known = self._sums.setdefault(row[self._asset], [0] * len(self._summed))
            for place, number in enumerate(self._summed):
                known[place] += row[number]
            yield row

    def rows(self) -> list[Row]:
        """Return a row for each asset, by name. Its only text is the asset."""
        made = []
        for asset, sums in sorted(self._sums.items()):
            row: list[Any] = [""] * self._width
            row[self._asset] = asset
            for number, total in zip(self._summed, sums, strict=True):
                row[number] = total
            made.append(tuple(row))
        return made
