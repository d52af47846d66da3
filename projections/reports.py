"""Reports of a ledger: its trial balance, its activity by the day, the statement of an account.

Read from the projection of entries in one state of the database, so that a report says of which position it is. Amounts
are minor units, as text of digits: sums may exceed what programs take numbers to be.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from psycopg import Connection, Cursor
from psycopg.rows import TupleRow

from domain.addresses import account_stream
from domain.journal.queries import load
from domain.times import Instant
from projections.entries import PROJECTION, Clock
from projections.live import Reading, read_live

Kind = Literal["trial-balance", "activity", "statement"]

COLUMNS: Mapping[Kind, Sequence[str]] = {
    "trial-balance": ("account", "asset", "opening", "debits", "credits", "closing"),
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
"""The columns of each report. Opening and closing are credits − debits; a statement's balance is its account's."""

AMOUNTS = frozenset(("opening", "debits", "credits", "closing", "amount", "balance"))
"""The columns that are amounts in the asset of their row."""

_SQL = load("projections", "reports.sql")

Row = tuple[str, ...]


class Span(NamedTuple):
    """A span of time by a clock: from an instant, it included, to another, it not; None is unlimited."""

    clock: Clock = "recorded"
    since: Instant | None = None
    until: Instant | None = None


def report(
    connection: Connection[Any], kind: Kind, ledger: str, span: Span, account: str | None = None
) -> Reading[list[Row]]:
    """Return the rows of a report, and the position that it reflects; `account` is that of a statement.

    Raises `ProjectionBehind` while there is no projection that this release can read.
    """

    def read(cursor: Cursor[TupleRow], version: int) -> list[Row]:
        query = _SQL[kind.replace("-", "_")].replace(":version", f"{version:d}").replace(":clock", span.clock)
        wanted = {"ledger": ledger, "account": account, "since": span.since, "until": span.until}
        return [tuple(row) for row in cursor.execute(query.encode(), wanted, prepare=False)]

    return read_live(connection, PROJECTION, read, account and account_stream(ledger, account))


def totals(rows: Sequence[Row]) -> list[Row]:
    """Return the sums of a trial balance by asset, in which debits and credits are the same and the rest nothing."""
    sums: dict[str, list[int]] = {}
    for _, asset, *amounts in rows:
        known = sums.setdefault(asset, [0] * len(amounts))
        sums[asset] = [total + int(amount) for total, amount in zip(known, amounts, strict=True)]
    return [("", asset, *map(str, amounts)) for asset, amounts in sorted(sums.items())]
