"""The statement of an account: its posted entries, in the order in which they were recorded or took effect.

A page by the recorded clock costs the same however many entries the account has. A page by the effective
clock costs more the more entries of the account were dated, that is took effect at another time than they
were recorded.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

from psycopg import Connection
from psycopg.rows import TupleRow

from domain.addresses import ledger_of, name_of
from domain.events import Recorded
from domain.money import Direction
from domain.times import Instant, instant
from domain.transactions import POSTINGS, Kind, Posted, ReversalPosted, SettlementPosted, TransactionPosted
from projections.live import Page, read_live
from projections.projection import Projection, Queries, directed

Clock = Literal["recorded", "effective"]


class Place(NamedTuple):
    """Where an entry stands in a statement: its time by the clock, its position, its number there."""

    time: Instant
    position: int
    entry: int


class StatementEntry(NamedTuple):
    """An entry of a statement; `position` is that of its transaction, in which `entry` numbers it from 1.

    `change` is the amount signed as the account's normal side sees it, and `balance_after` the balance after
    it in the order of the statement's clock.
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

    def place(self, clock: Clock) -> Place:
        """Return where the entry stands by a clock: what the next page comes after."""
        return Place(getattr(self, f"{clock}_at"), self.position, self.entry)


def list_entries(
    connection: Connection[Any],
    ledger: str,
    account: str,
    *,
    clock: Clock = "recorded",
    since: Instant | None = None,
    until: Instant | None = None,
    after: Place | None = None,
    limit: int,
    descending: bool = False,
) -> Page[StatementEntry]:
    """Return up to `limit` entries that come after the place `after`, by the times of the clock.

    `since` is inclusive, `until` exclusive. Entries of the same time stand in the order of positions.
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
    reading = read_live(
        connection,
        PROJECTION.name,
        lambda cursor, version: cursor.execute(
            directed(PROJECTION.queries(version)[clock], descending=descending), wanted, prepare=False
        ).fetchall(),
    )
    return Page([_statement_entry(row) for row in reading.found], reading.position, reading.head)


def project(connection: Connection[Any], queries: Queries, events: Sequence[Recorded]) -> None:
    """Add the entries of transactions."""
    with connection.cursor().copy(queries["add"]) as copy:
        for recorded in events:
            for row in _rows(recorded):
                copy.write_row(row)


def _rows(recorded: Recorded) -> Iterator[tuple[Any, ...]]:
    event, recorded_at = recorded.event, recorded.envelope.recorded_at
    assert isinstance(event, Posted)
    ledger, transaction_id = ledger_of(recorded.stream), name_of(recorded.stream)
    for number, entry in enumerate(event.entries, start=1):
        yield (
            ledger,
            entry.account,
            recorded_at,
            recorded.position,
            number,
            transaction_id,
            _KINDS[type(event)],
            entry.direction,
            entry.amount,
            entry.amount if entry.direction == entry.normal_side else -entry.amount,
            entry.balance_after,
            event.effective_at,
            event.reference,
        )


def _statement_entry(row: TupleRow) -> StatementEntry:
    entry = StatementEntry(*row)
    return entry._replace(
        transaction_id=str(row[3]), effective_at=instant(row[9]), recorded_at=instant(row[10])
    )


_KINDS: dict[type[Posted], Kind] = {
    TransactionPosted: "posting",
    SettlementPosted: "settlement",
    ReversalPosted: "reversal",
}

PROJECTION = Projection("entries", POSTINGS, ("entries",), project)
