"""What the ledger asks of a payment provider: submit a payout, say what became of it, and read its callbacks.

An adapter is given everything it needs and keeps no state. The ledger decides when and how often to call, and what
follows from an answer.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from domain.model.payouts.payout import Payout
from domain.model.payouts.reports import Report


class NoAnswer(Exception):
    """The provider did not say what it did: it may have done everything or nothing. The message says why.

    `is_heard` tells that the provider answers all the same, and only says nothing about this order.
    """

    def __init__(self, why: str = "", *, is_heard: bool = False) -> None:
        super().__init__(why)
        self.is_heard = is_heard


class Order(NamedTuple):
    """A payout to be made. `key` is the provider's idempotency key for it, the same in every attempt."""

    key: str
    amount: int
    asset: str
    destination: Mapping[str, Any]
    reference: str
    correlation_id: str
    traceparent: str | None


class Callback(NamedTuple):
    """A report that a provider sends by itself, about the payout that it knows by `key`."""

    key: str
    report: Report


class Provider(Protocol):
    """A payment provider. Its methods are called from several threads at once."""

    @property
    def max_calls(self) -> int:
        """How many calls may run at once."""

    @property
    def patience_seconds(self) -> float:
        """Longer than any call can take."""

    def submit(self, order: Order) -> Report:
        """Submit an order to be paid out. It is paid once, however often it is submitted under its key.

        A report of failure is final: the money will not leave. Raises `NoAnswer` for everything that does not come from
        the provider's own books.
        """

    def ask(self, order: Order) -> Report:
        """Return what became of an order, `unknown` if the provider itself says that it has no order with this key.

        Raises `NoAnswer`.
        """

    def read_callback(self, payload: Mapping[str, Any]) -> Callback:
        """Return what a callback with a verified signature says. Raises `ValueError` if it says nothing."""

    def close(self) -> None:
        """Close its connections."""


def order_of(payout: Payout) -> Order:
    """Return the provider's order for a payout."""
    return Order(
        payout.provider_key,
        payout.amount,
        payout.asset,
        payout.destination,
        payout.reference,
        payout.correlation_id,
        payout.traceparent,
    )
