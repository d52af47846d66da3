"""The ledger of a test, over HTTP."""

from typing import Any
from uuid import NAMESPACE_URL, uuid4, uuid5

import httpx2

from tests.projecting import eventually


class Book:
    """A ledger of one test, with a method for each request."""

    def __init__(self, client: httpx2.Client, name: str) -> None:
        self.client = client
        self.name = name
        self.path = f"/v1/ledgers/{name}"

    def open(self, address: str, **attributes: Any) -> dict[str, Any]:
        """Open an account and return it."""
        body = {"address": address, "asset": "USD/2", "normal_side": "credit", **attributes}
        answer = self.client.post(f"{self.path}/accounts", json=body)
        assert answer.status_code == 201, answer.text
        account: dict[str, Any] = answer.json()
        return account

    def account(self, address: str, **options: Any) -> httpx2.Response:
        """Read an account."""
        return self.client.get(f"{self.path}/accounts/{address}", **options)

    def post(self, body: Any, key: str | None = None, **headers: str) -> httpx2.Response:
        """Post a transaction, under a new key unless one is given."""
        headers = {"Idempotency-Key": key or uuid4().hex, **headers}
        return self.client.post(f"{self.path}/transactions", json=body, headers=headers)

    def transfer(
        self, debited: str, credited: str, amount: int, key: str | None = None, **more: Any
    ) -> httpx2.Response:
        """Move an amount from one account to another."""
        return self.post({**transfer_body(debited, credited, amount), **more}, key)

    def hold(
        self, debited: str, credited: str, amount: int, key: str | None = None, **more: Any
    ) -> httpx2.Response:
        """Make an amount pending between two accounts."""
        return self.transfer(debited, credited, amount, key, pending=True, **more)

    def act(self, verb: str, id: str, body: Any = None, key: str | None = None) -> httpx2.Response:
        """Settle, void or reverse a transaction, under a new key unless one is given."""
        headers = {"Idempotency-Key": key or uuid4().hex}
        return self.client.post(f"{self.path}/transactions/{id}/{verb}", json=body or {}, headers=headers)

    def settle(self, id: str, body: Any = None, key: str | None = None) -> httpx2.Response:
        """Settle a hold."""
        return self.act("settle", id, body, key)

    def void(self, id: str, body: Any = None, key: str | None = None) -> httpx2.Response:
        """Void a hold."""
        return self.act("void", id, body, key)

    def reverse(self, id: str, body: Any = None, key: str | None = None) -> httpx2.Response:
        """Reverse a transaction."""
        return self.act("reverse", id, body, key)

    def batch(self, *items: Any, mode: str = "independent", **options: Any) -> httpx2.Response:
        """Send requests together."""
        body = {"mode": mode, "transactions": items}
        return self.client.post(f"{self.path}/transactions/batch", json=body, **options)

    def change(self, verb: str, address: str, reason: str = "", **headers: str) -> httpx2.Response:
        """Freeze, unfreeze or close an account."""
        path = f"{self.path}/accounts/{address}/{verb}"
        return self.client.post(path, json={"reason": reason}, headers=headers)

    def pay_out(
        self, amount: int = 40, key: str | None = None, account: str = "alice", **more: Any
    ) -> httpx2.Response:
        """Request a payout, to a new destination unless one is given."""
        body = {"account": account, "amount": amount, "provider": "simulator", **more}
        body.setdefault("destination", {"iban": uuid4().hex})
        headers = {"Idempotency-Key": key or uuid4().hex}
        return self.client.post(f"{self.path}/payouts", json=body, headers=headers)

    def payout(self, id: str) -> dict[str, Any]:
        """Read a payout."""
        shown: dict[str, Any] = self.client.get(f"{self.path}/payouts/{id}").json()
        return shown

    def await_payout(self, id: str, *states: str) -> dict[str, Any]:
        """Wait until a payout is in one of these states, and return it."""
        eventually(lambda: self.payout(id)["state"] in states)
        return self.payout(id)

    def resolve(self, verb: str, id: str, reason: str = "because", **more: Any) -> httpx2.Response:
        """Reconcile, complete or fail a payout."""
        return self.client.post(f"{self.path}/payouts/{id}/{verb}", json={"reason": reason, **more})

    def transaction(self, id: str) -> httpx2.Response:
        """Read a transaction."""
        return self.client.get(f"{self.path}/transactions/{id}")

    def operation(self, key: str) -> httpx2.Response:
        """Read the operation of a key."""
        return self.client.get(f"{self.path}/operations/{key}")

    def id_of(self, key: str) -> str:
        """The transaction id derived from a key (api/README.md, Idempotency)."""
        return str(uuid5(NAMESPACE_URL, f"tallystick:{self.name}/{key}"))

    def amounts(self, address: str) -> tuple[int, int, int, int]:
        """An account's posted debits and credits, then the pending ones."""
        shown = self.account(address).json()
        posted, pending = shown["posted"], shown["pending"]
        return posted["debits"], posted["credits"], pending["debits"], pending["credits"]


def transfer_body(debited: str = "a", credited: str = "b", amount: Any = 10) -> dict[str, Any]:
    """The body of a transaction that moves an amount from one account to another."""
    return {
        "entries": [
            {"account": debited, "direction": "debit", "amount": amount},
            {"account": credited, "direction": "credit", "amount": amount},
        ]
    }


def new_book(client: httpx2.Client) -> Book:
    """Open a ledger with two accounts, `a` and `b`, that may go below zero."""
    name = f"l{uuid4().hex[:12]}"
    assert client.post("/v1/ledgers", json={"name": name}).status_code == 201
    opened = Book(client, name)
    opened.open("a")
    opened.open("b")
    return opened
