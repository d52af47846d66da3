"""Payouts over HTTP, with the simulator as provider (api/README.md, Payouts)."""

from typing import Any
from uuid import uuid4

import httpx2
import pytest

from scripts.simulator.faults import Script
from scripts.simulator.server import Simulator
from tests.contract.answers import code_of, pointers_of
from tests.contract.books import Book
from tests.contract.callers import Keys
from tests.contract.journals import Journal
from tests.contract.payouts.destinations import QUIET

CLEARING = "providers:simulator:USD"
ENDS = ("completed", "failed", "stuck")


@pytest.fixture
def bank(book: Book) -> Book:
    """A ledger in which Alice has 100 and may not go below zero."""
    book.open("cash", normal_side="debit")
    book.open("alice", min_balance=0)
    assert book.transfer("cash", "alice", 100).status_code == 201
    return book


def destined(simulator: Simulator, **script: Any) -> dict[str, str]:
    """A new destination, with a script that says what goes wrong."""
    destination = {"iban": uuid4().hex}
    simulator.faults.follow(Script(destination=dict(destination), **script))
    return destination


def paid(simulator: Simulator, payout: dict[str, Any]) -> dict[str, Any] | None:
    """The payout in the provider's own books."""
    found = [line for line in simulator.books.shown() if line["key"] == payout["provider_key"]]
    assert len(found) <= 1
    return found[0] if found else None


def test_it_is_accepted_with_its_funds_held_then_paid(
    bank: Book, nothing_paid: Journal, simulator: Simulator
) -> None:
    body: dict[str, Any] = {
        "destination": {"iban": "1", "lines": [1, None]},
        "reference": "w",
        "metadata": {"k": "v"},
    }
    answer = bank.pay_out(40, "p%1", **body)
    assert answer.status_code == 202
    shown = answer.json()
    id = bank.id_of("p%1")
    step = {
        "state": "accepted",
        "event": "accepted",
        "source": None,
        "detail": "",
        "actor": "bootstrap",
        "time": shown["accepted_at"],
        "position": shown["position"],
    }
    assert shown == {
        "id": id,
        "ledger": bank.name,
        "account": "alice",
        "amount": 40,
        "asset": "USD/2",
        "provider": "simulator",
        **body,
        "state": "accepted",
        "provider_key": shown["provider_key"],
        "provider_reference": "",
        "hold_id": id,
        "transaction_id": None,
        "attempts": 0,
        "due_at": shown["accepted_at"],
        "accepted_at": shown["accepted_at"],
        "ended_at": None,
        "history": [step],
        "rejection": None,
        "idempotency_key": "p%1",
        "correlation_id": answer.headers["correlation-id"],
        "actor": "bootstrap",
        "version": 1,
        "position": shown["position"],
    }
    assert answer.headers["ledger-position"] == str(shown["position"])
    assert answer.headers["location"] == f"{bank.path}/payouts/{id}"
    assert int(answer.headers["retry-after"]) >= 1
    assert bank.amounts("alice") == (0, 100, 40, 0)
    assert bank.amounts(CLEARING) == (0, 0, 0, 40)
    assert bank.account(CLEARING).json()["normal_side"] == "debit"
    hold = bank.transaction(id).json()
    assert (hold["kind"], hold["status"], hold["idempotency_key"]) == ("hold", "pending", "p%1")
    assert bank.operation("p%251").json()["state"] == "accepted"
    assert paid(simulator, shown) is None
    read = bank.client.get(answer.headers["location"])
    assert (read.json(), read.headers["etag"]) == (shown, '"1"')
    known = {"If-None-Match": '"1"'}
    assert bank.client.get(answer.headers["location"], headers=known).status_code == 304

    nothing_paid.resume("payouts")
    done = bank.await_payout(id, *ENDS)
    assert done["state"] == "completed"
    assert [step["event"] for step in done["history"]][:3] == ["accepted", "submitted", "completed"]
    assert done["history"][0] == step
    assert (done["attempts"], done["due_at"]) == (1, None)
    assert bank.amounts("alice") == (40, 100, 0, 0)
    assert bank.amounts(CLEARING) == (0, 40, 0, 0)
    settlement = bank.transaction(done["transaction_id"]).json()
    assert (settlement["kind"], settlement["related"]["settles"]) == ("settlement", id)
    assert settlement["correlation_id"] == shown["correlation_id"]
    in_books = paid(simulator, shown)
    assert in_books is not None
    assert in_books["submissions"] == 1
    assert in_books["correlation_id"] == shown["correlation_id"]
    assert in_books["traceparent"] == answer.headers["traceparent"]
    operation = bank.operation("p%251").json()
    assert (operation["state"], operation["resource"]) == ("completed", answer.headers["location"])
    assert operation["completed_at"] == done["ended_at"]

    again = bank.pay_out(40, "p%1", **body)
    assert (again.status_code, again.json()) == (202, shown)
    assert again.headers["idempotent-replayed"] == "true"
    assert again.headers["ledger-position"] == str(shown["position"])
    later = nothing_paid.after(shown["position"])
    events = [event for event in later if event["stream"].startswith(f"{bank.name}/")]
    assert {event["correlation_id"] for event in events} == {shown["correlation_id"]}
    assert {event["traceparent"] for event in events} == {answer.headers["traceparent"]}
    assert {event["actor"] for event in events} == {"tallystick", "provider:simulator"}


def test_what_fails_gives_the_funds_back(bank: Book, simulator: Simulator) -> None:
    made = bank.pay_out(40, destination=destined(simulator, outcome="failed")).json()
    done = bank.await_payout(made["id"], *ENDS)
    assert done["state"] == "failed"
    assert bank.transaction(made["id"]).json()["status"] == "voided"
    assert bank.transaction(done["transaction_id"]).json()["kind"] == "void"
    assert bank.amounts("alice") == (0, 100, 0, 0)
    shown = bank.operation(made["idempotency_key"]).json()
    assert (shown["state"], shown["outcome"]) == ("completed", "failed")


def test_a_rule_refuses_it_and_that_is_the_answer_for_ever(bank: Book) -> None:
    body: dict[str, Any] = {"destination": {}}
    answer = bank.pay_out(101, "k", **body)
    assert (answer.status_code, code_of(answer)) == (409, "insufficient_funds")
    problem = answer.json()
    assert problem["transaction_id"] == bank.id_of("k")
    assert bank.transaction(bank.id_of("k")).json()["status"] == "rejected"
    shown = bank.payout(bank.id_of("k"))
    assert (shown["state"], shown["rejection"]["code"]) == ("rejected", "insufficient_funds")
    operation = bank.operation("k").json()
    assert (operation["state"], operation["problem"]) == ("rejected", problem)
    bank.transfer("cash", "alice", 100)
    again = bank.pay_out(101, "k", **body)
    assert (again.status_code, again.json()) == (409, problem)
    assert again.headers["idempotent-replayed"] == "true"


def test_a_key_is_one_request_whatever_it_asks_for(bank: Book) -> None:
    assert bank.pay_out(40, "k", destination={}).status_code == 202
    assert code_of(bank.pay_out(41, "k", destination={})) == "idempotency_key_reused"
    assert code_of(bank.transfer("alice", "cash", 1, "k")) == "idempotency_key_reused"
    (result,) = bank.batch({"idempotency_key": "k", "void": bank.id_of("k")}).json()["results"]
    assert result["problem"]["code"] == "idempotency_key_reused"
    assert bank.transfer("alice", "cash", 1, "t").status_code == 201
    assert code_of(bank.pay_out(40, "t")) == "idempotency_key_reused"


def test_its_hold_is_no_clients_to_end(bank: Book, nothing_paid: Journal) -> None:
    id = bank.pay_out().json()["id"]
    assert code_of(bank.settle(id)) == "hold_reserved"
    assert code_of(bank.void(id)) == "hold_reserved"
    assert bank.amounts("alice") == (0, 100, 40, 0)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"provider": "nobody"}, "/provider"),
        ({"provider": "No One"}, "/provider"),
        ({"amount": 0}, "/amount"),
        ({"amount": "1"}, "/amount"),
        ({"account": "a b"}, "/account"),
        ({"account": "cash"}, "/account"),
        ({"destination": []}, "/destination"),
        ({"destination": None}, "/destination"),
        ({"destination": {"x": "y" * 9000}}, "/destination"),
        ({"destination": {"x": [2**53]}}, "/destination"),
        ({"destination": {"x": {"y": 0.5}}}, "/destination"),
        ({"reference": "x" * 256}, "/reference"),
        ({"metadata": {"k": 1}}, "/metadata/k"),
        ({"extra": 1}, "/extra"),
    ],
)
def test_what_has_not_the_shape_is_refused_where_it_has_not(bank: Book, body: Any, pointer: str) -> None:
    answer = bank.pay_out(**{"amount": 1, "key": "k", **body})
    assert answer.status_code == 422
    assert pointers_of(answer) == [pointer]
    assert code_of(bank.operation("k")) == "operation_unknown"


def test_what_is_missing_is_said(bank: Book) -> None:
    body = {"account": "alice", "amount": 1, "provider": "simulator", "destination": {}}
    assert code_of(bank.client.post(f"{bank.path}/payouts", json=body)) == "idempotency_key_missing"
    headers = {"Idempotency-Key": "k"}
    for name in body:
        rest = {key: value for key, value in body.items() if key != name}
        assert pointers_of(bank.client.post(f"{bank.path}/payouts", json=rest, headers=headers)) == [
            f"/{name}"
        ]
    assert code_of(bank.pay_out(account="nobody")) == "account_not_found"
    assert code_of(Book(bank.client, "nowhere").pay_out()) == "ledger_not_found"
    assert code_of(bank.client.get(f"{bank.path}/payouts/x")) == "payout_not_found"
    for verb in ("reconcile", "complete", "fail"):
        assert code_of(bank.resolve(verb, "x")) == "payout_not_found"


def test_a_dry_run_says_what_would_be_and_does_nothing(bank: Book) -> None:
    body = {"account": "alice", "amount": 40, "provider": "simulator", "destination": {}}
    path, headers = f"{bank.path}/payouts?dry_run=true", {"Idempotency-Key": "k"}
    answer = bank.client.post(path, json=body, headers=headers)
    assert (answer.status_code, answer.json()["state"], answer.json()["id"]) == (
        202,
        "accepted",
        bank.id_of("k"),
    )
    refused = bank.client.post(path, json={**body, "amount": 101}, headers=headers)
    assert code_of(refused) == "insufficient_funds"
    assert bank.amounts("alice") == (0, 100, 0, 0)
    assert code_of(bank.account(CLEARING)) == "account_not_found"
    assert code_of(bank.operation("k")) == "operation_unknown"


@pytest.mark.parametrize("outcome", ["completed", "failed"])
@pytest.mark.parametrize("fault", ["drop_before", "error_before", "drop_after", "error_after"])
def test_no_answer_is_no_failure_but_doubt(
    bank: Book, simulator: Simulator, fault: str, outcome: str
) -> None:
    destination = destined(simulator, faults=[fault], outcome=outcome, lose=True)
    made = bank.pay_out(destination=destination).json()
    done = bank.await_payout(made["id"], *ENDS)
    assert done["state"] == outcome
    states = [step["state"] for step in done["history"]]
    assert "in_doubt" in states
    in_books = paid(simulator, made)
    assert in_books is not None
    assert in_books["outcome"] == outcome
    assert in_books["submissions"] == done["attempts"] == (1 if fault.endswith("after") else 2)
    assert bank.amounts("alice")[2] == 0


def test_an_inquiry_without_an_answer_is_made_again(bank: Book, simulator: Simulator) -> None:
    made = bank.pay_out(
        destination=destined(simulator, faults=["drop_after"], lose=True, ask_errors=1)
    ).json()
    done = bank.await_payout(made["id"], *ENDS)
    assert done["state"] == "completed"
    unanswered = [step["source"] for step in done["history"] if step["event"] == "unanswered"]
    assert unanswered == ["submission", "inquiry"]


def test_a_provider_that_is_too_slow_is_asked_and_keeps_nobody_waiting(
    bank: Book, simulator: Simulator
) -> None:
    slow = bank.pay_out(10, destination=destined(simulator, faults=["stall"], lose=True)).json()
    quick = bank.pay_out(10).json()
    assert bank.await_payout(quick["id"], *ENDS)["state"] == "completed"
    done = bank.await_payout(slow["id"], *ENDS)
    assert (done["state"], done["attempts"]) == ("completed", 1)
    assert any(step["event"] == "unanswered" for step in done["history"])


def test_what_takes_its_time_is_in_progress_until_a_callback_comes(bank: Book, simulator: Simulator) -> None:
    made = bank.pay_out(destination=destined(simulator, delay_seconds=0.5, duplicate=True)).json()
    done = bank.await_payout(made["id"], *ENDS)
    assert done["state"] == "completed"
    assert bank.amounts("alice") == (40, 100, 0, 0)


def test_a_provider_that_lies_once_is_stuck_until_an_operator_resolves_it(
    bank: Book, simulator: Simulator
) -> None:
    made = bank.pay_out(destination=destined(simulator, lie=True)).json()
    stuck = bank.await_payout(made["id"], "stuck")
    assert "completed, after failed" in stuck["history"][-1]["detail"]
    assert stuck["ended_at"] is None
    assert bank.operation(made["idempotency_key"]).json()["state"] == "reconciling"
    assert bank.amounts("alice") == (0, 100, 0, 0)
    done = bank.resolve("complete", made["id"], "the statement shows it").json()
    assert (done["state"], done["history"][-1]["detail"]) == ("completed", "the statement shows it")
    assert (done["history"][-1]["source"], done["history"][-1]["actor"]) == ("operator", "bootstrap")
    assert bank.amounts("alice") == (40, 100, 0, 0)
    assert bank.transaction(done["transaction_id"]).json()["kind"] == "posting"


def test_another_amount_is_stuck_with_the_funds_held(bank: Book, simulator: Simulator) -> None:
    made = bank.pay_out(destination=destined(simulator, wrong_amount=True)).json()
    stuck = bank.await_payout(made["id"], "stuck")
    assert "another amount" in next(step["detail"] for step in stuck["history"] if step["state"] == "stuck")
    assert bank.amounts("alice") == (0, 100, 40, 0)
    assert bank.resolve("fail", made["id"]).json()["state"] == "failed"
    assert bank.amounts("alice") == (0, 100, 0, 0)


def test_operators_end_what_has_not_ended_once(bank: Book, nothing_paid: Journal) -> None:
    first, second = (bank.pay_out().json()["id"] for _ in range(2))
    assert bank.resolve("complete", first).json()["state"] == "completed"
    assert bank.resolve("fail", second).json()["state"] == "failed"
    ended = [bank.payout(id) for id in (first, second)]
    assert bank.resolve("complete", first).status_code == 200
    assert bank.resolve("fail", second).status_code == 200
    assert code_of(bank.resolve("fail", first)) == "payout_ended"
    assert code_of(bank.resolve("complete", second)) == "payout_ended"
    assert [bank.payout(id) for id in (first, second)] == ended
    assert pointers_of(bank.resolve("fail", first, "")) == ["/reason"]
    assert bank.amounts("alice") == (40, 100, 0, 0)


def test_what_is_in_doubt_is_failed_by_those_alone_who_confirm_that_it_was_not_paid(
    bank: Book, simulator: Simulator
) -> None:
    made = bank.pay_out(destination=destined(simulator, faults=["drop_before"], ask_errors=1000)).json()
    bank.await_payout(made["id"], "in_doubt")
    position = bank.payout(made["id"])["position"]
    refused = bank.resolve("fail", made["id"], "I think so")
    assert (refused.status_code, code_of(refused), pointers_of(refused)) == (
        422,
        "invalid_request",
        ["/confirm"],
    )
    assert "may have left" in refused.json()["errors"][0]["detail"]
    for wrong in ("paid", "", True, "NOT_PAID"):
        assert pointers_of(bank.resolve("fail", made["id"], confirm=wrong)) == ["/confirm"]
    # Only `fail` takes `confirm`: completing a payout confirms nothing.
    assert pointers_of(bank.resolve("complete", made["id"], confirm="not_paid")) == ["/confirm"]
    assert (bank.payout(made["id"])["state"], bank.amounts("alice")[2]) == ("in_doubt", 40)
    assert bank.payout(made["id"])["position"] >= position
    failed = bank.resolve("fail", made["id"], "the statement shows it", confirm="not_paid").json()
    assert (failed["state"], failed["history"][-1]["detail"]) == ("failed", "the statement shows it")
    assert bank.amounts("alice") == (0, 100, 0, 0)
    # Failing it again changes nothing, confirmed or not.
    assert bank.resolve("fail", made["id"]).status_code == 200


def test_reconciling_asks_the_provider(bank: Book, simulator: Simulator) -> None:
    made = bank.pay_out(destination=destined(simulator, outcome="failed", lose=True)).json()
    bank.await_payout(made["id"], "failed")
    answer = bank.resolve("reconcile", made["id"], "the customer asks")
    assert answer.status_code == 200
    asked: list[str] = []

    def is_reported() -> bool:
        asked[:] = [step["event"] for step in bank.payout(made["id"])["history"]]
        return asked[-1] == "reported"

    from tests.projecting import eventually

    eventually(is_reported)
    assert asked[-2:] == ["reconciliation_requested", "reported"]
    assert bank.payout(made["id"])["state"] == "failed"
    assert bank.payout(made["id"])["due_at"] is None


def test_who_may_do_what(bank: Book, keys: Keys, nothing_paid: Journal) -> None:
    id = bank.pay_out().json()["id"]
    for role, statuses in {"client": (200, 403), "auditor": (200, 403), "operator": (200, 200)}.items():
        client = Book(keys.client(role, ledgers=[bank.name]), bank.name)
        assert client.client.get(f"{bank.path}/payouts/{id}").status_code == statuses[0]
        assert client.resolve("reconcile", id).status_code == statuses[1]


class TestTheList:
    @pytest.fixture
    def made(self, bank: Book) -> list[dict[str, Any]]:
        """Payouts of two accounts that the provider never reports. The last one was refused."""
        bank.open("bob")
        wanted = ((10, "alice"), (20, "bob"), (30, "alice"), (500, "alice"))
        asked = [bank.pay_out(amount, account=account, destination=QUIET) for amount, account in wanted]
        ids = [bank.id_of(answer.request.headers["Idempotency-Key"]) for answer in asked]
        for id in ids:
            bank.await_payout(id, "completed", "rejected")
        return [bank.payout(id) for id in ids]

    def listed(self, bank: Book, **query: Any) -> list[str]:
        found: list[str] = []
        position = bank.client.get(bank.path).headers["ledger-position"]
        query |= {"min_position": position, "page_size": 1}
        while True:
            page = bank.client.get(f"{bank.path}/payouts", params=query)
            assert page.status_code == 200, page.text
            found += [payout["id"] for payout in page.json()["data"]]
            if (cursor := page.json()["next_cursor"]) is None:
                return found
            query["cursor"] = cursor

    def test_they_are_listed_as_they_are_read(self, bank: Book, made: list[dict[str, Any]]) -> None:
        position = bank.client.get(bank.path).headers["ledger-position"]
        page = bank.client.get(f"{bank.path}/payouts", params={"min_position": position}).json()
        assert page["next_cursor"] is None
        assert page["data"] == [bank.payout(payout["id"]) for payout in made]

    def test_by_state_account_and_provider(self, bank: Book, made: list[dict[str, Any]]) -> None:
        ids = [payout["id"] for payout in made]
        assert self.listed(bank) == ids
        assert self.listed(bank, order="desc") == ids[::-1]
        assert self.listed(bank, state="completed") == ids[:3]
        assert self.listed(bank, state="rejected") == ids[3:]
        assert self.listed(bank, state="stuck") == []
        assert self.listed(bank, account="alice") == [ids[0], *ids[2:]]
        assert self.listed(bank, account="alice", state="completed", order="desc") == [ids[2], ids[0]]
        assert self.listed(bank, provider="simulator", state="") == ids
        assert self.listed(bank, provider="other") == []

    def test_what_is_no_filter_is_refused(self, bank: Book) -> None:
        for query in ({"state": "x"}, {"account": "a b"}, {"provider": "No"}, {"page_size": 0}, {"x": "1"}):
            answer = bank.client.get(f"{bank.path}/payouts", params=query)
            assert pointers_of(answer) == [f"?{next(iter(query))}"]
        assert code_of(bank.client.get(f"{bank.path}/payouts?cursor=x")) == "cursor_invalid"


def test_the_client_is_told_where_it_is(bank: Book) -> None:
    answer: httpx2.Response = bank.pay_out()
    assert bank.client.get(answer.headers["location"]).json()["id"] == answer.json()["id"]
