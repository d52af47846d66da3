"""Decisions as sentences: given these events, when a command comes, then these events or this refusal.

`given((stream, event), …).when(command).then((stream, event), …)`. Nothing here does I/O.
"""

from typing import Any

from msgspec.structs import fields, replace

from domain.model.accounts import Account, AccountOpened
from domain.model.commands import Command, Outcome
from domain.model.entries import Entry
from domain.model.errors import LedgerError
from domain.model.events import Context, Envelope, Event, State
from domain.model.holds import SettleHold, VoidHold
from domain.model.idempotency import Operation, operation_id
from domain.model.ledgers import AssetRegistered, LedgerOpened
from domain.model.money import Direction, split_asset
from domain.model.postings import AcceptTransaction, PostTransaction
from domain.model.reversals import ReverseTransaction
from domain.model.streams import account_stream, ledger_stream, transaction_stream
from domain.model.times import Instant
from domain.model.transactions import Description, Transaction
from tests.unit.journal_in_memory import JournalInMemory

LONG_AGO: Instant = "2026-01-01T00:00:00.000000Z"
NOW: Instant = "2026-11-23T20:00:00.000000Z"
CONTEXT = Context("alice", "conversation-1")
HISTORY = Envelope(
    recorded_at=LONG_AGO,
    actor="history",
    correlation_id="conversation-0",
    causation_id="conversation-0",
    idempotency_key=None,
    traceparent=None,
)

Happening = tuple[str, Event]


class Answer:
    """The result of a command."""

    def __init__(self, events: list[Happening], outcome: Outcome | None, refusal: LedgerError | None) -> None:
        self.events = events
        self._outcome = outcome
        self.refusal = refusal

    @property
    def outcome(self) -> Outcome:
        """The outcome of a command that was not refused."""
        assert self._outcome is not None, f"refused: {self.refusal!r}"
        return self._outcome

    @property
    def state(self) -> State:
        """The state in the command's answer."""
        return self.outcome.state

    def then(self, *events: Happening) -> "Answer":
        """Assert that exactly these events were recorded, in this order."""
        assert self.refusal is None, f"refused: {self.refusal!r}"
        assert self.events == list(events)
        return self

    def then_rejected(self, error: type[LedgerError], **named: Any) -> Transaction:
        """Assert that a rule refused the request and that only this was recorded.

        With `named`, also that the refusal names exactly this.
        """
        transaction = self.state
        assert isinstance(transaction, Transaction)
        assert transaction.rejection is not None, f"{transaction.status} instead of {error.code}"
        assert transaction.rejection.code == error.code
        assert transaction.rejection.details == (named or transaction.rejection.details) != {}
        assert transaction.rejection.detail != error.explanation()
        assert transaction.status == "rejected"
        assert [stream for stream, _ in self.events] == [
            transaction_stream(transaction.ledger, transaction.id)
        ]
        return transaction

    def then_nothing(self) -> "Answer":
        """Assert that the command was accepted and nothing recorded."""
        return self.then()

    def then_refused(self, error: type[LedgerError]) -> LedgerError:
        """Assert that the command was refused with this error and that nothing was recorded."""
        assert self.events == []
        assert type(self.refusal) is error, f"{self.refusal!r}, {self._outcome}"
        return self.refusal


class Given:
    """The history before the command."""

    def __init__(self, *history: Happening) -> None:
        self.journal = JournalInMemory()
        self.journal.append(history, HISTORY)

    def but(self, stream: str, **changes: Any) -> "Given":
        """Replace the folded state of an account by one that no event leads to yet."""
        self.journal.states[stream] = replace(self.journal.states[stream], **changes)
        return self

    def account(self, address: str, ledger: str = "main") -> Account:
        """Return the account's present state."""
        account = self.journal.states[account_stream(ledger, address)]
        assert isinstance(account, Account)
        return account

    def transaction(self, key: str, ledger: str = "main") -> Transaction:
        """Return the present state of a keyed request's transaction."""
        transaction = self.journal.states[transaction_stream(ledger, operation_id(ledger, key))]
        assert isinstance(transaction, Transaction)
        return transaction

    def when(self, command: Command, now: Instant = NOW) -> Answer:
        """Decide the command and add its events to the history."""
        head = self.journal.head
        outcome, refusal = None, None
        try:
            outcome = self.journal.perform(command, now)
        except LedgerError as error:
            refusal = error
        events = [(recorded.stream, recorded.event) for recorded in self.journal.recorded[head:]]
        return Answer(events, outcome, refusal)


def given(*history: Happening) -> Given:
    """Return the history made of these events of streams."""
    return Given(*history)


def a_ledger(*assets: str, name: str = "main") -> list[Happening]:
    """The history of a ledger that uses these assets."""
    registered = [AssetRegistered(code=code, scale=scale) for code, scale in map(split_asset, assets)]
    return [(ledger_stream(name), event) for event in (LedgerOpened(metadata={}), *registered)]


def an_opening(
    asset: str = "USD/2",
    normal_side: Direction = "credit",
    min_balance: int | None = None,
    max_balance: int | None = None,
    metadata: dict[str, str] | None = None,
) -> AccountOpened:
    """The attributes of an account, without limits unless given."""
    return AccountOpened(
        asset=asset,
        normal_side=normal_side,
        min_balance=min_balance,
        max_balance=max_balance,
        metadata=metadata or {},
    )


def an_account(address: str, opening: AccountOpened | None = None, ledger: str = "main") -> Happening:
    """The opening of an account."""
    return account_stream(ledger, address), opening or an_opening()


def debit(account: str, amount: int) -> Entry:
    """An entry that debits an account."""
    return Entry(account=account, direction="debit", amount=amount)


def credit(account: str, amount: int) -> Entry:
    """An entry that credits an account."""
    return Entry(account=account, direction="credit", amount=amount)


def a_posting(
    *entries: Entry,
    key: str = "key-1",
    fingerprint: str = "fingerprint-1",
    description: Description | None = None,
    effective_at: Instant | None = None,
    ledger: str = "main",
) -> PostTransaction:
    """A keyed request to post entries."""
    operation = an_operation(key, fingerprint, ledger)
    return PostTransaction(CONTEXT, ledger, operation, description or Description(), entries, effective_at)


def an_operation(key: str, fingerprint: str = "fingerprint-1", ledger: str = "main") -> Operation:
    """A keyed request."""
    return Operation(key, operation_id(ledger, key), fingerprint)


def a_hold(
    *entries: Entry,
    key: str = "hold",
    expires_at: Instant | None = None,
    fingerprint: str = "fingerprint-1",
    effective_at: Instant | None = None,
) -> PostTransaction:
    """A keyed request to hold entries."""
    return PostTransaction(
        CONTEXT,
        "main",
        an_operation(key, fingerprint),
        Description(),
        entries,
        effective_at,
        pending=True,
        expires_at=expires_at,
    )


def accepted(request: PostTransaction) -> AcceptTransaction:
    """The same request, to be accepted at once and carried out later."""
    return AcceptTransaction(*(getattr(request, field.name) for field in fields(request)))


def a_settlement(
    of: str = "hold",
    *,
    amount: int | None = None,
    entries: tuple[Entry, ...] | None = None,
    key: str = "settlement",
    fingerprint: str = "fingerprint-1",
    description: Description | None = None,
) -> SettleHold:
    """A keyed request to settle the hold made under the key `of`."""
    return SettleHold(
        CONTEXT,
        "main",
        an_operation(key, fingerprint),
        description or Description(),
        operation_id("main", of),
        amount,
        entries,
    )


def a_void(
    of: str = "hold",
    *,
    key: str = "void",
    fingerprint: str = "fingerprint-1",
    description: Description | None = None,
) -> VoidHold:
    """A keyed request to void the hold made under the key `of`."""
    return VoidHold(
        CONTEXT,
        "main",
        an_operation(key, fingerprint),
        description or Description(),
        operation_id("main", of),
    )


def a_reversal(
    of: str = "key-1",
    *,
    amount: int | None = None,
    key: str = "reversal",
    fingerprint: str = "fingerprint-1",
    description: Description | None = None,
    effective_at: Instant | None = None,
) -> ReverseTransaction:
    """A keyed request to reverse the transaction made under the key `of`."""
    return ReverseTransaction(
        CONTEXT,
        "main",
        an_operation(key, fingerprint),
        description or Description(),
        operation_id("main", of),
        amount,
        effective_at,
    )
