"""What every answer carries, whatever the request: conversation, position, problems."""

import re
from typing import Any

import httpx2
import pytest
import structlog
from structlog.testing import capture_logs

from tests.contract.answers import code_of
from tests.contract.books import Book, transfer_body
from tests.contract.callers import Keys
from tests.contract.journals import Journal
from tests.contract.serving import Served

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


@pytest.mark.parametrize("given", ["a", "order:1/é".replace("é", "~"), "x" * 128])
def test_a_correlation_id_is_accepted_stored_and_returned(book: Book, given: str) -> None:
    answer = book.post({"entries": []}, **{"Correlation-Id": given})
    assert answer.headers["correlation-id"] == given == answer.json()["correlation_id"]


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, "é", "a\tb"])
def test_an_invalid_correlation_id_is_replaced(book: Book, given: str) -> None:
    headers = httpx2.Headers([(b"Correlation-Id", given.encode())])
    answer = book.client.get(book.path, headers=headers)
    assert answer.status_code == 200
    assert UUID.fullmatch(answer.headers["correlation-id"])


def test_a_repeated_correlation_id_is_replaced(book: Book) -> None:
    answer = book.client.get(book.path, headers=[("Correlation-Id", "a"), ("Correlation-Id", "b")])
    assert UUID.fullmatch(answer.headers["correlation-id"])


@pytest.mark.parametrize("given", [TRACE, "01-" + TRACE[3:] + "-more", TRACE[:-2] + "00"])
def test_a_trace_context_is_accepted_and_returned(client: httpx2.Client, given: str) -> None:
    assert client.get("/livez", headers={"traceparent": given}).headers["traceparent"] == given


@pytest.mark.parametrize(
    "given",
    ["", "nonsense", TRACE.upper(), "ff" + TRACE[2:], TRACE + "-more", f"00-{'0' * 32}-00f067aa0ba902b7-01"],
)
def test_an_invalid_trace_context_is_replaced(client: httpx2.Client, given: str) -> None:
    made = client.get("/livez", headers={"traceparent": given}).headers["traceparent"]
    assert made != given
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", made)


UNKNOWN_PATHS = [
    "/",
    "/v1",
    "/v2/ledgers",
    "/v1/ledgers/",
    "/v1/ledgers/main/accounts/",
    "/v1/ledgers/main/nothing",
    "/v1/ledgers/main/accounts/a/nothing",
    "/%00",
    "/docs/nothing.js",
    "/docs/..%2Fapp.py",
    "/problems/nothing",
]


@pytest.mark.parametrize("path", UNKNOWN_PATHS)
def test_unknown_paths_need_no_key(keys: Keys, path: str) -> None:
    answer = keys.client_with(None).get(path)
    assert (answer.status_code, code_of(answer)) == (404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/v1/ledgers", "GET, HEAD, POST"),
        ("PUT", "/v1/ledgers/main/accounts/a", "GET, HEAD, PATCH"),
        ("GET", "/v1/ledgers/main/transactions/batch", "POST"),  # there is no transaction with the id `batch`
        ("POST", "/livez", "GET, HEAD"),
        ("OPTIONS", "/v1/keys", "GET, HEAD, POST"),
        ("TRACE", "/v1/keys/x", "DELETE"),
    ],
)
def test_methods_that_a_path_does_not_have(keys: Keys, method: str, path: str, allowed: str) -> None:
    answer = keys.client_with(None).request(method, path)
    assert (answer.status_code, code_of(answer)) == (405, "method_not_allowed")
    assert answer.headers["allow"] == allowed


def test_what_recorded_nothing_states_the_newest_position(book: Book) -> None:
    newest = int(book.transfer("a", "b", 1).headers["ledger-position"])
    for answer in (
        book.account("nobody"),
        book.post({}),
        book.client.patch(f"{book.path}/accounts/a", json={}),
        book.client.post("/v1/ledgers", json={"name": book.name}),
        book.transfer("a", "nobody", 1),
    ):
        assert int(answer.headers["ledger-position"]) == newest


def test_positions_have_no_gaps(book: Book) -> None:
    before = int(book.transfer("a", "b", 1).headers["ledger-position"])
    assert int(book.transfer("a", "b", 1).headers["ledger-position"]) == before + 3


def test_every_event_carries_the_conversation_and_the_last_of_them_is_the_position(
    book: Book, journal: Journal
) -> None:
    holds = [book.hold("a", "b", 5).json()["id"] for _ in range(2)]
    posted = book.transfer("a", "b", 5).json()["id"]
    requests: list[tuple[str, str, dict[str, Any]]] = [
        ("POST", "/accounts", {"address": "c", "asset": "EUR/2", "normal_side": "debit"}),
        ("PATCH", "/accounts/c", {"min_balance": -5, "metadata": {"k": "v"}}),
        ("POST", "/accounts/c/freeze", {}),
        ("POST", "/accounts/c/unfreeze", {}),
        ("POST", "/accounts/c/close", {}),
        ("POST", "/transactions", transfer_body()),
        ("POST", "/transactions", {**transfer_body(), "pending": True}),
        ("POST", f"/transactions/{holds[0]}/settle", {"amount": 1}),
        ("POST", f"/transactions/{holds[1]}/void", {}),
        ("POST", f"/transactions/{holds[1]}/settle", {}),
        ("POST", f"/transactions/{posted}/reverse", {"amount": 1}),
    ]
    for number, (method, path, body) in enumerate(requests):
        before = journal.head()
        headers = {"Correlation-Id": f"c-{number}", "traceparent": TRACE, "Idempotency-Key": f"k-{number}"}
        answer = book.client.request(method, book.path + path, json=body, headers=headers)
        assert answer.status_code in (200, 201, 409), answer.text
        events = journal.after(before)
        assert answer.headers["ledger-position"] == str(events[-1]["position"]) == str(journal.head())
        assert {event["correlation_id"] for event in events} == {f"c-{number}"}
        assert {event["traceparent"] for event in events} == {answer.headers["traceparent"]}
        assert {event["actor"] for event in events} == {"bootstrap"}
        is_keyed = "transactions" in path
        assert {event["idempotency_key"] for event in events} == {f"k-{number}" if is_keyed else None}


def test_a_fault_of_ours_shows_nothing_of_itself(
    served: Served, book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("SELECT secret FROM somewhere")

    monkeypatch.setattr("domain.application.LedgerApplication.ledger", fail)
    # Whatever was logged before in this process, this logger is made now.
    monkeypatch.setattr("api.http.middleware._log", structlog.get_logger())
    with capture_logs() as logged:
        answer = book.client.get(book.path, headers={"Correlation-Id": "find-me"})
    assert (answer.status_code, code_of(answer)) == (500, "internal_error")
    assert "secret" not in answer.text
    (fault,) = [line for line in logged if line["event"] == "fault"]
    assert fault["correlation_id"] == "find-me"
    assert "SELECT secret" in str(fault["exc_info"])
