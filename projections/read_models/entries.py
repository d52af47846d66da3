"""The statement of an account: its posted entries, in the order in which they were recorded or took effect.

By either clock, a page costs the same however many entries the account has. By the effective clock, its balances start
from the sums posted before the page. Computing these costs a little more for each day on which dated entries of the
account took effect or were recorded, and for each dated entry of the day on which the page begins. Dated entries are
those that took effect at another time than they were recorded.
"""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, Literal, NamedTuple

from psycopg import Connection, Cursor
from psycopg.rows import TupleRow

from domain.model.events import Event, Recorded
from domain.model.money import Direction
from domain.model.streams import account_stream
from domain.model.times import Instant, instant
from domain.model.transactions import (
    POSTINGS,
    Kind,
    Posted,
    ReversalPosted,
    SettlementPosted,
    TransactionPosted,
)
from projections.engine.copying import CopiedRow, copy_rows
from projections.engine.live_version import Page, read_live
from projections.engine.projection import Projection, Queries, directed
from projections.read_models.turnovers import turn_over

Clock = Literal["recorded", "effective"]

_KINDS: dict[type[Event], Kind] = {
    TransactionPosted: "posting",
    SettlementPosted: "settlement",
    ReversalPosted: "reversal",
}


class StatementPlace(NamedTuple):
    """The place of an entry in a statement: its time by the clock, its position, its number at that position."""

    time: Instant
    position: int
    entry: int


class StatementEntry(NamedTuple):
    """An entry of a statement. `position` is that of its transaction, in which `entry` numbers it from 1.

    `change` is the amount, signed as the account's normal side sees it. `balance_after` is the balance after the entry,
    in the order of the statement's clock. Both are in minor units.
    """

    account: str
    position: int
    entry: int
    transaction_id: str
    kind: Kind
    direction: Direction
    amount: int
    change: int
    balance_after: int
    effective_at: Instant
    recorded_at: Instant
    reference: str

    def place(self, clock: Clock) -> StatementPlace:
        """Return the entry's place by a clock. The next page comes after it."""
        return StatementPlace(getattr(self, f"{clock}_at"), self.position, self.entry)


def list_entries(
    connection: Connection[Any],
    ledger: str,
    account: str,
    *,
    clock: Clock = "recorded",
    since: Instant | None = None,
    until: Instant | None = None,
    after: StatementPlace | None = None,
    limit: int,
    descending: bool = False,
    existing: Sequence[str] = (),
) -> Page[StatementEntry]:
    """Return up to `limit` entries that come after the place `after`, ordered by the clock's time.

    `since` is inclusive, `until` exclusive. Entries of the same time are ordered by position.
    `existing` is as for `read_live`.
    """
    wanted = {
        "ledger": ledger,
        "account": account,
        "since": since,
        "until": until,
        "after_time": after.time if after else None,
        "after_position": after.position if after else None,
        "after_entry": after.entry if after else None,
        "limit": limit,
    }

    def read(cursor: Cursor[TupleRow], version: int) -> list[StatementEntry]:
        queries = PROJECTION.queries(version)
        query = directed(queries["statement"], descending=descending).fill(clock=clock)
        rows = [_statement_entry(row) for row in query.rows(cursor, wanted, prepare=False)]
        if clock == "recorded" or not rows:
            return rows
        first = rows[-1] if descending else rows[0]
        before = posted_before(cursor, queries, ledger, account, clock, first.place(clock))
        return _running(rows, before, descending=descending)

    return Page(*read_live(connection, PROJECTION, read, account_stream(ledger, account), existing))


class Sums(NamedTuple):
    """The sums of posted debits and of posted credits, in minor units."""

    debits: int
    credits: int


def posted_before(
    cursor: Cursor[TupleRow], queries: Queries, ledger: str, account: str, clock: Clock, place: StatementPlace
) -> Sums:
    """Return what an account had posted before a place in its statement, by a clock."""
    wanted = {"ledger": ledger, "account": account, **place._asdict()}
    row = queries[f"posted_{clock}"].row(cursor, wanted, prepare=False)
    debits, credits = row or (0, 0)
    return Sums(debits or 0, credits or 0)


def _running(rows: list[StatementEntry], before: Sums, *, descending: bool) -> list[StatementEntry]:
    """Return the rows of a page with the balance after each, given the sums posted before the page."""
    ordered = rows[::-1] if descending else rows
    balance = before.credits - before.debits
    if (ordered[0].direction == "credit") != (ordered[0].change > 0):  # a debit-normal account
        balance = -balance
    counted = []
    for row in ordered:
        balance += row.change
        counted.append(row._replace(balance_after=balance))
    return counted[::-1] if descending else counted


def project(connection: Connection[Any], queries: Queries, events: Sequence[Recorded]) -> None:
    """Add the posted entries, and add them to the turnovers."""
    copy_rows(connection, queries["add"], chain.from_iterable(map(_rows, events)))
    turn_over(connection, queries, events)


def _rows(recorded: Recorded) -> Iterator[CopiedRow]:
    event, recorded_at, position = recorded.event, recorded.envelope.recorded_at, str(recorded.position)
    assert isinstance(event, Posted)
    ledger, _, transaction_id = recorded.stream.split("/", 2)
    kind, effective_at, reference = _KINDS[type(event)], event.effective_at, event.reference
    for number, entry in enumerate(event.entries, start=1):
        direction, debits_after = entry.direction, entry.debits_after
        yield (
            ledger,
            entry.account,
            recorded_at,
            position,
            str(number),
            transaction_id,
            kind,
            entry.asset,
            direction,
            str(entry.amount if direction == entry.normal_side else -entry.amount),
            str(entry.balance_after),
            None if debits_after is None else str(debits_after),
            effective_at,
            reference,
        )


def _statement_entry(row: TupleRow) -> StatementEntry:
    entry = StatementEntry(*row)
    return entry._replace(
        transaction_id=str(row[3]), effective_at=instant(row[9]), recorded_at=instant(row[10])
    )


PROJECTION = Projection(
    "entries", __name__, POSTINGS, ("entries", "turnovers"), project, shape=2, by_stream=True
)
