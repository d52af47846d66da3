"""A ledger with transactions of every kind, for lists and histories."""

from collections.abc import Sequence
from typing import Any

import httpx2

from domain.application import LedgerApplication
from domain.model.commands import Command
from domain.model.entries import Entry
from domain.model.events import Context
from domain.model.holds import SettleHold, VoidHold
from domain.model.idempotency import Operation, operation_id
from domain.model.postings import PostTransaction
from domain.model.reversals import ReverseTransaction
from domain.model.transactions import Description
from tests.contract.books import Book, transfer_body

NAMES = ["plain", "dated", "poor", "held", "settled", "settlement", "voided", "void", "reversed", "reversal"]


class Mixture:
    """A ledger with transactions of every kind, under the names the tests give them."""

    def __init__(self, book: Book, ledger: LedgerApplication) -> None:
        self.book = book
        self.path = f"{book.path}/transactions"
        self._ledger = ledger
        self.ids: dict[str, str] = {}

    def fill(self) -> None:
        """Make them, in the order of their names."""
        for address in ("users:alice:wallet", "users:bob:wallet", "users-x"):
            self.book.open(address)
        self.book.open("nothing", min_balance=0)
        wallets = ("users:alice:wallet", "users:bob:wallet")
        gold = {"metadata": {"tier": "gold", "a.b": ""}}
        self.post("plain", "a", "b", reference="order-1", **gold)
        self.post("dated", *wallets, effective_at="2020-02-01T00:00:00Z", metadata={"tier": "gold", "n": "1"})
        self.post("poor", "nothing", "users-x", reference="order-2")
        self.hold("held", "a", "users-x")
        self.hold("settled", *wallets)
        self.perform(SettleHold(*self.request("settlement", "order-1"), self.ids["settled"], 3))
        self.hold("voided", *wallets)
        self.perform(VoidHold(*self.request("void"), self.ids["voided"]))
        self.post("reversed", "b", "users:bob:wallet")
        self.perform(ReverseTransaction(*self.request("reversal"), self.ids["reversed"], 4))

    def post(self, name: str, debited: str, credited: str, **more: Any) -> None:
        """Post a transaction over HTTP."""
        headers = {"Idempotency-Key": name, "Correlation-Id": f"conversation/{name}"}
        body = {**transfer_body(debited, credited), **more}
        answer = self.book.client.post(self.path, json=body, headers=headers)
        assert answer.status_code in (201, 409)
        self.ids[name] = answer.json().get("transaction_id") or answer.json()["id"]

    def hold(self, name: str, debited: str, credited: str) -> None:
        """Make a hold."""
        self.perform(PostTransaction(*self.request(name), entries(debited, credited), pending=True))

    def request(self, name: str, reference: str = "") -> tuple[Context, str, Operation, Description]:
        """The fields every keyed command begins with."""
        self.ids[name] = operation_id(self.book.name, name)
        context = Context("tester", f"conversation/{name}")
        return context, self.book.name, Operation(name, self.ids[name], "f"), Description(reference=reference)

    def perform(self, command: Command) -> None:
        """Carry out a command, as the service does."""
        self._ledger.perform(command)

    def read(self, **parameters: Any) -> httpx2.Response:
        """Read the list as of the newest position, or later."""
        position = self.book.client.get(self.book.path).headers["ledger-position"]
        answer = self.book.client.get(self.path, params={"min_position": position, **parameters})
        assert answer.status_code == 200, answer.text
        assert int(position) <= int(answer.headers["ledger-position"]) <= int(answer.headers["ledger-head"])
        return answer

    def names(self, **parameters: Any) -> list[str]:
        """The names of the listed transactions."""
        return self.named(self.read(**parameters).json()["data"])

    def named(self, listed: Sequence[dict[str, Any]]) -> list[str]:
        """The names of transactions."""
        names = {id: name for name, id in self.ids.items()}
        return [names[transaction["id"]] for transaction in listed]


def entries(debited: str, credited: str) -> tuple[Entry, ...]:
    """The entries of a transfer of ten."""
    return tuple(Entry(**entry) for entry in transfer_body(debited, credited)["entries"])
