"""Transactions: entries that balance, recorded together or refused together.

A transaction's stream begins with the outcome of the request that made it, refusals included, so that the same request
can be answered again for ever. Each account concerned records the sums that the transaction posted to it; the
transaction's own event comes last, so that its position covers them all.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal, NamedTuple

from pydantic import Field

from domain.accounts import Account, EntriesPosted, existing_account, posting_refusal
from domain.addresses import account_stream, ledger_of, ledger_stream, name_of, transaction_stream
from domain.commands import Decision, Read
from domain.errors import (
    RULE_PRECEDENCE,
    IdempotencyKeyReused,
    RuleRefusal,
    TransactionNotFound,
    UnbalancedTransaction,
)
from domain.events import Context, Event, Recorded, State
from domain.ledgers import existing_ledger
from domain.money import Direction
from domain.operations import Operation
from domain.times import Instant

Kind = Literal["posting", "hold", "settlement", "void", "reversal"]
Status = Literal["posted", "pending", "settled", "voided", "expired", "rejected"]

MIN_ENTRIES = 2
MAX_ENTRIES = 1000


class Entry(Event):
    """One side of a transaction as it was asked for: an account, a direction, an amount in minor units."""

    account: str
    direction: Direction
    amount: int


class PostedEntry(Entry):
    """An entry as it was posted: with the account's asset and normal side, and its balance afterwards."""

    asset: str
    normal_side: Direction
    balance_after: int


class Description(Event):
    """What a transaction says of itself: the caller's reference, words and metadata."""

    reference: str = ""
    description: str = ""
    metadata: dict[str, str] = Field(default_factory=dict)


class TransactionPosted(Description):
    """A transaction was posted; `fingerprint` is that of the request."""

    TOPIC: ClassVar[str] = "transaction.posted"

    fingerprint: str
    entries: tuple[PostedEntry, ...]
    effective_at: Instant


class TransactionRejected(Description):
    """A request for a transaction was refused by a business rule; `code` is the problem's."""

    TOPIC: ClassVar[str] = "transaction.rejected"

    fingerprint: str
    kind: Kind
    entries: tuple[Entry, ...]
    effective_at: Instant
    code: str
    detail: str


EVENTS: tuple[type[Event], ...] = (TransactionPosted, TransactionRejected)


class Rejection(NamedTuple):
    """Why a transaction was refused: a problem code and its explanation."""

    code: str
    detail: str


class Related(NamedTuple):
    """The transactions that this one settles, voids or reverses, or that did so to it; by id."""

    settles: str | None = None
    voids: str | None = None
    reverses: str | None = None
    settled_by: str | None = None
    voided_by: str | None = None
    reversed_by: tuple[str, ...] = ()


_UNRELATED = Related()


class Transaction(NamedTuple):
    """A transaction, folded."""

    ledger: str
    id: str
    kind: Kind
    status: Status
    entries: tuple[Entry, ...]
    reference: str
    description: str
    metadata: Mapping[str, str]
    effective_at: Instant
    recorded_at: Instant
    expires_at: Instant | None
    idempotency_key: str
    fingerprint: str
    correlation_id: str
    actor: str
    related: Related
    rejection: Rejection | None
    version: int
    position: int


def evolve(transaction: Transaction | None, recorded: Recorded) -> Transaction:
    """Return the transaction after an event of its stream."""
    stream, version, position, envelope, event = recorded
    assert isinstance(event, TransactionPosted) or isinstance(event, TransactionRejected)  # noqa: SIM101  twice as fast
    kind: Kind = "posting"
    status: Status = "posted"
    rejection: Rejection | None = None
    if isinstance(event, TransactionRejected):
        kind, status, rejection = event.kind, "rejected", Rejection(event.code, event.detail)
    # By position, which takes half the time, since every command makes one.
    return Transaction(
        ledger_of(stream),
        name_of(stream),
        kind,
        status,
        event.entries,
        event.reference,
        event.description,
        event.metadata,
        event.effective_at,
        envelope.recorded_at,
        None,
        envelope.idempotency_key or "",
        event.fingerprint,
        envelope.correlation_id,
        envelope.actor,
        _UNRELATED,
        rejection,
        version,
        position,
    )


def existing_transaction(state: State) -> Transaction:
    """Return the transaction of a folded stream; raise `TransactionNotFound` if nothing made it."""
    if state is None:
        raise TransactionNotFound
    assert isinstance(state, Transaction)
    return state


class PostTransaction(NamedTuple):
    """Post a transaction: a keyed request. `effective_at` defaults to the time of recording."""

    context: Context
    ledger: str
    operation: Operation
    entries: tuple[Entry, ...]
    description: Description
    effective_at: Instant | None = None

    @property
    def idempotency_key(self) -> str:
        """The key of the request."""
        return self.operation.key

    @property
    def causation_id(self) -> str:
        """The operation."""
        return self.operation.id

    def streams(self) -> Sequence[str]:
        """Return the streams of the ledger, of the transaction to be, and of the accounts."""
        accounts = {account_stream(self.ledger, entry.account) for entry in self.entries}
        return [ledger_stream(self.ledger), transaction_stream(self.ledger, self.operation.id), *accounts]

    def decide(self, read: Read, now: Instant) -> Decision:
        """Post the transaction, record its refusal, or answer as before.

        Raises, in this order, `LedgerNotFound`, `IdempotencyKeyReused`, `AccountNotFound` and
        `UnbalancedTransaction`; a refusal by a rule is recorded instead.
        """
        existing_ledger(read(ledger_stream(self.ledger)))
        stream = transaction_stream(self.ledger, self.operation.id)
        if (existing := read(stream)) is not None:
            return replay(existing, self.operation, stream)
        totals = entry_totals(self.ledger, self.entries, read)
        require_balance(totals)
        if (refusal := first_refusal(totals)) is not None:
            return Decision([(stream, self._rejected(refusal, now))], stream)
        events: list[tuple[str, Event]] = [
            (
                account_stream(self.ledger, address),
                EntriesPosted(transaction_id=self.operation.id, debits=debits, credits=credits),
            )
            for address, (_, debits, credits) in totals.items()
        ]
        events.append((stream, self._posted(totals, now)))
        return Decision(events, stream)

    def _posted(self, totals: "Totals", now: Instant) -> TransactionPosted:
        return TransactionPosted(
            fingerprint=self.operation.fingerprint,
            entries=posted_entries(self.entries, totals),
            effective_at=self.effective_at or now,
            reference=self.description.reference,
            description=self.description.description,
            metadata=self.description.metadata,
        )

    def _rejected(self, refusal: type[RuleRefusal], now: Instant) -> TransactionRejected:
        return TransactionRejected(
            fingerprint=self.operation.fingerprint,
            kind="posting",
            entries=self.entries,
            effective_at=self.effective_at or now,
            code=refusal.code,
            detail=refusal.explanation(),
            reference=self.description.reference,
            description=self.description.description,
            metadata=self.description.metadata,
        )


Totals = dict[str, tuple[Account, int, int]]
"""For each address, in the order of its first entry: the account, the sum of its debits, the sum of its credits."""


def replay(existing: Transaction, operation: Operation, stream: str) -> Decision:
    """Answer a known key as before; raise `IdempotencyKeyReused` if the request is another one."""
    if existing.fingerprint != operation.fingerprint:
        raise IdempotencyKeyReused
    return Decision((), stream, replayed=True)


def entry_totals(ledger: str, entries: Sequence[Entry], read: Read) -> Totals:
    """Sum the entries by account; raise `AccountNotFound` if one is not there."""
    totals: Totals = {}
    for entry in entries:
        known = totals.get(entry.account)
        if known is None:
            known = (existing_account(read(account_stream(ledger, entry.account))), 0, 0)
        account, debits, credits = known
        if entry.direction == "debit":
            totals[entry.account] = (account, debits + entry.amount, credits)
        else:
            totals[entry.account] = (account, debits, credits + entry.amount)
    return totals


def require_balance(totals: Totals) -> None:
    """Raise `UnbalancedTransaction` unless debits = credits in each asset."""
    differences: dict[str, int] = {}
    for account, debits, credits in totals.values():
        differences[account.asset] = differences.get(account.asset, 0) + debits - credits
    if any(differences.values()):
        raise UnbalancedTransaction


def first_refusal(totals: Totals) -> type[RuleRefusal] | None:
    """Return the rule that refuses the transaction: the first in the contract's order, or None."""
    refusals = [refusal for total in totals.values() if (refusal := posting_refusal(*total)) is not None]
    return min(refusals, key=RULE_PRECEDENCE.index) if refusals else None


def posted_entries(entries: Sequence[Entry], totals: Totals) -> tuple[PostedEntry, ...]:
    """Return the entries with the balance of their account after each of them."""
    balances = {address: account.balance for address, (account, _, _) in totals.items()}
    posted = []
    for entry in entries:
        address, direction, amount = entry.account, entry.direction, entry.amount
        account = totals[address][0]
        balances[address] += amount if direction == account.normal_side else -amount
        posted.append(
            PostedEntry(
                account=address,
                direction=direction,
                amount=amount,
                asset=account.asset,
                normal_side=account.normal_side,
                balance_after=balances[address],
            )
        )
    return tuple(posted)
