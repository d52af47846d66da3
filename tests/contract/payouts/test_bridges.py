"""Bridges over HTTP, between two ledgers of one service (api/README.md, Bridges)."""

from typing import Any, NamedTuple
from uuid import uuid4

import httpx2
import pytest

from tests.contract.answers import code_of, pointers_of
from tests.contract.books import Book, new_book
from tests.contract.callers import Keys

ENDS = ("completed", "failed", "stuck")


class Pair(NamedTuple):
    """Two ledgers, each with an account of Alice's. That of `here` has 100."""

    here: Book
    there: Book

    def send(
        self, amount: int = 40, key: str | None = None, to: str = "alice", **more: Any
    ) -> httpx2.Response:
        """Request a bridge from Alice's account to one in the other ledger."""
        destination = more.pop("destination", {"ledger": self.there.name, "account": to})
        return self.here.pay_out(amount, key, provider="bridge", destination=destination, **more)

    @property
    def accounts(self) -> tuple[str, str]:
        """The addresses of the accounts that the ledgers have for each other."""
        return f"bridges:{self.there.name}:USD", f"bridges:{self.here.name}:USD"


@pytest.fixture
def pair(book: Book, client: httpx2.Client) -> Pair:
    other = new_book(client)
    for of in (book, other):
        of.open("cash", normal_side="debit")
        of.open("alice", min_balance=0)
    assert book.transfer("cash", "alice", 100).status_code == 201
    return Pair(book, other)


def test_an_amount_arrives_in_the_other_ledger(pair: Pair) -> None:
    key = uuid4().hex
    answer = pair.send(40, key, reference="rent", metadata={"till": "7"})
    assert answer.status_code == 202
    made = answer.json()
    done = pair.here.await_payout(made["id"], *ENDS)
    assert (done["state"], done["attempts"]) == ("completed", 1)
    received = pair.there.transaction(done["provider_reference"]).json()
    assert (received["status"], received["reference"]) == ("posted", "rent")
    assert received["correlation_id"] == made["correlation_id"] == answer.headers["correlation-id"]
    assert received["metadata"] == {"from_ledger": pair.here.name, "from_payout": made["id"]}
    assert received["idempotency_key"] == f"bridge/{made['provider_key']}"
    assert received["actor"] == f"bridge:{pair.here.name}"
    of_there, of_here = pair.accounts
    assert pair.here.amounts("alice") == (40, 100, 0, 0)
    assert pair.here.amounts(of_there) == (0, 40, 0, 0)
    assert pair.there.amounts(of_here) == (40, 0, 0, 0)
    assert pair.there.amounts("alice") == (0, 40, 0, 0)
    operation = pair.here.operation(key).json()
    assert (operation["state"], operation["outcome"]) == ("completed", "completed")
    again = pair.send(40, key, reference="rent", metadata={"till": "7"})
    assert (again.status_code, again.json()) == (202, made)
    assert pair.there.amounts("alice") == (0, 40, 0, 0)


def test_a_refusal_of_the_other_ledger_gives_the_amount_back_and_explains_itself(pair: Pair) -> None:
    done = pair.here.await_payout(pair.send(to="nobody").json()["id"], *ENDS)
    assert done["state"] == "failed"
    assert done["history"][-1]["detail"].startswith("account_not_found: ")
    assert pair.here.amounts("alice") == (0, 100, 0, 0)
    refused = pair.there.transaction(done["provider_reference"]).json()
    assert refused["status"] == "rejected"
    rejection = refused["rejection"]
    assert (rejection["code"], rejection["account"], rejection["pointer"]) == (
        "account_not_found",
        "nobody",
        "/entries/1",
    )
    assert refused["entries"][1] == {"account": "nobody", "direction": "credit", "amount": 40}


def test_it_can_be_sent_back(pair: Pair) -> None:
    pair.here.await_payout(pair.send(40).json()["id"], *ENDS)
    back = Pair(pair.there, pair.here).send(15)
    assert back.status_code == 202
    assert pair.there.await_payout(back.json()["id"], *ENDS)["state"] == "completed"
    of_there, of_here = pair.accounts
    assert pair.here.amounts(of_there) == (15, 40, 0, 0)
    assert pair.there.amounts(of_here) == (40, 15, 0, 0)


def test_one_that_cannot_be_paid_is_refused_for_ever(pair: Pair) -> None:
    key = uuid4().hex
    for _ in range(2):
        answer = pair.send(101, key)
        assert (answer.status_code, code_of(answer)) == (409, "insufficient_funds")
        assert answer.json()["pointer"] == "/account"


@pytest.mark.parametrize(
    ("destination", "pointers"),
    [
        ({}, ["/destination/ledger", "/destination/account"]),
        ({"ledger": "Not A Name", "account": "bob"}, ["/destination/ledger"]),
        ({"ledger": "nowhere", "account": "no address!"}, ["/destination/account"]),
        ({"ledger": "nowhere", "account": "bob", "iban": "1"}, ["/destination/iban"]),
        ({"ledger": "nowhere", "account": "bob"}, ["/destination/ledger"]),
        ({"ledger": "nowhere", "account": "bridges:main:USD"}, ["/destination/account"]),
    ],
)
def test_a_destination_that_is_none_is_refused_with_its_place(
    pair: Pair, destination: dict[str, Any], pointers: list[str]
) -> None:
    key = uuid4().hex
    answer = pair.send(40, key, destination=destination)
    assert (answer.status_code, code_of(answer)) == (422, "invalid_request")
    assert sorted(pointers_of(answer)) == sorted(pointers)
    assert pair.here.operation(key).status_code == 404


def test_one_to_the_same_ledger_is_refused_with_words(pair: Pair) -> None:
    answer = pair.send(destination={"ledger": pair.here.name, "account": "a"})
    assert (answer.status_code, pointers_of(answer)) == (422, ["/destination/ledger"])
    assert "post a transaction instead" in answer.text


def test_an_account_that_bridges_keep_cannot_be_sent_from(pair: Pair) -> None:
    pair.here.await_payout(pair.send(40).json()["id"], *ENDS)
    answer = pair.send(1, account=pair.accounts[0])
    assert (answer.status_code, pointers_of(answer)) == (422, ["/account"])


def test_the_key_must_have_been_granted_both_ledgers(pair: Pair, keys: Keys) -> None:
    body = {
        "account": "alice",
        "amount": 1,
        "provider": "bridge",
        "destination": {"ledger": pair.there.name, "account": "alice"},
    }
    path = f"{pair.here.path}/payouts"
    for ledgers, status in (([pair.here.name], 403), ([pair.here.name, pair.there.name], 202)):
        client = keys.client("poster", ledgers=ledgers)
        answer = client.post(path, json=body, headers={"Idempotency-Key": uuid4().hex})
        assert answer.status_code == status, answer.text


def test_a_dry_run_moves_nothing(pair: Pair) -> None:
    destination = {"ledger": pair.there.name, "account": "alice"}
    body = {"account": "alice", "amount": 40, "provider": "bridge", "destination": destination}
    headers = {"Idempotency-Key": uuid4().hex}
    answer = pair.here.client.post(f"{pair.here.path}/payouts?dry_run=true", json=body, headers=headers)
    assert answer.status_code == 202
    assert pair.here.amounts("alice") == (0, 100, 0, 0)
    assert pair.here.client.get(f"{pair.here.path}/payouts/{answer.json()['id']}").status_code == 404


def test_nobody_calls_back_for_a_ledger(pair: Pair) -> None:
    with httpx2.Client(base_url=pair.here.client.base_url, trust_env=False, verify=False) as client:
        answer = client.post("/v1/providers/bridge/callbacks", json={"type": "payout.completed", "data": {}})
    assert answer.status_code == 404


def test_the_trace_shows_both_ledgers_to_whom_both_were_granted(pair: Pair, keys: Keys) -> None:
    key = uuid4().hex
    made = pair.send(40, key).json()
    pair.here.await_payout(made["id"], *ENDS)
    path, there = f"{pair.here.path}/operations/{key}/trace", f"{pair.there.name}/"
    of_conversation = f"{pair.here.path}/trace?correlation_id={made['correlation_id']}"
    for trace in (path, of_conversation):
        told = pair.here.client.get(trace).json()
        moments = [moment for moment in told["timeline"] if moment["subject"].startswith(there)]
        topics = [moment["words"].partition(",")[0] for moment in moments]
        assert topics == [
            "account.opened",
            "account.entries_posted",
            "account.entries_posted",
            "transaction.posted",
        ]
        assert told["verdict"]["code"] == "payout_completed"
        times = [moment["time"] for moment in told["timeline"] if moment["time"]]
        assert times == sorted(times)
        partly = keys.client("auditor", ledgers=[pair.here.name]).get(trace).json()
        assert not any(moment["subject"].startswith(there) for moment in partly["timeline"])
