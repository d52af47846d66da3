"""What many tests do with a ledger: open accounts, move money, read the journal."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

from domain.application import LedgerApplication
from domain.commit.decider import Result
from domain.journal.database import Database
from domain.journal.encoding import decode
from domain.model.accounts import AccountOpened, OpenAccount
from domain.model.commands import Outcome
from domain.model.entries import Entry
from domain.model.events import Context, Recorded, State
from domain.model.idempotency import Operation, operation_id
from domain.model.ledgers import OpenLedger
from domain.model.money import Direction
from domain.model.postings import PostTransaction
from domain.model.registry import evolve
from domain.model.transactions import Description

CONTEXT = Context("tester", "correlation-1", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")


@contextmanager
def running(database: Database) -> Iterator[LedgerApplication]:
    """A ledger that takes commands, as one process of the service would run it."""
    with LedgerApplication(database) as ledger:
        ledger.start()
        yield ledger


def opening(
    minimum: int | None = None,
    maximum: int | None = None,
    asset: str = "USD/2",
    normal_side: Direction = "credit",
) -> AccountOpened:
    """The attributes of an account to open."""
    return AccountOpened(
        asset=asset, normal_side=normal_side, min_balance=minimum, max_balance=maximum, metadata={}
    )


def open_accounts(
    ledger: LedgerApplication, *addresses: str, minimum: int | None = None, book: str = "main"
) -> None:
    """Open a ledger and accounts in it."""
    ledger.perform(OpenLedger(CONTEXT, book, {}))
    for result in ledger.execute(
        *(OpenAccount(CONTEXT, book, address, opening(minimum)) for address in addresses)
    ).result():
        assert isinstance(result, Outcome), result


def transfer(
    debited: str,
    credited: str,
    amount: int,
    key: str | None = None,
    book: str = "main",
    fingerprint: str = "f",
) -> PostTransaction:
    """A command that moves an amount from one account to another, under a new key unless one is given."""
    key = key or str(uuid4())
    return PostTransaction(
        CONTEXT,
        book,
        Operation(key, operation_id(book, key), fingerprint),
        Description(),
        (
            Entry(account=debited, direction="debit", amount=amount),
            Entry(account=credited, direction="credit", amount=amount),
        ),
    )


def outcomes(results: Sequence[Result]) -> list[Outcome]:
    """The results. None of them may be an error."""
    errors = [result for result in results if not isinstance(result, Outcome)]
    assert not errors, errors
    return [result for result in results if isinstance(result, Outcome)]


def history(database: Database) -> list[Recorded]:
    """The whole journal, decoded, in order."""
    query = (
        "SELECT originator_id, originator_version, topic, state, notification_id"
        " FROM events ORDER BY notification_id"
    )
    with database.connect("test reader") as connection:
        rows: list[Any] = connection.execute(query).fetchall()
    return [decode(*row) for row in rows]


def folded(events: Sequence[Recorded]) -> dict[str, State]:
    """Every aggregate, folded from the beginning. Asserts that versions and positions have no gaps."""
    states: dict[str, State] = {}
    for position, recorded in enumerate(events, start=1):
        known = states.get(recorded.stream)
        assert recorded.position == position
        assert recorded.version == (known.version if known else 0) + 1
        states[recorded.stream] = evolve(known, recorded)
    return states
