"""A marketplace: what a buyer pays is split between seller, courier and the marketplace, in one transaction.

Sellers are paid for all their sales at once. No cent is lost by rounding, and none is made.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.examples.calling import Ledger

FEE_PERCENT = 12


@dataclass(frozen=True)
class Sale:
    """A sale as the marketplace stores it. Amounts are in cents; the price includes what the courier gets."""

    number: str
    seller: str
    price: int
    courier: int


def split(sale: Sale) -> dict[str, int]:
    """Return who gets what. The fee is rounded down, and the seller gets the rest, so that the parts add up."""
    goods = sale.price - sale.courier
    fee = goods * FEE_PERCENT // 100
    parts = {f"sellers:{sale.seller}": goods - fee, "couriers": sale.courier, "marketplace:fees": fee}
    return {account: amount for account, amount in parts.items() if amount}


class Marketplace:
    """Books sales, and what is owed to sellers."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def open(self, sellers: Sequence[str]) -> None:
        """Open the accounts: the acquirer owes the marketplace, and the marketplace owes everybody else."""
        owed = ["couriers", "marketplace:fees", *(f"sellers:{seller}" for seller in sellers)]
        self._ledger.open(
            {"address": "acquirer", "asset": "USD/2", "normal_side": "debit"},
            {"address": "bank", "asset": "USD/2", "normal_side": "debit"},
            *({"address": account, "asset": "USD/2", "normal_side": "credit"} for account in owed),
        )

    def book(self, sales: Sequence[Sale]) -> None:
        """Book sales all at once or not at all. Each is a request of its own, under its number."""
        items = [{"idempotency_key": _key(sale), "entries": _entries(sale)} for sale in sales]
        self._ledger.post("transactions/batch", {"mode": "atomic", "transactions": items})

    def refund(self, sale: Sale) -> None:
        """Give a buyer everything back: seller, courier and marketplace each give their part."""
        self._ledger.post(
            f"transactions/{self._ledger.id_of(_key(sale))}/reverse", {}, f"refund-{sale.number}"
        )

    def pay_sellers(self, day: str, amounts: dict[str, int]) -> None:
        """Book that the bank has paid sellers on a day.

        The amounts are of the stored payment order and not of the balance at this moment: sent again tomorrow, they
        must still be the same request.
        """
        for seller, amount in amounts.items():
            entries = [_entry(f"sellers:{seller}", "debit", amount), _entry("bank", "credit", amount)]
            self._ledger.post("transactions", {"entries": entries}, f"pay-{day}-{seller}")

    def owed_to_sellers(self) -> dict[str, int]:
        """Return what each seller is owed, from one list."""
        groups = self._ledger.list("balances", prefix="sellers:", group_by="segment:2")
        return {row["group"].removeprefix("sellers:"): int(row["balance"]) for row in groups}

    def balance(self, account: str) -> int:
        """Return the balance of an account, on its normal side."""
        return int(self._ledger.get(f"accounts/{account}")["balance"])


def _key(sale: Sale) -> str:
    return f"sale-{sale.number}"


def _entries(sale: Sale) -> list[dict[str, Any]]:
    credits = [_entry(account, "credit", amount) for account, amount in split(sale).items()]
    return [_entry("acquirer", "debit", sale.price), *credits]


def _entry(account: str, direction: str, amount: int) -> dict[str, Any]:
    return {"account": account, "direction": direction, "amount": amount}
