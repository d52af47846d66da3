"""A wallet whose owners pay each other and withdraw to their banks.

A withdrawal ends later: the provider tells the ledger, and the ledger tells the wallet by a webhook. Webhooks come at
least once. So the wallet verifies each, and takes each only once. In a program of yours the client is the package
`tallystick_client`.
"""

from collections.abc import Mapping
from typing import Any

from api.client import Outcome, Refused, credit, debit, expect_done, id_of, webhooks
from api.client.refusals import InsufficientFunds
from api.client.resources import Payout, Transaction
from api.client.synchronous import Ledger

ENDS = {"payout.completed": "paid", "payout.failed": "given back"}


class NotEnough(Exception):
    """The owner has too little."""


class Wallet:
    """The wallets of a ledger, and how each withdrawal stands."""

    def __init__(self, ledger: Ledger, webhook_secret: str) -> None:
        self._ledger, self._webhook_secret = ledger, webhook_secret
        # A real wallet keeps both in its database, and changes them in one transaction.
        self._taken: set[str] = set()
        self.withdrawals: dict[str, str] = {}
        """The state of each withdrawal by the id of its payout."""
        self.messages_to_owners: list[str] = []

    def open(self) -> None:
        """Open the bank's account."""
        self._ledger.accounts.open("bank", "EUR/2", "debit")

    def sign_up(self, owner: str) -> None:
        """Open an owner's wallet, which may not go below zero."""
        self._ledger.accounts.open(f"wallets:{owner}", "EUR/2", "credit", min_balance=0)

    def pay_in(self, transfer: str, owner: str, amount: int) -> None:
        """Book a transfer that has arrived at the bank, under the bank's number of it."""
        self._move(f"in-{transfer}", "bank", f"wallets:{owner}", amount)

    def pay(self, payment: str, payer: str, payee: str, amount: int) -> None:
        """Pay from one wallet to another, under the app's number of the payment. Raises `NotEnough`."""
        self._move(f"pay-{payment}", f"wallets:{payer}", f"wallets:{payee}", amount)

    def withdraw(self, number: str, owner: str, amount: int, bank: Mapping[str, Any]) -> str:
        """Ask for a payout to an owner's bank, and return its id. The amount is held from now on."""
        key = f"out-{number}"
        outcome = self._ledger.payouts.request(
            f"wallets:{owner}", amount, provider="simulator", destination=bank, key=key, awaits_end=False
        )
        _expect_enough(outcome)
        payout_id = id_of(self._ledger.name, key)
        self.withdrawals.setdefault(payout_id, "under way")
        return payout_id

    def take_webhook(self, headers: Mapping[str, str], body: bytes) -> None:
        """Take what the ledger tells. Raises `WebhookUnverified` if it was not the ledger."""
        message = webhooks.verify(self._webhook_secret, headers, body)
        if message.id in self._taken:
            return
        self._taken.add(message.id)
        if message.event["type"] in ENDS:
            self._end(message.event["data"]["stream"].rpartition("/")[2])

    def balance(self, owner: str) -> int:
        """Return what an owner can spend."""
        return self._ledger.accounts.get(f"wallets:{owner}").available

    def _end(self, payout_id: str) -> None:
        """Note how a withdrawal ended, as the ledger says now: what was told may be older."""
        payout = self._ledger.payouts.get(payout_id)
        self.withdrawals[payout_id] = ENDS.get(f"payout.{payout.state}", "under way")
        self.messages_to_owners.append(f"{payout.amount} {self.withdrawals[payout_id]}")

    def _move(self, key: str, debited: str, credited: str, amount: int) -> None:
        outcome = self._ledger.post(debit(debited, amount), credit(credited, amount), key=key)
        _expect_enough(outcome)
        expect_done(outcome)


def _expect_enough(outcome: Outcome[Transaction] | Outcome[Payout]) -> None:
    if isinstance(outcome, Refused) and isinstance(outcome.problem, InsufficientFunds):
        raise NotEnough(outcome.key) from outcome.problem
