"""The books as plain-text accounting: the postings, with the balances that the ledger recorded after them.

They are written from the journal in the order of recorded time. Memory grows only with the number of accounts. Amounts
come from entries, and balances from what the ledger recorded after each entry. So a program that adds up the amounts
and arrives at the balances has audited the books. Holds are left out until they are settled.
"""

from collections.abc import Generator, Iterable, Iterator
from datetime import date, timedelta
from typing import Any, Protocol
from uuid import uuid4

from psycopg import Connection
from psycopg.rows import tuple_row

from domain.journal.encoding import decode
from domain.journal.queries import load
from domain.journal.reader import head_of
from domain.journal.shown_positions import ShownPositions, read_shown_positions
from domain.model.accounts import AccountOpened, Closed
from domain.model.entries import PostedEntry
from domain.model.events import Recorded
from domain.model.money import split_asset
from domain.model.transactions import Posted, ReversalPosted, SettlementPosted, TransactionPosted
from projections.engine.live_version import one_instant
from projections.exports.export import ROWS_AT_ONCE, BeyondHead

_TOPICS = [
    event.TOPIC for event in (AccountOpened, Closed, TransactionPosted, SettlementPosted, ReversalPosted)
]

_SQL = load("projections.exports.export")


class Dialect(Protocol):
    """How a program wants books to be written. Every method returns lines without line ends."""

    def begin(self, title: str, openings: Iterable[Recorded]) -> Iterator[str]:
        """Return the first lines. `openings` are those of all accounts that follow."""

    def opened(self, recorded: Recorded, opening: AccountOpened) -> Iterator[str]:
        """Return the lines for the opening of an account."""

    def posted(self, recorded: Recorded, posting: Posted) -> Iterator[str]:
        """Return the lines of a transaction."""

    def closed(self, recorded: Recorded) -> Iterator[str]:
        """Return the lines for the closing of an account."""

    def morning(self, day: date) -> Iterator[str]:
        """Return the lines for the beginning of a day that follows a day with postings."""


def accounting_lines(
    connection: Connection[Any], dialect: Dialect, ledger: str | None = None, until: int | None = None
) -> Generator[str, None, None]:
    """Return the books of one ledger, or of all here if None, as of the position `until`, or of the newest if None.

    The position of one ledger is as it is shown (domain/journal/shown_positions.py). The connection must not be in a
    transaction. Raises `BeyondHead`, and `UnreadableEvent` for a damaged journal.
    """
    with one_instant(connection):
        positions = ShownPositions() if ledger is None else read_shown_positions(connection, ledger)
        head = positions.shown(head_of(connection))
        if until is not None and not 0 <= until <= head:
            raise BeyondHead(f"there is no position {until}: the newest is {head}")
        until = head if until is None else until
        title = f"{ledger or 'All ledgers'} at position {until}, by recorded time"
        last = positions.own(until)
        yield from dialect.begin(title, _events(connection, ledger, last, [AccountOpened.TOPIC]))
        today: date | None = None
        for recorded in _events(connection, ledger, last, _TOPICS):
            day = date.fromisoformat(recorded.envelope.recorded_at[:10])
            if today is not None and today != day:
                yield from dialect.morning(today + timedelta(days=1))
            today = day
            yield from _written(dialect, recorded)
        if today is not None:
            yield from dialect.morning(today + timedelta(days=1))


def _written(dialect: Dialect, recorded: Recorded) -> Iterator[str]:
    match recorded.event:
        case AccountOpened() as opening:
            return dialect.opened(recorded, opening)
        case Posted() as posting:
            return dialect.posted(recorded, posting)
        case _:
            return dialect.closed(recorded)


def _events(
    connection: Connection[Any], ledger: str | None, until: int, topics: list[str]
) -> Iterator[Recorded]:
    _SQL["whole_cursors"].run(connection)
    with connection.cursor(f"books_{uuid4().hex}", row_factory=tuple_row) as cursor:
        cursor.itersize = ROWS_AT_ONCE
        wanted = {"ledger": ledger, "until": until, "topics": topics}
        cursor.execute(_SQL["of_topics"], wanted, binary=True)
        for row in cursor:
            yield decode(*row)


def decimal(minor_units: int, asset: str) -> str:
    """Return an amount in units of its asset, with as many decimals as the asset has."""
    _, scale = split_asset(asset)
    digits = str(abs(minor_units)).rjust(scale + 1, "0")
    sign = "-" if minor_units < 0 else ""
    return f"{sign}{digits[:-scale]}.{digits[-scale:]}" if scale else f"{sign}{digits}"


def change_of(entry: PostedEntry) -> int:
    """Return what an entry adds to its account in minor units, positive for a debit."""
    return entry.amount if entry.direction == "debit" else -entry.amount


def balance_of(entry: PostedEntry) -> int:
    """Return the balance that the ledger recorded after an entry in minor units, positive for a debit balance."""
    return entry.balance_after if entry.normal_side == "debit" else -entry.balance_after


def printable(text: str) -> str:
    """Return text on one line, with every character that is not printable replaced by a space."""
    return "".join(character if character.isprintable() else " " for character in text)
