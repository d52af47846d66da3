"""The books as plain-text accounting has them: what was posted, with the balances that the ledger says it led to.

Written from the journal in the order of recorded time, in memory that grows with the accounts alone. Amounts come
from entries and balances from what the ledger kept after them, so that a program which adds the ones up and arrives at
the others has audited the books. Holds are not in them until they are settled.
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
    """How a program wants books to be written; every method returns lines, without their ends."""

    def begin(self, title: str, openings: Iterable[Recorded]) -> Iterator[str]:
        """Return what comes first; `openings` are those of all accounts that follow."""

    def opened(self, recorded: Recorded, opening: AccountOpened) -> Iterator[str]:
        """Return that an account was opened."""

    def posted(self, recorded: Recorded, posting: Posted) -> Iterator[str]:
        """Return a transaction."""

    def closed(self, recorded: Recorded) -> Iterator[str]:
        """Return that an account was closed."""

    def morning(self, day: date) -> Iterator[str]:
        """Return what is to be said at the beginning of the day after one on which something was posted."""


def accounting_lines(
    connection: Connection[Any], dialect: Dialect, ledger: str | None = None, until: int | None = None
) -> Generator[str, None, None]:
    """Return the books of a ledger, of all if none is named, as of a position, the newest if none is given.

    The connection must not be in a transaction. Raises `BeyondHead`, and `UnreadableEvent` for damage.
    """
    with one_instant(connection):
        head = head_of(connection)
        if until is not None and not 0 <= until <= head:
            raise BeyondHead(f"there is no position {until}: the newest is {head}")
        until = head if until is None else until
        title = f"{ledger or 'All ledgers'} at position {until}, by recorded time"
        yield from dialect.begin(title, _events(connection, ledger, until, [AccountOpened.TOPIC]))
        today: date | None = None
        for recorded in _events(connection, ledger, until, _TOPICS):
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
    connection.execute(_SQL["whole_cursors"])
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
    """Return what an entry adds to its account, debits being above zero."""
    return entry.amount if entry.direction == "debit" else -entry.amount


def balance_of(entry: PostedEntry) -> int:
    """Return the balance that the ledger says an entry led to, debits being above zero."""
    return entry.balance_after if entry.normal_side == "debit" else -entry.balance_after


def printable(text: str) -> str:
    """Return text of one line, without what is no character that can be seen."""
    return "".join(character if character.isprintable() else " " for character in text)
