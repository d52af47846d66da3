"""What the ledger shows: accounts, balances, transactions, payouts. Amounts are in minor units."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from .entries import Direction, Entry
from .money import Money

PayoutState = Literal["accepted", "submitted", "in_doubt", "completed", "failed", "stuck", "rejected"]
Metadata = dict[str, str]


@dataclass(frozen=True, slots=True)
class LedgerInfo:
    """A ledger and the assets of its accounts. `installation` holds it; None without a placement."""

    name: str
    metadata: Metadata
    assets: tuple[str, ...]
    version: int
    position: int
    opened_at: datetime
    installation: str | None = None


@dataclass(frozen=True, slots=True)
class Sums:
    """Sums of debits and credits."""

    debits: int
    credits: int


@dataclass(frozen=True, slots=True)
class Account:
    """An account. `money(account.balance)` is its balance with its asset."""

    ledger: str
    address: str
    asset: str
    normal_side: Direction
    status: Literal["open", "frozen", "closed"]
    min_balance: int | None
    max_balance: int | None
    metadata: Metadata
    posted: Sums
    pending: Sums
    balance: int
    available: int
    version: int
    position: int
    opened_at: datetime

    def money(self, minor_units: int) -> Money:
        """Return an amount of this account as money."""
        return Money.of_minor_units(minor_units, self.asset)


@dataclass(frozen=True, slots=True)
class StatementEntry:
    """A posted entry of an account's statement."""

    transaction_id: str
    kind: str
    direction: Direction
    amount: int
    balance_after: int
    effective_at: datetime
    recorded_at: datetime
    position: int
    reference: str


@dataclass(frozen=True, slots=True)
class BalanceAt:
    """What was posted to an account up to a time."""

    account: str
    asset: str
    clock: Literal["effective", "recorded"]
    at: datetime
    debits: int
    credits: int
    balance: int
    position: int


@dataclass(frozen=True, slots=True)
class GroupBalance:
    """What was posted to a group of accounts, in one asset. `balance` is credits − debits."""

    group: str | None
    asset: str
    accounts: int
    debits: int
    credits: int
    balance: int


@dataclass(frozen=True, slots=True)
class AssetTotals:
    """All debits and credits of a ledger in one asset."""

    asset: str
    debits: int
    credits: int


@dataclass(frozen=True, slots=True)
class TrialBalance:
    """The totals of a ledger in each asset, up to a position."""

    data: tuple[AssetTotals, ...]
    position: int


@dataclass(frozen=True, slots=True)
class Related:
    """The transactions that a transaction settles, voids or reverses, or that did so to it."""

    settles: str | None
    voids: str | None
    reverses: str | None
    settled_by: str | None
    voided_by: str | None
    reversed_by: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Transaction:
    """A transaction: posted, held, or refused by a rule."""

    id: str
    ledger: str
    kind: Literal["posting", "hold", "settlement", "void", "reversal"]
    status: Literal["posted", "rejected", "pending", "settled", "voided", "expired"]
    entries: tuple[Entry, ...]
    reference: str
    description: str
    metadata: Metadata
    effective_at: datetime
    recorded_at: datetime
    expires_at: datetime | None
    idempotency_key: str
    correlation_id: str
    actor: str
    related: Related
    rejection: dict[str, Any] | None
    version: int
    position: int


@dataclass(frozen=True, slots=True)
class Step:
    """One event in the history of a payout."""

    state: PayoutState
    event: str
    source: str | None
    detail: str
    actor: str
    time: datetime
    position: int


@dataclass(frozen=True, slots=True)
class Payout:
    """A payout. It has ended if `state` is `completed`, when the money left, or `failed` or `rejected`."""

    id: str
    ledger: str
    account: str
    amount: int
    asset: str
    provider: str
    destination: dict[str, Any]
    reference: str
    metadata: Metadata
    state: PayoutState
    provider_key: str
    provider_reference: str
    hold_id: str
    transaction_id: str | None
    attempts: int
    due_at: datetime | None
    accepted_at: datetime
    ended_at: datetime | None
    history: tuple[Step, ...]
    rejection: dict[str, Any] | None
    idempotency_key: str
    correlation_id: str
    actor: str
    version: int
    position: int

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will come."""
        return self.state in ("completed", "failed", "rejected")

    @property
    def money(self) -> Money:
        """The amount with its asset."""
        return Money.of_minor_units(self.amount, self.asset)
