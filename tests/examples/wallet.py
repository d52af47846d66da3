"""A wallet whose owners pay each other and withdraw to their banks.

A withdrawal ends later: the provider tells the ledger, and the ledger tells the wallet by a webhook. Webhooks come at
least once. So the wallet verifies each, and takes each only once.
"""

from collections.abc import Mapping
from typing import Any

from standardwebhooks import Webhook

from tests.examples.calling import Ledger, Refused

ENDS = {"payout.completed": "paid", "payout.failed": "given back"}


class NotEnough(Exception):
    """The owner has too little."""


class Wallet:
    """The wallets of a ledger, and how each withdrawal stands."""

    def __init__(self, ledger: Ledger, webhook_secret: str) -> None:
        self._ledger = ledger
        self._webhook = Webhook(webhook_secret)
        # A real wallet keeps both in its database, and changes them in one transaction.
        self._taken: set[str] = set()
        self.withdrawals: dict[str, str] = {}
        """The state of each withdrawal by the id of its payout."""
        self.messages_to_owners: list[str] = []

    def open(self) -> None:
        """Open the ledger and the bank's account."""
        self._ledger.open({"address": "bank", "asset": "EUR/2", "normal_side": "debit"})

    def sign_up(self, owner: str) -> None:
        """Open an owner's wallet, which may not go below zero."""
        account = {"address": f"wallets:{owner}", "asset": "EUR/2", "normal_side": "credit", "min_balance": 0}
        self._ledger.post("accounts", account)

    def pay_in(self, transfer: str, owner: str, amount: int) -> None:
        """Book a transfer that has arrived at the bank, under the bank's number of it."""
        self._move(f"in-{transfer}", "bank", f"wallets:{owner}", amount)

    def pay(self, payment: str, payer: str, payee: str, amount: int) -> None:
        """Pay from one wallet to another, under the app's number of the payment. Raises `NotEnough`."""
        self._move(f"pay-{payment}", f"wallets:{payer}", f"wallets:{payee}", amount)

    def withdraw(self, number: str, owner: str, amount: int, bank: Mapping[str, Any]) -> str:
        """Ask for a payout to an owner's bank, and return its id. The amount is held from now on."""
        wanted = {
            "account": f"wallets:{owner}",
            "amount": amount,
            "provider": "simulator",
            "destination": dict(bank),
        }
        payout = self._keyed("payouts", wanted, f"out-{number}")
        id = str(payout["id"])
        self.withdrawals.setdefault(id, "under way")
        return id

    def take_webhook(self, headers: Mapping[str, str], body: bytes) -> None:
        """Take what the ledger tells. Raises `WebhookVerificationError` if it was not the ledger."""
        event = self._webhook.verify(body, dict(headers))
        if headers["webhook-id"] in self._taken:
            return
        self._taken.add(headers["webhook-id"])
        if event["type"] in ENDS:
            self._end(event["data"]["stream"].rpartition("/")[2])

    def balance(self, owner: str) -> int:
        """Return what an owner can spend."""
        return int(self._ledger.get(f"accounts/wallets:{owner}")["available"])

    def _end(self, id: str) -> None:
        """Note how a withdrawal ended, as the ledger says now: what was told may be older."""
        payout = self._ledger.get(f"payouts/{id}")
        self.withdrawals[id] = ENDS.get(f"payout.{payout['state']}", "under way")
        self.messages_to_owners.append(f"{payout['amount']} {self.withdrawals[id]}")

    def _move(self, key: str, debited: str, credited: str, amount: int) -> None:
        entries = [
            {"account": debited, "direction": "debit", "amount": amount},
            {"account": credited, "direction": "credit", "amount": amount},
        ]
        self._keyed("transactions", {"entries": entries}, key)

    def _keyed(self, path: str, body: Mapping[str, Any], key: str) -> dict[str, Any]:
        try:
            return self._ledger.post(path, body, key)
        except Refused as refusal:
            if refusal.code == "insufficient_funds":
                raise NotEnough(key) from refusal
            raise
