"""Traces over HTTP: what happened to a request, wherever it left something, and what is safe to do."""

from typing import Any
from uuid import uuid4

import httpx2
import pytest

from scripts.simulator.server import Simulator
from tests.contract.answers import code_of
from tests.contract.books import Book, transfer_body
from tests.contract.callers import Keys
from tests.contract.journals import Journal, soon
from tests.contract.serving import Served
from tests.projecting import eventually


def trace(book: Book, key: str) -> dict[str, Any]:
    answer = book.client.get(f"{book.path}/operations/{key}/trace")
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    assert int(answer.headers["ledger-position"]) == body["position"] == body["head"]
    times = [moment["time"] for moment in body["timeline"] if moment["time"]]
    assert times == sorted(times)
    assert all(body["verdict"][words] for words in ("what_happened", "safe_to_do", "why"))
    return body


def conversation(book: Book, **options: Any) -> dict[str, Any]:
    answer = book.client.get(f"{book.path}/trace", **options)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def kinds(body: dict[str, Any]) -> list[str]:
    return [moment["kind"] for moment in body["timeline"]]


def of_kind(body: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [moment for moment in body["timeline"] if moment["kind"] == kind]


def await_reached(book: Book, key: str) -> dict[str, Any]:
    """The trace, once every projection shows the request. The broker's is left out, because there is no broker."""

    def is_so() -> bool:
        shown = trace(book, key)["projections"]
        return all(each["reached"] == "reached" for each in shown if each["name"] != "nats")

    eventually(is_so)
    return trace(book, key)


def test_a_posting_is_traced_from_its_request_to_its_projections(book: Book) -> None:
    made = book.transfer("a", "b", 10, "order-1")
    body = await_reached(book, "order-1")
    (operation,) = body["operations"]
    assert {**operation, "verdict": None} == {**book.operation("order-1").json(), "verdict": None}
    assert body["verdict"]["code"] == operation["verdict"]["code"] == "posted"
    assert body["verdict"]["remedy"] == "nothing"
    assert body["idempotency_key"] == "order-1"
    assert body["correlation_id"] == made.headers["correlation-id"]
    position = made.json()["position"]
    recorded = of_kind(body, "event_recorded")
    assert [(moment["position"], moment["subject"]) for moment in recorded] == [
        (position - 2, f"{book.name}/accounts/a"),
        (position - 1, f"{book.name}/accounts/b"),
        (position, f"{book.name}/transactions/{book.id_of('order-1')}"),
    ]
    assert kinds(body)[0] == "request_accepted"
    (decided,) = of_kind(body, "request_decided")
    assert (decided["position"], decided["actor"]) == (position, "bootstrap")
    reached = {moment["subject"]: moment["position"] for moment in of_kind(body, "projection_reached")}
    assert {"projections/balances", "projections/entries", "projections/due"} <= reached.keys()
    assert min(reached.values()) >= position


def test_a_key_that_is_unknown_may_be_sent(book: Book) -> None:
    answer = book.client.get(f"{book.path}/operations/unknown/trace")
    assert (answer.status_code, code_of(answer)) == (404, "operation_unknown")
    assert answer.json()["retry"] == "safe"
    assert book.client.get("/v1/ledgers/no-such/operations/x/trace").status_code == 404


def test_a_refusal_is_final(book: Book) -> None:
    book.open("poor", min_balance=0)
    assert book.transfer("poor", "b", 1, "order-1").status_code == 409
    body = trace(book, "order-1")
    assert (body["verdict"]["code"], body["verdict"]["remedy"]) == ("rejected", "use_new_key")
    (refused,) = of_kind(body, "request_refused")
    assert "insufficient_funds" in refused["words"]


def test_replays_are_counted_and_mismatches_beside_them(book: Book, keys: Keys) -> None:
    body = transfer_body(amount=1)
    other = Book(keys.client("client", ledgers=[book.name]), book.name)
    for asking in (book, book, book, other):
        assert asking.post(body, "order-1").status_code == 201
    assert book.batch({"idempotency_key": "order-1", **body}).json()["results"][0]["replayed"]
    assert code_of(book.transfer("a", "b", 2, "order-1")) == "idempotency_key_reused"
    headers = {"Idempotency-Key": "order-1"}
    dry = book.client.post(f"{book.path}/transactions?dry_run=true", json=body, headers=headers)
    assert dry.status_code == 201
    eventually(lambda: kinds(trace(book, "order-1")).count("key_mismatched") == 1)
    eventually(lambda: kinds(trace(book, "order-1")).count("request_replayed") == 2)
    shown = trace(book, "order-1")
    replayed = {moment["actor"]: moment["words"] for moment in of_kind(shown, "request_replayed")}
    assert "3 times since" in replayed["bootstrap"]
    assert "once" in replayed[keys.last_name]
    (mismatched,) = of_kind(shown, "key_mismatched")
    assert (mismatched["actor"], mismatched["subject"]) == ("bootstrap", "order-1")
    assert mismatched["position"] == shown["operations"][0]["position"]
    assert shown["verdict"]["concerns"][0]["code"] == "key_mismatched"


def test_a_conversation_is_found_by_the_correlation_id_of_a_retry(book: Book) -> None:
    book.transfer("a", "b", 10, "order-1")
    retry = f"retry-{uuid4().hex}"
    assert book.post(transfer_body(), "order-1", **{"Correlation-Id": retry}).status_code == 201
    eventually(lambda: bool(conversation(book, params={"correlation_id": retry})["operations"]))
    shown = conversation(book, params={"correlation_id": retry})
    assert [operation["idempotency_key"] for operation in shown["operations"]] == ["order-1"]
    assert shown["verdict"]["code"] == "posted"


def test_all_of_a_conversation_is_found_with_one_call(book: Book) -> None:
    talk = {"Correlation-Id": f"talk-{uuid4().hex}"}
    book.open("poor", min_balance=0)
    body = {"address": "c", "asset": "USD/2", "normal_side": "credit"}
    assert book.client.post(f"{book.path}/accounts", json=body, headers=talk).status_code == 201
    for key, debited in (("one", "a"), ("two", "poor"), ("three", "a")):
        book.post({**transfer_body(debited), "pending": key == "three"}, key, **talk)
    shown = conversation(book, params={"correlation_id": talk["Correlation-Id"]})
    codes = {operation["idempotency_key"]: operation["verdict"]["code"] for operation in shown["operations"]}
    assert codes == {"one": "posted", "two": "rejected", "three": "hold_pending"}
    assert shown["verdict"]["code"] == "some_unfinished"
    assert len(of_kind(shown, "event_recorded")) == 1 + 3 + 1 + 3


def test_a_conversation_of_which_nothing_is_recorded(book: Book) -> None:
    shown = conversation(book, params={"correlation_id": "nobody-said-this"})
    assert (shown["timeline"], shown["operations"], shown["projections"]) == ([], [], [])
    assert (shown["verdict"]["code"], shown["verdict"]["remedy"]) == ("nothing_recorded", "send_again")


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({}, "is missing"),
        ({"correlation_id": ""}, "must not be empty"),
        ({"correlation_id": "x" * 129}, "must be at most 128 visible ASCII characters"),
        ({"correlation_id": "a b"}, "must be at most 128 visible ASCII characters"),
    ],
)
def test_a_conversation_has_to_be_named(book: Book, params: dict[str, str], words: str) -> None:
    talk = {"Correlation-Id": "this-request-itself"}
    answer = book.client.get(f"{book.path}/trace", params=params, headers=talk)
    assert (answer.status_code, code_of(answer)) == (422, "invalid_request")
    assert answer.json()["errors"] == [{"pointer": "?correlation_id", "detail": words}]


def test_the_document_says_that_a_conversation_has_to_be_named(served: Served) -> None:
    operation = served.checked.document["paths"]["/v1/ledgers/{ledger}/trace"]["get"]
    (parameter,) = [shown for shown in operation["parameters"] if shown["in"] == "query"]
    assert (parameter["name"], parameter["required"], parameter["schema"]["minLength"]) == (
        "correlation_id",
        True,
        1,
    )


def test_what_is_said_of_another_ledger_is_not_shown(book: Book, client: httpx2.Client) -> None:
    talk = {"Correlation-Id": f"talk-{uuid4().hex}"}
    other = f"l{uuid4().hex[:12]}"
    assert client.post("/v1/ledgers", json={"name": other}, headers=talk).status_code == 201
    shown = conversation(book, params={"correlation_id": talk["Correlation-Id"]})
    assert shown["verdict"]["code"] == "nothing_recorded"
    assert other not in str(shown)


def test_an_accepted_request_waits_and_is_carried_out(book: Book, nothing_due: Journal) -> None:
    accepted = book.post(transfer_body(), "order-1", Prefer="respond-async")
    assert accepted.status_code == 202
    body = trace(book, "order-1")
    assert (body["verdict"]["code"], body["verdict"]["remedy"]) == ("request_waiting", "wait")
    assert "projection_paused" in [concern["code"] for concern in body["verdict"]["concerns"]]
    assert kinds(body)[0] == "request_accepted" and "request_decided" not in kinds(body)
    nothing_due.resume("due")
    eventually(lambda: trace(book, "order-1")["verdict"]["code"] == "posted")
    body = trace(book, "order-1")
    assert of_kind(body, "request_accepted")[0]["position"] == accepted.json()["position"]
    assert len(of_kind(body, "event_recorded")) == 4


def test_a_hold_is_followed_to_its_end(book: Book, nothing_due: Journal) -> None:
    book.hold("a", "b", 10, "pending")
    book.hold("a", "b", 10, "settled")
    book.settle(book.id_of("settled"), {"amount": 4}, "settlement")
    book.hold("a", "b", 10, "voided")
    book.void(book.id_of("voided"), key="void")
    book.hold("a", "b", 10, "lapsing", expires_at=soon(0.5))
    book.transfer("a", "b", 5, "posted")
    book.reverse(book.id_of("posted"), {"amount": 2}, "reversal")
    eventually(lambda: trace(book, "lapsing")["verdict"]["code"] == "hold_lapsed")
    codes = {
        key: trace(book, key)["verdict"]["code"]
        for key in ("pending", "settled", "settlement", "voided", "void", "posted", "reversal")
    }
    assert codes == {
        "pending": "hold_pending",
        "settled": "hold_settled",
        "settlement": "posted",
        "voided": "hold_voided",
        "void": "hold_released",
        "posted": "partly_reversed",
        "reversal": "posted",
    }
    # The event that ended it is shown with what it did to the accounts.
    assert len(of_kind(trace(book, "settled"), "event_recorded")) == 6
    nothing_due.resume("due")
    eventually(lambda: trace(book, "lapsing")["verdict"]["code"] == "hold_expired")
    book.reverse(book.id_of("posted"), key="rest")
    assert trace(book, "posted")["verdict"]["code"] == "reversed"


def test_a_payout_is_traced_with_what_its_provider_said(book: Book, simulator: Simulator) -> None:
    book.open("alice", min_balance=0)
    book.transfer("a", "alice", 100)
    payout = book.pay_out(40, "payout").json()
    history = [step["position"] for step in book.await_payout(payout["id"], "completed")["history"]]
    body = trace(book, "payout")
    assert (body["verdict"]["code"], body["verdict"]["remedy"]) == ("payout_completed", "nothing")
    assert "provider_called" in kinds(body)
    assert {"provider_answered", "provider_called_back"} & set(kinds(body))
    recorded = {moment["position"] for moment in of_kind(body, "event_recorded")}
    assert set(history) <= recorded
    (decided,) = of_kind(body, "request_decided")
    assert decided["position"] in history


def test_deliveries_are_traced(book: Book) -> None:
    url = "https://93.184.216.34/x"
    registration = {"url": url, "ledgers": [book.name], "types": ["transaction.posted"]}
    hook = book.client.post("/v1/webhooks", json=registration).json()["id"]
    made = book.transfer("a", "b", 10, "order-1")
    eventually(lambda: "delivery_waiting" in kinds(trace(book, "order-1")))
    body = trace(book, "order-1")
    (waiting,) = of_kind(body, "delivery_waiting")
    assert (waiting["subject"], waiting["position"]) == (f"webhooks/{hook}", made.json()["position"])
    assert "delivery_waiting" in [concern["code"] for concern in body["verdict"]["concerns"]]
    # A client sees that somebody is notified, but not who.
    assert url not in str(body)
    book.client.delete(f"/v1/webhooks/{hook}")
    eventually(lambda: "delivery_suppressed" in kinds(trace(book, "order-1")))
    assert "delivery_waiting" not in kinds(trace(book, "order-1"))


@pytest.mark.parametrize("role", ["client", "auditor", "operator"])
def test_whoever_has_the_ledger_may_trace(book: Book, keys: Keys, role: str) -> None:
    book.transfer("a", "b", 10, "order-1")
    client = keys.client(role, ledgers=[book.name])
    assert client.get(f"{book.path}/operations/order-1/trace").status_code == 200
    assert client.get(f"{book.path}/trace?correlation_id=x").status_code == 200
