"""Writes random journals from a seed, with every kind of event of ledgers, accounts, transactions and payouts."""

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import count

from msgspec import convert

from domain.application import LedgerApplication
from domain.journal.database import Database
from domain.model.accounts import ChangeAccount, ChangeStatus, OpenAccount
from domain.model.commands import Command, Outcome
from domain.model.entries import Entry
from domain.model.errors import LedgerError
from domain.model.events import Context
from domain.model.holds import ExpireHold, SettleHold, VoidHold
from domain.model.idempotency import Operation, operation_id
from domain.model.ledgers import OpenLedger
from domain.model.money import Direction
from domain.model.payouts.attempts import RecordSilence, SubmitPayout
from domain.model.payouts.payout import Payout, Verdict
from domain.model.payouts.reports import RecordReport, Report
from domain.model.payouts.resolutions import CompletePayout, FailPayout, ReconcilePayout
from domain.model.postings import AcceptTransaction, CompleteTransaction, PostTransaction
from domain.model.reversals import ReverseTransaction
from domain.model.times import Instant, instant
from domain.model.transactions import Acceptance, Description
from tests.ledgers import CONTEXT, opening
from tests.payouts import a_mark, a_request

ADDRESSES = [*(f"users:{number}:wallet" for number in range(6)), "users", "users_x", "bank"]
BOOKS = ("main", "other")
ACCOUNTS: Sequence[tuple[str, str, Direction]] = (
    ("cash", "USD/2", "debit"),
    ("closed", "USD/2", "credit"),
    ("euros", "EUR/2", "debit"),
    ("liquidity", "EUR/2", "credit"),
    ("yen", "JPY/0", "debit"),
    ("yen:fees", "JPY/0", "debit"),
    ("yen:pool", "JPY/0", "credit"),
)
BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.seconds = 0

    def __call__(self) -> Instant:
        return self.at(self.seconds)

    def at(self, seconds: int) -> Instant:
        """An instant that the clock reaches or has reached."""
        return instant(BEGINNING + timedelta(seconds=seconds))


class Author:
    """Writes a random journal with everything that can happen to transactions."""

    def __init__(self, database: Database, seed: int) -> None:
        self.chance = random.Random(seed)
        self.clock = Clock()
        self.database = database
        self.ledger = LedgerApplication(database, self.clock)
        self.numbers = count()
        self.made: list[tuple[str, str]] = []
        self.accepted: list[Acceptance] = []

    def write(self, rounds: int = 12, commands: int = 40) -> None:
        """Write this many commits of this many commands. Commands of one commit may be about each other."""
        self.ledger.start()
        try:
            for book in BOOKS:
                self.ledger.perform(OpenLedger(self.context(), book, {}))
                for address in ADDRESSES:
                    minimum = -2000 if address == "users" else None
                    self.ledger.perform(OpenAccount(self.context(), book, address, opening(minimum)))
            for _ in range(rounds):
                self.clock.seconds += self.chance.randint(1, 5000)
                self.execute([self.command() for _ in range(commands)])
            self.execute([CompleteTransaction(acceptance) for acceptance in self.accepted[::2]])
        finally:
            self.ledger.close()

    def write_of_accounts(self) -> None:
        """Write what `write` leaves out: other assets and sides, and changes of accounts themselves."""
        self.ledger = LedgerApplication(self.database, self.clock)
        self.ledger.start()
        try:
            self.ledger.perform(OpenLedger(CONTEXT, "main-2", {"note": "sorts before main/, and after main"}))
            for address, asset, side in ACCOUNTS:
                self.ledger.perform(OpenAccount(CONTEXT, "main-2", address, opening(None, 900, asset, side)))
            self.clock.seconds += 60
            for change in (
                ChangeAccount(CONTEXT, "main-2", "cash", metadata={"till": "é"}, min_balance=-5),
                ChangeAccount(CONTEXT, "main-2", "cash", max_balance=-1),
                ChangeStatus(CONTEXT, "main-2", "yen", "frozen", "looked into"),
                ChangeStatus(CONTEXT, "main-2", "yen:fees", "frozen", "looked into"),
                ChangeStatus(CONTEXT, "main-2", "yen:fees", "open", "found well"),
                ChangeStatus(CONTEXT, "main-2", "closed", "closed", "no more"),
            ):
                self.ledger.perform(change)
            self.execute([self.exchange(amount) for amount in (1, 20, 300, 4000)])
            expiring = self.exchange(5, pending=True, expires_at=self.clock.at(self.clock.seconds + 1))
            self.execute([expiring])
            self.clock.seconds += 1
            self.execute([ExpireHold(CONTEXT, "main-2", expiring.operation.id)])
        finally:
            self.ledger.close()

    def write_of_payouts(self, payouts: int = 30) -> None:
        """Write the histories of payouts, each with its reports in a different order."""
        self.ledger = LedgerApplication(self.database, self.clock)
        self.ledger.start()
        try:
            asked = [
                a_request(
                    f"payout-{n}", self.chance.choice((1, 50, 10**9)), self.chance.choice(("users", "bank"))
                )
                for n in range(payouts)
            ]
            self.execute(asked)
            for _ in range(6):
                self.clock.seconds += 60
                for request in asked:
                    payout, _ = self.ledger.payout("main", request.operation.id)
                    if payout.state != "rejected":
                        self.execute([self.of_payout(payout)])
        finally:
            self.ledger.close()

    def of_payout(self, payout: Payout) -> Command:
        """One step of a payout: it is sent, or the provider reports something, or nothing happens."""
        if payout.is_to_be_submitted:
            return SubmitPayout(CONTEXT, payout, a_mark(), 20.0)
        about = (CONTEXT, payout, a_mark())
        verdict: Verdict = self.chance.choice(("processing", "completed", "failed", "unknown"))
        said = Report(verdict, self.chance.choice((None, None, payout.amount, 7)), None, "wörds", "tx-1")
        resolve = self.chance.choice((ReconcilePayout, CompletePayout, FailPayout))
        return self.chance.choice(
            (
                RecordSilence(*about, "inquiry", "ReadTimeout"),
                RecordReport(*about, "inquiry", said),
                RecordReport(*about, "callback", said, f"message-{next(self.numbers)}"),
                RecordReport(*about, "callback", said, f"message-{next(self.numbers)}"),
                FailPayout(*about, "because", True) if resolve is FailPayout else resolve(*about, "because"),
            )
        )

    def exchange(
        self, amount: int, *, pending: bool = False, expires_at: Instant | None = None
    ) -> PostTransaction:
        """A transaction in two assets. Some of its accounts are debit-normal."""
        operation = self.operation("main-2")
        sides: Sequence[tuple[str, Direction, int]] = (
            ("euros", "credit", amount),
            ("liquidity", "debit", amount),
            ("yen:fees", "debit", 7),
            ("yen:pool", "credit", 7),
        )
        entries = tuple(Entry(account=account, direction=d, amount=n) for account, d, n in sides)
        return PostTransaction(
            CONTEXT,
            "main-2",
            operation,
            self.description(),
            entries,
            pending=pending,
            expires_at=expires_at,
        )

    def execute(self, commands: Sequence[Command]) -> None:
        for result in self.ledger.execute(*commands).result():
            if isinstance(result, Outcome):
                if isinstance(result.state, Acceptance):
                    self.accepted.append(result.state)
            else:
                assert isinstance(result, LedgerError), result

    def context(self) -> Context:
        return Context(
            self.chance.choice(("shop", "bank")), f"conversation-{self.chance.randrange(40)}", None
        )

    def command(self) -> Command:
        """A command, sometimes about a transaction that an earlier command of the same commit makes."""
        choice = self.chance.random()
        if choice < 0.5 or not self.made:
            return self.transaction()
        book, named = self.chance.choice(self.made[-60:])
        if choice < 0.6:
            return ExpireHold(self.context(), book, named)
        if choice < 0.7 and self.accepted:
            return CompleteTransaction(self.chance.choice(self.accepted))
        common = (self.context(), book, self.operation(book), self.description(), named)
        amount = self.chance.choice((None, None, 1, 7, 400))
        if choice < 0.8:
            self.made.append((book, common[2].id))
            return SettleHold(*common, amount)
        if choice < 0.88:
            return VoidHold(*common)
        return ReverseTransaction(*common, amount, self.chance.choice((None, None, self.elsewhen())))

    def transaction(self) -> Command:
        book = self.chance.choice(("main", "main", "other"))
        amount = self.chance.randint(2, 900)
        debited, credited, third = self.chance.sample(ADDRESSES, 3)
        sides = [(debited, "debit", amount), (credited, "credit", amount)]
        if self.chance.random() < 0.2:
            sides = [(debited, "debit", amount), (credited, "credit", 1), (third, "credit", amount - 1)]
        if self.chance.random() < 0.2:
            sides += [(debited, "credit", 5), (debited, "debit", 5)]
        pending = self.chance.random() < 0.5
        expires_at = (
            self.clock.at(self.clock.seconds + self.chance.randint(1, 4000))
            if pending and self.chance.random() < 0.5
            else None
        )
        operation = self.operation(book)
        self.made.append((book, operation.id))
        make = AcceptTransaction if self.chance.random() < 0.2 else PostTransaction
        return make(
            self.context(),
            book,
            operation,
            self.description(),
            tuple(
                convert(dict(zip(("account", "direction", "amount"), side, strict=True)), Entry)
                for side in sides
            ),
            self.elsewhen() if self.chance.random() < 0.4 else None,
            pending,
            expires_at,
        )

    def operation(self, book: str) -> Operation:
        key = f"key-{next(self.numbers)}"
        return Operation(key, operation_id(book, key), "f")

    def description(self) -> Description:
        metadata = {
            key: self.chance.choice(("", "a", "\\N\t", "é"))
            for key in ("one", "two")
            if self.chance.random() < 0.4
        }
        reference = self.chance.choice(("", "", "order-1", "order-2", "tab\t\\N\nline"))
        return Description(
            reference=reference, description=self.chance.choice(("", "wörds\n")), metadata=metadata
        )

    def elsewhen(self) -> Instant:
        return self.clock.at(self.chance.randrange(90_000))


class Bookkeeper(Author):
    """An author that also writes changes of accounts."""

    def command(self) -> Command:
        choice = self.chance.random()
        if choice > 0.3:
            return super().command()
        about = (self.context(), self.chance.choice(("main", "other")), self.chance.choice(ADDRESSES))
        if choice > 0.2:
            return ChangeStatus(*about, self.chance.choice(("frozen", "open", "open")))
        limit = self.chance.choice((None, -900_000, -800_000))
        metadata = self.chance.choice(({}, {"tier": "gold"}, {"note": 'tab\t"\\N"'}))
        return self.chance.choice(
            (
                ChangeAccount(*about, min_balance=limit),
                ChangeAccount(*about, metadata=metadata),
                ChangeAccount(*about, metadata=metadata, min_balance=limit, max_balance=None),
            )
        )
