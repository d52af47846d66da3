"""A shop's checkout: the price is held when the order is placed, and captured when it is shipped.

The order's number makes every key. So a checkout that was interrupted anywhere is simply done again.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from tests.examples.calling import Ledger, Refused

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
        bank = {"address": "bank", "asset": "USD/2", "normal_side": "debit"}
        sales = {"address": "shop:sales", "asset": "USD/2", "normal_side": "credit"}
        self._ledger.open(bank, sales)

    def sign_up(self, customer: str, prepaid: int) -> None:
        """Open a customer's account, which may not go below zero, and book what was paid in."""
        account = {"address": customer, "asset": "USD/2", "normal_side": "credit", "min_balance": 0}
        self._ledger.post("accounts", account)
        self._ledger.post("transactions", {"entries": _entries("bank", customer, prepaid)}, f"in-{customer}")

    def place(self, order: Order) -> None:
        """Hold the price of an order. The hold ends by itself if the order is never shipped. Raises `Declined`."""
        # From the stored order and not from the clock: the same order is the same request, whenever it is sent.
        expires_at = order.placed_at + timedelta(days=HOLD_DAYS)
        body = {
            "entries": _entries(order.customer, "shop:sales", order.price),
            "pending": True,
            "expires_at": expires_at.isoformat(),
            "reference": order.number,
        }
        try:
            self._ledger.post("transactions", body, _hold(order))
        except Refused as refusal:
            if refusal.code == "insufficient_funds":
                raise Declined(order.number) from refusal
            raise

    def ship(self, order: Order, worth: int) -> None:
        """Capture the worth of the goods in the parcel. The rest of the hold is released."""
        self._on(_hold(order), "settle", {"amount": worth}, f"{order.number}-ship")

    def cancel(self, order: Order) -> None:
        """Release the whole hold."""
        self._on(_hold(order), "void", {}, f"{order.number}-cancel")

    def refund(self, order: Order, amount: int, return_number: str) -> None:
        """Give back a part of what was captured. Each parcel that comes back has a number of its own."""
        key = f"{order.number}-return-{return_number}"
        self._on(f"{order.number}-ship", "reverse", {"amount": amount, "description": "returned"}, key)

    def available(self, customer: str) -> int:
        """Return what a customer can still spend."""
        account = self._ledger.get(f"accounts/{customer}")
        return int(account["available"])

    def _on(self, made_by: str, action: str, body: dict[str, Any], key: str) -> None:
        self._ledger.post(f"transactions/{self._ledger.id_of(made_by)}/{action}", body, key)


def _hold(order: Order) -> str:
    return f"{order.number}-hold"


def _entries(debited: str, credited: str, amount: int) -> list[dict[str, Any]]:
    return [
        {"account": debited, "direction": "debit", "amount": amount},
        {"account": credited, "direction": "credit", "amount": amount},
    ]
