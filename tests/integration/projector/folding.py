"""A random journal, and the fold of it that read models must equal."""

import random
from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace
from psycopg import Connection

from domain.application import LedgerApplication
from domain.journal.database import Database
from domain.model.accounts import Account, ChangeAccount, OpenAccount
from domain.model.commands import Command
from domain.model.entries import Entry
from domain.model.events import Context, Recorded, State
from domain.model.holds import SettleHold, VoidHold
from domain.model.idempotency import Operation, operation_id
from domain.model.ledgers import Ledger as Book
from domain.model.ledgers import OpenLedger
from domain.model.money import Direction
from domain.model.postings import PostTransaction
from domain.model.reversals import ReverseTransaction
from domain.model.transactions import Description, Transaction
from projections.read_models.balances import list_accounts
from projections.read_models.entries import Clock, StatementEntry, list_entries
from projections.read_models.ledgers import list_ledgers
from projections.read_models.transaction_list import list_transactions
from tests.ledgers import CONTEXT, folded, history, opening, outcomes, transfer

ADDRESSES = [f"users:{number}:wallet" for number in range(12)] + ["bank", "users", "users-2:x"]


def random_transaction(chance: random.Random, number: int) -> PostTransaction:
    """A transaction of two to five entries, some for the same account. One in three has another effective time."""
    sides: list[tuple[str, Direction, int]] = []
    for _ in range(chance.choice((1, 1, 1, 2))):
        amount = chance.randint(1, 1000)
        debited, credited, third = chance.sample(ADDRESSES, 3)
        part = chance.randint(0, amount - 1)
        sides.append((debited, "debit", amount))
        sides.append((credited, "credit", amount - part))
        if part:
            sides.append((third, "credit", part))
    elsewhen = [f"20{year}-0{month}-01T00:00:00.000000Z" for year in (25, 26, 31) for month in range(1, 9)]
    key = f"random-{number}"
    return PostTransaction(
        CONTEXT,
        "main",
        Operation(key, operation_id("main", key), "f"),
        Description(reference=f"order\t{number}\\N\n" if number % 5 == 0 else ""),
        tuple(Entry(account=account, direction=side, amount=amount) for account, side, amount in sides),
        chance.choice(elsewhen) if chance.random() < 0.35 else None,
    )


def settled_and_reversed(chance: random.Random, number: int) -> list[Command]:
    """Two holds: one voided, the other settled in part and that settlement reversed in part."""

    def asked(what: str) -> tuple[Context, str, Operation, Description]:
        key = f"{what}-{number}"
        return CONTEXT, "main", Operation(key, operation_id("main", key), "f"), Description(reference=key)

    debited, credited = chance.sample([address for address in ADDRESSES if address != ADDRESSES[3]], 2)
    holds = [replace(transfer(debited, credited, 9, key=f"{n}-{number}"), pending=True) for n in (1, 2)]
    elsewhen = chance.choice([None, "2025-03-01T00:00:00.000000Z", "2031-03-01T00:00:00.000000Z"])
    return [
        *holds,
        SettleHold(*asked("settlement"), holds[0].operation.id, 7),
        VoidHold(*asked("void"), holds[1].operation.id),
        ReverseTransaction(*asked("reversal"), operation_id("main", f"settlement-{number}"), 2, elsewhen),
    ]


def fill(ledger: LedgerApplication, seed: int = 7, count: int = 240) -> None:
    """Write two books: accounts of both sides, random transactions, refusals and changes of accounts."""
    chance = random.Random(seed)
    ledger.perform(OpenLedger(CONTEXT, "main", {"colour": "green"}))
    ledger.perform(OpenLedger(CONTEXT, "other", {}))
    outcomes(
        ledger.execute(
            *(
                OpenAccount(
                    CONTEXT,
                    "main",
                    address,
                    opening(
                        minimum=-5000 if number == 3 else None,
                        normal_side="debit" if number % 3 == 0 else "credit",
                    ),
                )
                for number, address in enumerate(ADDRESSES)
            ),
            OpenAccount(CONTEXT, "main", "vault", opening(asset="JPY/0")),
            OpenAccount(CONTEXT, "other", "bank", opening(asset="EUR/2")),
        ).result()
    )
    for first in range(0, count, 40):
        outcomes(
            ledger.execute(
                *(random_transaction(chance, number) for number in range(first, first + 40))
            ).result()
        )
        outcomes(ledger.execute(*settled_and_reversed(chance, first)).result())
        address = chance.choice(ADDRESSES)
        ledger.perform(
            ChangeAccount(CONTEXT, "main", address, metadata={"round": str(first), "quote": "'\"\\"})
        )
        ledger.perform(ChangeAccount(CONTEXT, "main", address, max_balance=10**9 + first))


def statement(states: dict[str, State], events: Sequence[Recorded], address: str, clock: Clock) -> list[Any]:
    """The statement of an account, computed only from the folded transactions."""
    account = states[f"main/accounts/{address}"]
    found = []
    for recorded in events:
        state = states[recorded.stream]
        if not isinstance(state, Transaction) or state.made_position != recorded.position:
            continue
        if state.kind not in ("posting", "settlement", "reversal") or state.status != "posted":
            continue
        for number, entry in enumerate(state.entries, start=1):
            if entry.account == address:
                time = state.recorded_at if clock == "recorded" else state.effective_at
                change = entry.amount if entry.direction == account.normal_side else -entry.amount
                found.append(
                    ((time, state.made_position, number), state.id, entry.direction, change, state.reference)
                )
    found.sort()
    balance, rows = 0, []
    for place, transaction_id, direction, change, reference in found:
        balance += change
        rows.append((place, transaction_id, direction, abs(change), change, balance, reference))
    return rows


def shown(rows: Sequence[StatementEntry], clock: Clock) -> list[Any]:
    return [
        (
            tuple(row.place(clock)),
            row.transaction_id,
            row.direction,
            row.amount,
            row.change,
            row.balance_after,
            row.reference,
        )
        for row in rows
    ]


def assert_equal_to_fold(database: Database, connection: Connection[Any]) -> None:
    """Assert that the read models equal the journal, folded without them."""
    events = history(database)
    states = folded(events)
    for book in {state.ledger for state in states.values() if isinstance(state, Account)}:
        expected = [state for state in states.values() if isinstance(state, Account) and state.ledger == book]
        page = list_accounts(connection, book, limit=1000)
        assert page.rows == sorted(expected, key=lambda account: account.address)
        assert page.position == page.head == len(events)
    books = [state for state in states.values() if isinstance(state, Book)]
    assert list_ledgers(connection, limit=1000).rows == sorted(
        books, key=lambda book: (book.opened_at, book.name)
    )
    made = [state for state in states.values() if isinstance(state, Transaction) and state.ledger == "main"]
    listed = list_transactions(connection, "main", limit=1_000_000).rows
    assert [(state.id, state.status, state.version, state.position) for state in listed] == [
        (state.id, state.status, state.version, state.position)
        for state in sorted(made, key=lambda state: state.made_position)
    ]
    for clock in ("recorded", "effective"):
        for account in list_accounts(connection, "main", limit=1000).rows:
            rows = list_entries(connection, "main", account.address, clock=clock, limit=1_000_000).rows
            assert shown(rows, clock) == statement(states, events, account.address, clock)
