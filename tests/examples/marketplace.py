"""A marketplace: what a buyer pays is split between seller, courier and the marketplace, in one transaction.

Sellers are paid for all their sales at once. No cent is lost by rounding, and none is made. In a program of yours the
client is the package `tallystick_client`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from api.client import Entry, Post, credit, debit, expect_done, id_of
from api.client.synchronous import Ledger

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
        for account in ("acquirer", "bank"):
            self._ledger.accounts.open(account, "USD/2", "debit")
        for account in ("couriers", "marketplace:fees", *(f"sellers:{seller}" for seller in sellers)):
            self._ledger.accounts.open(account, "USD/2", "credit")

    def book(self, sales: Sequence[Sale]) -> None:
        """Book sales all at once or not at all. Each is a request of its own, under its number."""
        self._ledger.batch([Post(_entries(sale), key=_key(sale)) for sale in sales], "atomic")

    def refund(self, sale: Sale) -> None:
        """Give a buyer everything back: seller, courier and marketplace each give their part."""
        booked_id = id_of(self._ledger.name, _key(sale))
        expect_done(self._ledger.reverse(booked_id, key=f"refund-{sale.number}"))

    def pay_sellers(self, day: str, amounts: dict[str, int]) -> None:
        """Book that the bank has paid sellers on a day.

        The amounts are of the stored payment order and not of the balance at this moment: sent again tomorrow, they
        must still be the same request.
        """
        for seller, amount in amounts.items():
            entries = debit(f"sellers:{seller}", amount), credit("bank", amount)
            expect_done(self._ledger.post(*entries, key=f"pay-{day}-{seller}"))

    def owed_to_sellers(self) -> dict[str, int]:
        """Return what each seller is owed, from one list."""
        groups = self._ledger.balances(prefix="sellers:", segments=2)
        return {str(row.group).removeprefix("sellers:"): row.balance for row in groups}

    def balance(self, account: str) -> int:
        """Return the balance of an account, on its normal side."""
        return self._ledger.accounts.get(account).balance


def _key(sale: Sale) -> str:
    return f"sale-{sale.number}"


def _entries(sale: Sale) -> tuple[Entry, ...]:
    credits = [credit(account, amount) for account, amount in split(sale).items()]
    return debit("acquirer", sale.price), *credits
