"""`?dry_run=true`: decided and answered as a real request would be, and nothing is recorded."""

from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from tests.contract.answers import code_of, pointers_of
from tests.contract.books import Book, transfer_body
from tests.contract.journals import Journal

Request = tuple[str, Any]
"""The path below the transactions, and the body."""


def posting(_: Book) -> Request:
    return "", transfer_body()


def hold(_: Book) -> Request:
    return "", {**transfer_body(), "pending": True, "expires_at": "2126-01-01T00:00:00Z"}


def settlement(book: Book) -> Request:
    return f"/{book.hold('a', 'b', 10).json()['id']}/settle", {"amount": 4}


def void(book: Book) -> Request:
    return f"/{book.hold('a', 'b', 10).json()['id']}/void", {}


def reversal(book: Book) -> Request:
    return f"/{book.transfer('a', 'b', 10).json()['id']}/reverse", {"amount": 4}


def refused_by_a_limit(book: Book) -> Request:
    book.open("poor", min_balance=0)
    return "", transfer_body("poor", "b")


def refused_by_a_hold(book: Book) -> Request:
    path, body = void(book)
    book.void(path.split("/")[1])
    return path, body


KINDS = [posting, hold, settlement, void, reversal, refused_by_a_limit, refused_by_a_hold]


def send(
    book: Book, request: Request, key: str | None = "k", dry_run: str | None = "true", **headers: str
) -> httpx2.Response:
    path, body = request
    query = {} if dry_run is None else {"dry_run": dry_run}
    headers |= {"Idempotency-Key": key} if key else {}
    return book.client.post(f"{book.path}/transactions{path}", json=body, headers=headers, params=query)


def without_time(body: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name not in ("recorded_at", "effective_at")}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_it_answers_as_it_would_and_records_nothing(
    book: Book, journal: Journal, kind: Callable[[Book], Request]
) -> None:
    request = kind(book)
    head, accounts = journal.head(), [book.account(address).json() for address in "ab"]
    tried = [send(book, request, **{"Correlation-Id": "c"}) for _ in range(2)]
    assert journal.head() == head
    assert [book.account(address).json() for address in "ab"] == accounts
    assert code_of(book.operation("k")) == "operation_unknown"
    assert book.transaction(book.id_of("k")).status_code == 404
    real = send(book, request, dry_run="false", **{"Correlation-Id": "c"})
    assert real.headers["ledger-position"] == str(journal.head())
    assert "dry-run" not in real.headers
    assert ("location" in real.headers) == (real.status_code == 201)
    for answer in tried:
        assert (answer.status_code, answer.headers["ledger-position"]) == (real.status_code, str(head))
        assert "idempotent-replayed" not in answer.headers
        assert answer.headers["dry-run"] == "true"
        assert "location" not in answer.headers
        assert without_time(answer.json()) == without_time(real.json())


def test_a_known_key_is_answered_as_before(book: Book) -> None:
    first = book.transfer("a", "b", 10, "k")
    again = send(book, ("", transfer_body("a", "b", 10)))
    assert (again.status_code, again.content) == (201, first.content)
    assert again.headers["idempotent-replayed"] == "true"
    assert again.headers["ledger-position"] == first.headers["ledger-position"]
    assert again.headers["dry-run"] == "true"
    assert "location" not in again.headers and "location" in first.headers
    assert code_of(send(book, ("", transfer_body("a", "b", 11)))) == "idempotency_key_reused"


@pytest.mark.parametrize(
    ("request_", "key", "code"),
    [
        (("", transfer_body("a", "nobody")), "k", "account_not_found"),
        (("", {**transfer_body(), "x": 1}), "k", "invalid_request"),
        (("/nonsense/void", {}), "k", "transaction_not_found"),
        (("", transfer_body()), None, "idempotency_key_missing"),
        (
            ("", {"entries": [*transfer_body()["entries"], transfer_body()["entries"][0]]}),
            "k",
            "unbalanced_transaction",
        ),
    ],
)
def test_what_cannot_be_is_refused(
    book: Book, journal: Journal, request_: Request, key: str | None, code: str
) -> None:
    head = journal.head()
    answer = send(book, request_, key)
    assert code_of(answer) == code
    # A request that could not be understood was not a dry run either.
    assert ("dry-run" in answer.headers) == (
        code in ("account_not_found", "transaction_not_found", "unbalanced_transaction")
    )
    assert answer.headers["ledger-position"] == str(head) == str(journal.head())


@pytest.mark.parametrize("value", ["1", "True", "yes", ""])
@pytest.mark.parametrize("path", ["", "/x/settle", "/x/void", "/x/reverse", "/batch"])
def test_it_is_true_or_false(book: Book, path: str, value: str) -> None:
    body = {"mode": "atomic", "transactions": [{"idempotency_key": "k", **transfer_body()}]}
    bodies = {"": transfer_body(), "/batch": body}
    assert pointers_of(send(book, (path, bodies.get(path, {})), dry_run=value)) == ["?dry_run"]


@pytest.mark.parametrize("mode", ["atomic", "independent"])
def test_a_batch_is_tried_out(book: Book, journal: Journal, mode: str) -> None:
    known = book.transfer("a", "b", 1, "known").json()
    head, account = journal.head(), book.account("a").json()
    items = [
        {"idempotency_key": "known", **transfer_body("a", "b", 1)},
        {"idempotency_key": "h", **transfer_body(), "pending": True},
        {"idempotency_key": "s", "settle": book.id_of("h"), "amount": 4},
        {"idempotency_key": "h", **transfer_body(), "pending": True},
    ]
    tried = book.batch(*items, mode=mode, params={"dry_run": "true"})
    assert tried.status_code == 200
    assert (journal.head(), book.account("a").json()) == (head, account)
    assert tried.headers["ledger-position"] == str(head)
    assert tried.headers["dry-run"] == "true"
    assert "idempotent-replayed" not in tried.headers
    results = tried.json()["results"]
    assert [result["status"] for result in results] == [201] * 4
    assert [result["replayed"] for result in results] == [True, False, False, True]
    assert results[0]["transaction"] == known
    assert results[2]["transaction"]["related"]["settles"] == book.id_of("h")
    for key in ("h", "s"):
        assert code_of(book.operation(key)) == "operation_unknown"
    real = book.batch(*items, mode=mode).json()["results"]
    for would_be, result in zip(results, real, strict=True):
        assert would_be["transaction"].keys() == result["transaction"].keys()
        for name in ("id", "kind", "status", "entries", "position", "related"):
            assert would_be["transaction"][name] == result["transaction"][name]


def test_a_batch_that_would_fail_in_part(book: Book, journal: Journal) -> None:
    head = journal.head()
    items = [
        {"idempotency_key": "x", **transfer_body()},
        {"idempotency_key": "y", **transfer_body("a", "nobody")},
        {"idempotency_key": "z", "void": "nonsense"},
    ]
    tried = book.batch(*items, params={"dry_run": "true"})
    assert [result["status"] for result in tried.json()["results"]] == [201, 404, 404]
    assert tried.headers["ledger-position"] == str(head) == str(journal.head())
    refused = book.batch(*items, mode="atomic", params={"dry_run": "true"})
    assert (refused.status_code, code_of(refused), refused.json()["index"]) == (409, "batch_rejected", 1)
    assert refused.headers["ledger-position"] == str(head)
    assert refused.headers["dry-run"] == "true"
    nothing = book.batch(*items[1:], params={"dry_run": "true"})
    assert nothing.headers["ledger-position"] == str(head) == str(journal.head())


def test_a_payout_is_tried_out(book: Book, journal: Journal) -> None:
    book.open("alice")
    head = journal.head()
    body = {"account": "alice", "amount": 4, "provider": "simulator", "destination": {}}
    path, headers = f"{book.path}/payouts", {"Idempotency-Key": "k"}
    tried = book.client.post(path, json=body, headers=headers, params={"dry_run": "true"})
    assert (tried.status_code, tried.headers["dry-run"], journal.head()) == (202, "true", head)
    assert "location" not in tried.headers
    made = book.client.post(path, json=body, headers=headers)
    assert made.headers["location"].endswith(tried.json()["id"]) and "dry-run" not in made.headers
    again = book.client.post(path, json=body, headers=headers, params={"dry_run": "true"})
    assert (again.headers["dry-run"], again.headers["idempotent-replayed"]) == ("true", "true")
    assert "location" not in again.headers
    book.await_payout(made.json()["id"], "completed")  # the assertions below count events


def test_asking_for_a_later_answer_makes_no_difference(book: Book, journal: Journal) -> None:
    head = journal.head()
    answer = send(book, ("", transfer_body()), Prefer="respond-async")
    # Of other ledgers something may be recorded meanwhile: the simulator calls back.
    recorded = [event for event in journal.after(head) if event["ledger"] == book.name]
    assert (answer.status_code, recorded) == (201, [])
