"""Keyed requests: what moves or reserves money. Each has one key for ever, made before its first attempt."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from .entries import Amount, Entry, minor_units_of
from .keys import checked_key, new_key
from .paths import segment
from .resources import Metadata


class KeyedRequest(Protocol):
    """A request that makes something, once."""

    @property
    def key(self) -> str:
        """The idempotency key, the same in every attempt."""
        ...

    @property
    def path(self) -> str:
        """The path of the single request, within the ledger."""
        ...

    @property
    def body(self) -> dict[str, Any]:
        """The body of the single request."""
        ...


def _text(time: datetime | None) -> str | None:
    if time is not None and time.tzinfo is None:
        raise ValueError(f"{time} has no time zone")
    return None if time is None else time.isoformat()


@dataclass(frozen=True, kw_only=True)
class Described:
    """What every request for a transaction may have. `key` is made if none is given.

    Raises `IdempotencyKeyInvalid` for a key that no request can have.
    """

    reference: str = ""
    description: str = ""
    metadata: Metadata = field(default_factory=dict)
    key: str = field(default_factory=new_key)

    def __post_init__(self) -> None:
        checked_key(self.key)

    def _sent(self, **members: Any) -> dict[str, Any]:
        """Return the members that say something."""
        said = {"reference": self.reference, "description": self.description, "metadata": self.metadata}
        return {
            name: value for name, value in {**members, **said}.items() if value not in (None, "", {}, False)
        }


@dataclass(frozen=True)
class Post(Described):
    """A transaction to post or, if it is `pending`, a hold to make."""

    entries: tuple[Entry, ...]
    pending: bool = False
    expires_at: datetime | None = None
    effective_at: datetime | None = None

    path = "transactions"

    @property
    def body(self) -> dict[str, Any]:
        """The body of the single request."""
        return self._sent(
            entries=[entry.body for entry in self.entries],
            pending=self.pending,
            expires_at=_text(self.expires_at),
            effective_at=_text(self.effective_at),
        )


@dataclass(frozen=True)
class Settle(Described):
    """A hold to settle: all of it, an `amount` of it, or parts of its entries."""

    hold_id: str
    amount: Amount | None = None
    entries: tuple[Entry, ...] | None = None

    verb = "settle"

    @property
    def path(self) -> str:
        """The path of the single request, within the ledger."""
        return f"transactions/{segment(self.hold_id)}/settle"

    @property
    def body(self) -> dict[str, Any]:
        """The body of the single request."""
        parts = None if self.entries is None else [entry.body for entry in self.entries]
        return self._sent(entries=parts, amount=None if self.amount is None else minor_units_of(self.amount))


@dataclass(frozen=True)
class Void(Described):
    """A hold to release."""

    hold_id: str

    verb = "void"

    @property
    def path(self) -> str:
        """The path of the single request, within the ledger."""
        return f"transactions/{segment(self.hold_id)}/void"

    @property
    def body(self) -> dict[str, Any]:
        """The body of the single request."""
        return self._sent()


@dataclass(frozen=True)
class Reverse(Described):
    """A transaction to reverse: what remains of it, or an `amount`."""

    transaction_id: str
    amount: Amount | None = None
    effective_at: datetime | None = None

    verb = "reverse"

    @property
    def path(self) -> str:
        """The path of the single request, within the ledger."""
        return f"transactions/{segment(self.transaction_id)}/reverse"

    @property
    def body(self) -> dict[str, Any]:
        """The body of the single request."""
        amount = None if self.amount is None else minor_units_of(self.amount)
        return self._sent(amount=amount, effective_at=_text(self.effective_at))


Item = Post | Settle | Void | Reverse
"""What can travel in a batch."""


def item_body(item: Item) -> dict[str, Any]:
    """Return a request as an item of a batch: the same request as its single form."""
    named: Mapping[str, str] = {}
    match item:
        case Settle() | Void():
            named = {item.verb: item.hold_id}
        case Reverse():
            named = {item.verb: item.transaction_id}
    return {"idempotency_key": item.key, **named, **item.body}


@dataclass(frozen=True, kw_only=True)
class RequestPayout:
    """An amount to pay out of an account through a provider. Raises `IdempotencyKeyInvalid`."""

    account: str
    amount: Amount
    provider: str
    destination: Mapping[str, Any]
    reference: str = ""
    metadata: Metadata = field(default_factory=dict)
    key: str = field(default_factory=new_key)

    path = "payouts"

    def __post_init__(self) -> None:
        checked_key(self.key)

    @property
    def body(self) -> dict[str, Any]:
        """The body of the request."""
        body = {"account": self.account, "amount": minor_units_of(self.amount), "provider": self.provider}
        more = {"reference": self.reference, "metadata": self.metadata}
        said = {name: value for name, value in more.items() if value}
        return {**body, "destination": dict(self.destination), **said}
