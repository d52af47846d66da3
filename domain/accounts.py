"""Accounts: what they hold, in which asset, within which limits.

A credit-normal account's balance is posted credits − posted debits; a debit-normal account's is mirrored. `available`
is the balance less what is pending against it. Limits are judged on the net change of a whole transaction, and only
what worsens a breach is refused (the contract, Accounts).
"""

from collections.abc import Mapping, Sequence
from types import EllipsisType
from typing import ClassVar, Literal, NamedTuple

from domain.addresses import account_stream, ledger_of, ledger_stream, name_of
from domain.commands import Decision, Read
from domain.errors import (
    AccountClosed,
    AccountExists,
    AccountFrozen,
    AccountNotFound,
    AmountOverflow,
    BalanceLimitExceeded,
    InsufficientFunds,
    InvalidRequest,
    RuleRefusal,
    VersionMismatch,
)
from domain.events import Context, Event, Recorded, State
from domain.ledgers import existing_ledger, register_asset
from domain.money import MAX_AMOUNT, Direction
from domain.times import Instant

Status = Literal["open", "frozen", "closed"]


class AccountOpened(Event):
    """An account was opened."""

    TOPIC: ClassVar[str] = "account.opened"

    asset: str
    normal_side: Direction
    min_balance: int | None
    max_balance: int | None
    metadata: dict[str, str]


class EntriesPosted(Event):
    """A transaction posted entries to the account: the sums of its debits and of its credits."""

    TOPIC: ClassVar[str] = "account.entries_posted"

    transaction_id: str
    debits: int
    credits: int


class LimitsChanged(Event):
    """The account's limits were changed; null is unlimited."""

    TOPIC: ClassVar[str] = "account.limits_changed"

    min_balance: int | None
    max_balance: int | None


class MetadataChanged(Event):
    """The account's metadata was replaced."""

    TOPIC: ClassVar[str] = "account.metadata_changed"

    metadata: dict[str, str]


EVENTS: tuple[type[Event], ...] = (AccountOpened, EntriesPosted, LimitsChanged, MetadataChanged)


class Account(NamedTuple):
    """An account, folded. Amounts are minor units; `opening` is the event that opened it."""

    ledger: str
    address: str
    asset: str
    normal_side: Direction
    status: Status
    min_balance: int | None
    max_balance: int | None
    metadata: Mapping[str, str]
    posted_debits: int
    posted_credits: int
    pending_debits: int
    pending_credits: int
    opened_at: Instant
    opening: AccountOpened
    version: int
    position: int

    @property
    def balance(self) -> int:
        """Posted amounts, as seen from the normal side."""
        if self.normal_side == "credit":
            return self.posted_credits - self.posted_debits
        return self.posted_debits - self.posted_credits

    @property
    def pending_outflow(self) -> int:
        """What is pending against the balance."""
        return self.pending_debits if self.normal_side == "credit" else self.pending_credits

    @property
    def pending_inflow(self) -> int:
        """What is pending in favour of the balance."""
        return self.pending_credits if self.normal_side == "credit" else self.pending_debits

    @property
    def available(self) -> int:
        """The balance less what is pending against it."""
        return self.balance - self.pending_outflow


def evolve(account: Account | None, recorded: Recorded) -> Account:
    """Return the account after an event of its stream."""
    _, version, position, _, event = recorded
    if isinstance(event, EntriesPosted) and account is not None:
        # By position: every posting does this for each of its accounts, and `_replace` takes three times as long.
        return Account(
            *account[:8],
            account[8] + event.debits,
            account[9] + event.credits,
            *account[10:14],
            version,
            position,
        )
    if isinstance(event, AccountOpened):
        return _opened(event, recorded)
    assert account is not None
    match event:
        case LimitsChanged():
            account = account._replace(min_balance=event.min_balance, max_balance=event.max_balance)
        case MetadataChanged():
            account = account._replace(metadata=event.metadata)
    return account._replace(version=version, position=position)


def _opened(event: AccountOpened, recorded: Recorded) -> Account:
    return Account(
        ledger=ledger_of(recorded.stream),
        address=name_of(recorded.stream),
        asset=event.asset,
        normal_side=event.normal_side,
        status="open",
        min_balance=event.min_balance,
        max_balance=event.max_balance,
        metadata=event.metadata,
        posted_debits=0,
        posted_credits=0,
        pending_debits=0,
        pending_credits=0,
        opened_at=recorded.envelope.recorded_at,
        opening=event,
        version=recorded.version,
        position=recorded.position,
    )


def posting_refusal(account: Account, debits: int, credits: int) -> type[RuleRefusal] | None:
    """Return the first rule, in the contract's order, that posting these sums would break, or None.

    Totals are judged with what is pending, so that a settlement, which is not judged again, can never overflow.
    """
    if account.status != "open":
        return AccountClosed if account.status == "closed" else AccountFrozen
    if (
        account.posted_debits + account.pending_debits + debits > MAX_AMOUNT
        or account.posted_credits + account.pending_credits + credits > MAX_AMOUNT
    ):
        return AmountOverflow
    change = credits - debits if account.normal_side == "credit" else debits - credits
    if change < 0:
        available = account.available + change
        if available < -MAX_AMOUNT:
            return AmountOverflow
        if account.min_balance is not None and available < account.min_balance:
            return InsufficientFunds
    elif (
        change > 0
        and account.max_balance is not None
        and account.balance + account.pending_inflow + change > account.max_balance
    ):
        return BalanceLimitExceeded
    return None


def existing_account(state: State) -> Account:
    """Return the account of a folded stream; raise `AccountNotFound` if nothing opened it."""
    if state is None:
        raise AccountNotFound
    assert isinstance(state, Account)
    return state


class OpenAccount(NamedTuple):
    """Open an account; the same again changes nothing, whatever was changed since."""

    context: Context
    ledger: str
    address: str
    opening: AccountOpened

    @property
    def idempotency_key(self) -> None:
        """None: opening is idempotent by its address."""
        return

    @property
    def causation_id(self) -> str:
        """The conversation."""
        return self.context.correlation_id

    def streams(self) -> Sequence[str]:
        """Return the ledger's stream and the account's."""
        return (ledger_stream(self.ledger), account_stream(self.ledger, self.address))

    def decide(self, read: Read, now: Instant) -> Decision:
        """Open the account, unless it is.

        Raises, in this order, `LedgerNotFound`, `AccountExists` and `AssetScaleConflict`.
        """
        ledger = existing_ledger(read(ledger_stream(self.ledger)))
        stream = account_stream(self.ledger, self.address)
        existing = read(stream)
        if existing is None:
            return Decision([*register_asset(ledger, self.opening.asset), (stream, self.opening)], stream)
        if existing.opening != self.opening:
            raise AccountExists
        return Decision((), stream)


class ChangeAccount(NamedTuple):
    """Change limits or metadata of an account; what is left out (`...`) stays, what is equal records nothing.

    `if_version` is the version that the account must still have.
    """

    context: Context
    ledger: str
    address: str
    metadata: dict[str, str] | EllipsisType = ...
    min_balance: int | EllipsisType | None = ...
    max_balance: int | EllipsisType | None = ...
    if_version: int | None = None

    @property
    def idempotency_key(self) -> None:
        """None: the change is idempotent by what it sets."""
        return

    @property
    def causation_id(self) -> str:
        """The conversation."""
        return self.context.correlation_id

    def streams(self) -> Sequence[str]:
        """Return the ledger's stream and the account's."""
        return (ledger_stream(self.ledger), account_stream(self.ledger, self.address))

    def decide(self, read: Read, now: Instant) -> Decision:
        """Record what differs.

        Raises, in this order, `LedgerNotFound`, `AccountNotFound`, `VersionMismatch`, `InvalidRequest` for a
        minimum above the maximum, and `AccountClosed`.
        """
        existing_ledger(read(ledger_stream(self.ledger)))
        stream = account_stream(self.ledger, self.address)
        account = existing_account(read(stream))
        if self.if_version is not None and self.if_version != account.version:
            raise VersionMismatch
        minimum = account.min_balance if isinstance(self.min_balance, EllipsisType) else self.min_balance
        maximum = account.max_balance if isinstance(self.max_balance, EllipsisType) else self.max_balance
        if minimum is not None and maximum is not None and minimum > maximum:
            raise InvalidRequest("/min_balance", "min_balance is greater than max_balance")
        if account.status == "closed":
            raise AccountClosed
        events: list[tuple[str, Event]] = []
        if (minimum, maximum) != (account.min_balance, account.max_balance):
            events.append((stream, LimitsChanged(min_balance=minimum, max_balance=maximum)))
        if not isinstance(self.metadata, EllipsisType) and self.metadata != account.metadata:
            events.append((stream, MetadataChanged(metadata=self.metadata)))
        return Decision(events, stream)
