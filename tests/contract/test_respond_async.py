"""`Prefer: respond-async`: accepted durably, carried out by a worker, reported under operations."""

from typing import Any

import httpx2
import pytest

from tests.contract.answers import code_of, pointers_of
from tests.contract.books import Book, transfer_body
from tests.contract.journals import Journal, await_time, soon
from tests.projecting import eventually


def accept(book: Book, key: str, body: Any = None, **headers: str) -> httpx2.Response:
    """Request a transaction that is carried out later."""
    return book.post(body or transfer_body(), key, **{"Prefer": "respond-async", **headers})


def await_completion(book: Book, key: str) -> dict[str, Any]:
    """Wait until a request is carried out and return its outcome."""
    eventually(lambda: book.operation(key).json()["state"] != "accepted")
    shown: dict[str, Any] = book.operation(key).json()
    return shown


def test_it_is_accepted_then_carried_out_as_if_it_had_been_at_once(book: Book, nothing_due: Journal) -> None:
    before = nothing_due.head()
    body = {**transfer_body(), "reference": "r", "metadata": {"k": "v"}}
    answer = accept(book, "k%1", body, **{"Correlation-Id": "c"})
    assert answer.status_code == 202
    shown = answer.json()
    assert shown == {
        "idempotency_key": "k%1",
        "state": "accepted",
        "retry": "unnecessary",
        "resource": f"{book.path}/transactions/{book.id_of('k%1')}",
        "request_fingerprint": shown["request_fingerprint"],
        "accepted_at": shown["accepted_at"],
        "completed_at": None,
        "correlation_id": "c",
        "position": int(answer.headers["ledger-position"]),
        "outcome": None,
        "problem": None,
    }
    assert shown["position"] == nothing_due.head() == before + 1
    assert answer.headers["location"] == f"{book.path}/operations/k%251"
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.headers["preference-applied"] == "respond-async"
    assert "idempotent-replayed" not in answer.headers

    read = book.client.get(answer.headers["location"])
    assert (read.status_code, read.json()) == (200, shown)
    missing = book.client.get(shown["resource"])
    assert (missing.status_code, code_of(missing)) == (404, "transaction_not_found")
    assert book.amounts("a") == (0, 0, 0, 0)

    for again in (accept(book, "k%1", body), book.post(body, "k%1")):
        assert (again.status_code, again.content) == (202, answer.content)
        assert again.headers["idempotent-replayed"] == "true"
        assert again.headers["ledger-position"] == answer.headers["ledger-position"]
        assert again.headers["location"] == answer.headers["location"]
        assert int(again.headers["retry-after"]) >= 1
    assert code_of(accept(book, "k%1")) == "idempotency_key_reused"
    for verb in ("settle", "void", "reverse"):
        assert code_of(book.act(verb, book.id_of("k%1"))) == "transaction_not_found"
    assert nothing_due.head() == before + 1

    nothing_due.resume("due")
    eventually(lambda: book.client.get(answer.headers["location"]).json()["state"] == "completed")
    made = book.client.get(shown["resource"]).json()
    assert made.items() >= {**body, "status": "posted", "correlation_id": "c", "actor": "bootstrap"}.items()
    assert made["version"] == 2
    done = book.client.get(answer.headers["location"]).json()
    assert done == {
        **shown,
        "state": "completed",
        "completed_at": made["recorded_at"],
        "position": made["position"],
    }
    assert done["completed_at"] > done["accepted_at"] == shown["accepted_at"]
    assert book.amounts("a") == (10, 0, 0, 0)
    for again in (accept(book, "k%1", body), book.post(body, "k%1")):
        assert (again.status_code, again.json()) == (201, made)
        assert again.headers["idempotent-replayed"] == "true"
        assert again.headers["ledger-position"] == str(made["position"])
        assert again.headers["location"] == shown["resource"]
        assert again.headers["etag"] == '"2"'
    events = nothing_due.after(before)
    assert [event["type"] for event in events] == [
        "transaction.accepted",
        "account.entries_posted",
        "account.entries_posted",
        "transaction.posted",
    ]
    for name, value in (("correlation_id", "c"), ("traceparent", answer.headers["traceparent"])):
        assert {event[name] for event in events} == {value}
    assert {event["idempotency_key"] for event in events} == {"k%1"}


def test_a_rule_refuses_it_when_it_is_carried_out(book: Book, nothing_due: Journal) -> None:
    book.open("poor", min_balance=0)
    body = transfer_body("poor", "b", 10)
    assert accept(book, "k", body).status_code == 202
    nothing_due.resume("due")
    shown = await_completion(book, "k")
    assert (shown["state"], shown["problem"]["code"]) == ("rejected", "insufficient_funds")
    book.transfer("a", "poor", 100)
    again = accept(book, "k", body)
    assert (again.status_code, again.headers["idempotent-replayed"]) == (409, "true")
    assert again.json() == shown["problem"]
    rejected = book.transaction(again.json()["transaction_id"]).json()
    assert (rejected["id"], rejected["status"]) == (book.id_of("k"), "rejected")
    assert shown["completed_at"] == rejected["recorded_at"]
    assert shown["position"] == rejected["position"] == int(again.headers["ledger-position"])


def test_what_holds_then_is_judged_then(book: Book, nothing_due: Journal) -> None:
    book.open("poor", min_balance=0)
    accept(book, "k", transfer_body("poor", "b", 10))
    book.transfer("a", "poor", 100)
    nothing_due.resume("due")
    assert await_completion(book, "k")["state"] == "completed"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 422, "invalid_request"),
        (transfer_body(amount="1"), 422, "invalid_request"),
        (transfer_body("a", "nobody"), 404, "account_not_found"),
        (
            {"entries": [*transfer_body()["entries"], transfer_body()["entries"][0]]},
            422,
            "unbalanced_transaction",
        ),
        (
            {**transfer_body(), "pending": True, "expires_at": "2020-01-01T00:00:00Z"},
            422,
            "invalid_request",
        ),
    ],
)
def test_what_can_never_be_is_refused_at_once(book: Book, body: Any, status: int, code: str) -> None:
    headers = {"Idempotency-Key": "k", "Prefer": "respond-async"}
    answer = book.client.post(f"{book.path}/transactions", json=body, headers=headers)
    assert (answer.status_code, code_of(answer)) == (status, code)
    assert code_of(book.operation("k")) == "operation_unknown"


def test_a_hold_is_made_and_settled_later(book: Book, nothing_due: Journal) -> None:
    accept(book, "h", {**transfer_body(), "pending": True, "expires_at": "2126-01-01T00:00:00Z"})
    nothing_due.resume("due")
    assert await_completion(book, "h")["state"] == "completed"
    made = book.transaction(book.id_of("h")).json()
    assert (made["kind"], made["status"], made["version"]) == ("hold", "pending", 2)
    assert book.settle(made["id"]).status_code == 201


def test_a_hold_that_was_accepted_expires_too(book: Book) -> None:
    accept(book, "h", {**transfer_body(), "pending": True, "expires_at": soon()})
    eventually(lambda: book.transaction(book.id_of("h")).json().get("status") == "expired")
    assert book.amounts("a") == (0, 0, 0, 0)


def test_a_hold_whose_time_was_over_before_it_was_made_is_refused(book: Book, nothing_due: Journal) -> None:
    expires_at = soon()
    body = {**transfer_body(), "pending": True, "expires_at": expires_at}
    assert accept(book, "h", body).status_code == 202
    await_time(expires_at)
    assert accept(book, "h", body).status_code == 202
    nothing_due.resume("due")
    shown = await_completion(book, "h")
    assert (shown["state"], shown["problem"]["code"]) == ("rejected", "hold_expired")
    assert accept(book, "h", body).status_code == 409
    assert book.amounts("a") == (0, 0, 0, 0)


@pytest.mark.parametrize(
    ("prefer", "status"),
    [
        ("respond-async", 202),
        ("Respond-Async", 202),
        ("wait=5, respond-async", 202),
        ("respond-async; x=1, wait=10", 202),
        ("respond-asynchronously", 201),
        ("wait=5", 201),
        ("return=minimal", 201),
    ],
)
def test_it_is_a_preference_among_others(book: Book, prefer: str, status: int) -> None:
    answer = book.post(transfer_body(), "k", Prefer=prefer)
    assert answer.status_code == status
    await_completion(book, "k")


@pytest.mark.parametrize("verb", ["settle", "void", "reverse"])
def test_of_other_requests_it_is_not_heeded(book: Book, verb: str) -> None:
    named = (book.transfer if verb == "reverse" else book.hold)("a", "b", 1).json()
    headers = {"Idempotency-Key": "k", "Prefer": "respond-async"}
    answer = book.client.post(f"{book.path}/transactions/{named['id']}/{verb}", json={}, headers=headers)
    assert answer.status_code == 201


def test_what_was_done_at_once_is_answered_so(book: Book) -> None:
    first = book.transfer("a", "b", 10, "k")
    again = accept(book, "k")
    assert (again.status_code, again.content) == (201, first.content)
    assert again.headers["idempotent-replayed"] == "true"


def test_its_key_is_known_to_batches(book: Book, nothing_due: Journal) -> None:
    accepted = accept(book, "k")
    item = {"idempotency_key": "k", **transfer_body()}
    waiting = book.batch(item)
    assert waiting.headers["idempotent-replayed"] == "true"
    assert waiting.headers["ledger-position"] == accepted.headers["ledger-position"]
    (result,) = waiting.json()["results"]
    assert result == {"status": 202, "replayed": True, "operation": accepted.json()}
    assert code_of(book.batch({**item, "pending": True}, mode="atomic")) == "batch_rejected"
    nothing_due.resume("due")
    await_completion(book, "k")
    (result,) = book.batch(item).json()["results"]
    assert (result["status"], result["replayed"]) == (201, True)
    assert result["transaction"] == book.transaction(book.id_of("k")).json()


def test_keys_are_needed_and_ledgers_are_there(book: Book) -> None:
    headers = {"Prefer": "respond-async"}
    answer = book.client.post(f"{book.path}/transactions", json=transfer_body(), headers=headers)
    assert code_of(answer) == "idempotency_key_missing"
    assert code_of(accept(Book(book.client, "nowhere"), "k")) == "ledger_not_found"
    assert pointers_of(accept(book, "k", {**transfer_body(), "x": 1})) == ["/x"]
    assert code_of(accept(book, "a b")) == "idempotency_key_invalid"
