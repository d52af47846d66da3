"""A shop's checkout: the price is held when the order is placed, and captured when it is shipped.

The order's number makes every key. So a checkout that was interrupted anywhere is simply done again. In a program of
yours the client is the package `tallystick_client`.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from api.client import credit, debit, expect_done, id_of
from api.client.refusals import InsufficientFunds
from api.client.synchronous import Ledger

HOLD_DAYS = 7


@dataclass(frozen=True)
class Order:
    """An order as the shop stores it, before it calls the ledger. The price is in cents."""

    number: str
    customer: str
    price: int
    placed_at: datetime


class Declined(Exception):
    """The customer has too little. The order is over: a new attempt is a new order."""


class Checkout:
    """Takes customers' money for orders."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def open(self) -> None:
        """Open the shop's own accounts."""
        self._ledger.accounts.open("bank", "USD/2", "debit")
        self._ledger.accounts.open("shop:sales", "USD/2", "credit")

    def sign_up(self, customer: str, prepaid: int) -> None:
        """Open a customer's account, which may not go below zero, and book what was paid in."""
        self._ledger.accounts.open(customer, "USD/2", "credit", min_balance=0)
        entries = debit("bank", prepaid), credit(customer, prepaid)
        expect_done(self._ledger.post(*entries, key=f"in-{customer}"))

    def place(self, order: Order) -> None:
        """Hold the price of an order. The hold ends by itself if the order is never shipped. Raises `Declined`."""
        held = self._ledger.hold(
            debit(order.customer, order.price),
            credit("shop:sales", order.price),
            # From the stored order and not from the clock: the same order is the same request, whenever it is sent.
            expires_at=order.placed_at + timedelta(days=HOLD_DAYS),
            reference=order.number,
            key=_hold(order),
        )
        try:
            expect_done(held)
        except InsufficientFunds as refusal:
            raise Declined(order.number) from refusal

    def ship(self, order: Order, worth: int) -> None:
        """Capture the worth of the goods in the parcel. The rest of the hold is released."""
        hold_id = id_of(self._ledger.name, _hold(order))
        expect_done(self._ledger.settle(hold_id, amount=worth, key=_shipment(order)))

    def cancel(self, order: Order) -> None:
        """Release the whole hold."""
        hold_id = id_of(self._ledger.name, _hold(order))
        expect_done(self._ledger.void(hold_id, key=f"{order.number}-cancel"))

    def refund(self, order: Order, amount: int, return_number: str) -> None:
        """Give back a part of what was captured. Each parcel that comes back has a number of its own."""
        captured_id = id_of(self._ledger.name, _shipment(order))
        key = f"{order.number}-return-{return_number}"
        expect_done(self._ledger.reverse(captured_id, amount=amount, description="returned", key=key))

    def available(self, customer: str) -> int:
        """Return what a customer can still spend."""
        return self._ledger.accounts.get(customer).available


def _hold(order: Order) -> str:
    return f"{order.number}-hold"


def _shipment(order: Order) -> str:
    return f"{order.number}-ship"
