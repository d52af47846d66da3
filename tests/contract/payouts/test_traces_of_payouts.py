"""Payouts that go wrong, as shown by traces and by the list of what is stuck."""

from typing import Any
from uuid import uuid4

import pytest

from scripts.simulator.faults import Script
from scripts.simulator.server import Simulator
from tests.contract.books import Book
from tests.projecting import eventually


@pytest.fixture
def bank(book: Book) -> Book:
    """A book in which Alice has money."""
    book.open("alice", min_balance=0)
    book.transfer("a", "alice", 100)
    return book


def pay_out(bank: Book, simulator: Simulator, **script: Any) -> dict[str, Any]:
    """A payout whose provider follows a script."""
    destination = {"iban": uuid4().hex}
    simulator.faults.follow(Script(destination=destination, **script))
    made: dict[str, Any] = bank.pay_out(40, "payout", destination=destination).json()
    return made


def trace(bank: Book) -> dict[str, Any]:
    body: dict[str, Any] = bank.client.get(f"{bank.path}/operations/payout/trace").json()
    return body


def stuck(bank: Book, **query: int) -> list[tuple[str, str, str]]:
    found = bank.client.get("/v1/stuck", params=query).json()["data"]
    return [(each["kind"], each["resource"], each["remedy"]) for each in found if each["ledger"] == bank.name]


def test_a_payout_in_doubt_is_stuck_until_somebody_knows(bank: Book, simulator: Simulator) -> None:
    made = pay_out(bank, simulator, faults=["drop_after"], ask_errors=10**6, lose=True)
    bank.await_payout(made["id"], "in_doubt")
    body = trace(bank)
    assert (body["verdict"]["code"], body["verdict"]["remedy"]) == ("payout_in_doubt", "ask_provider")
    assert body["operations"][0]["state"] == "reconciling"
    kinds = [moment["kind"] for moment in body["timeline"]]
    assert {"provider_called", "provider_silent"} <= set(kinds)
    path = f"{bank.path}/payouts/{made['id']}"
    eventually(lambda: stuck(bank, payout_seconds=0) == [("payout_in_doubt", path, "ask_provider")])
    assert stuck(bank) == []
    assert bank.resolve("complete", made["id"]).status_code == 200
    eventually(lambda: stuck(bank, payout_seconds=0) == [])
    body = trace(bank)
    assert body["verdict"]["code"] == "payout_completed"
    (resolved,) = [moment for moment in body["timeline"] if moment["kind"] == "payout_resolved"]
    assert (resolved["actor"], resolved["position"]) == ("bootstrap", body["operations"][0]["position"])


def test_a_contradiction_is_stuck_at_once(bank: Book, simulator: Simulator) -> None:
    made = pay_out(bank, simulator, lie=True)
    bank.await_payout(made["id"], "stuck")
    path = f"{bank.path}/payouts/{made['id']}"
    eventually(lambda: stuck(bank) == [("payout_contradictory", path, "resolve_payout")])
    assert trace(bank)["verdict"]["code"] == "payout_contradictory"
