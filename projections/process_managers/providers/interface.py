"""What the ledger asks of a payment provider: to pay out, to say what became of it, to make sense of its callbacks.

The adapter is told everything that it needs and keeps nothing; when to call, how often, and what follows from an answer
is decided by the ledger.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from domain.model.payouts.payout import Payout
from domain.model.payouts.reports import Report


class NoAnswer(Exception):
    """The provider gave no answer that says what it did: it may have done everything or nothing. In words, why."""


class Order(NamedTuple):
    """What is to be paid out; `key` is the provider's idempotency key for it, the same in every attempt."""

    key: str
    amount: int
    asset: str
    destination: Mapping[str, Any]
    reference: str
    correlation_id: str
    traceparent: str | None


class Callback(NamedTuple):
    """What a provider says by itself: of the payout that it knows by `key`."""

    key: str
    report: Report


class Provider(Protocol):
    """A payment provider. Its methods are called from several threads at once."""

    @property
    def max_calls(self) -> int:
        """How many calls may be under way at once."""

    @property
    def patience_seconds(self) -> float:
        """How long a call can take at most, and then some."""

    def submit(self, order: Order) -> Report:
        """Have an order paid out, once however often it is submitted under its key.

        A report that it failed is final: the money will not leave. Raises `NoAnswer` for everything that does not
        come from the provider's own books.
        """

    def ask(self, order: Order) -> Report:
        """Return what became of an order, `unknown` if the provider itself says that it has none of its key.

        Raises `NoAnswer`.
        """

    def read_callback(self, payload: Mapping[str, Any]) -> Callback:
        """Return what a callback says, whose signature was verified; raise `ValueError` if it says nothing."""

    def close(self) -> None:
        """Let go of its connections."""


def order_of(payout: Payout) -> Order:
    """Return the order that a payout is to its provider."""
    return Order(
        payout.provider_key,
        payout.amount,
        payout.asset,
        payout.destination,
        payout.reference,
        payout.correlation_id,
        payout.traceparent,
    )
