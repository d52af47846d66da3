"""HEAD on every path that has GET: the same answer without its body."""

import re
import socket
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

from api.resources import ENDPOINTS
from tests.contract.answers import code_of
from tests.contract.books import Book
from tests.contract.callers import Keys
from tests.contract.serving import KEY, Served
from tests.projecting import eventually

GETS = [endpoint for endpoint in ENDPOINTS if endpoint.declared.method == "GET"]
NOT_GETS = sorted({endpoint.path for endpoint in ENDPOINTS} - {endpoint.path for endpoint in GETS})
CONVERSATION = {
    "Correlation-Id": "a-conversation-of-one-length",
    "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
}
# Measured values, and so the length of the answer, change from one request to the next.
CHANGING = (
    "/metrics",
    "/v1/projections",
    "/v1/projections/{name}",
    "/v1/stuck",
    "/v1/installations",
    "/v1/audit/checkpoint",
    "/v1/ledgers/{ledger}/operations/{key}/trace",
)


def named(path: str, book: Book) -> str:
    names = {
        "ledger": book.name,
        "address": "a",
        "id": book.id_of("k"),
        "key": "k",
        "name": "balances",
        "code": "insufficient_funds",
        "asset": "start.js",
        "delivery": "1",
        "provider": "simulator",
        "size": "1",
    }
    return re.sub(r"{(\w+)}", lambda found: names[found[1]], path)


def shown(answer: httpx2.Response, *without: str) -> dict[str, Any]:
    changing = ("date", "ledger-head", "ledger-position", *without)
    return {name: value for name, value in answer.headers.items() if name not in changing}


QUERIES: dict[str, dict[str, int | str]] = {
    "/v1/ledgers/{ledger}/trace": {"correlation_id": "x"},
    "/v1/audit/proofs/inclusion": {"position": 1, "size": 1},
    "/v1/audit/proofs/consistency": {"from": 1, "to": 1},
}


@pytest.fixture
def shelf(book: Book) -> Book:
    """A book with a transaction that every list shows."""
    position = int(book.transfer("a", "b", 1, "k").headers["ledger-position"])

    def is_everywhere() -> bool:
        seen = book.client.get("/v1/projections").json()["data"]
        return all(projection["position"] >= position for projection in seen)

    eventually(is_everywhere)
    return book


@pytest.mark.parametrize("endpoint", GETS, ids=lambda endpoint: endpoint.declared.operation_id)
def test_it_is_as_get_without_the_body(shelf: Book, endpoint: Any) -> None:
    path, query = named(endpoint.path, shelf), QUERIES.get(endpoint.path, {})
    got, head = (
        shelf.client.request(method, path, params=query, headers=CONVERSATION) for method in ("GET", "HEAD")
    )
    assert (head.status_code, head.content) == (got.status_code, b"")
    without = ["content-length"] if endpoint.path in CHANGING else []
    assert shown(head, *without) == shown(got, *without)
    assert "content-length" in head.headers and "content-type" in head.headers
    assert {name for name in head.headers if name.startswith("ledger-")} == {
        name for name in got.headers if name.startswith("ledger-")
    }


def test_most_of_them_find_something(book: Book) -> None:
    """The test above would prove little if most paths found nothing."""
    book.transfer("a", "b", 1, "k")
    found = [book.client.head(named(endpoint.path, book)).status_code for endpoint in GETS]
    assert found.count(200) > len(found) * 2 // 3


@pytest.mark.parametrize("path", NOT_GETS)
def test_it_is_refused_where_get_is(book: Book, path: str) -> None:
    answer = book.client.head(named(path, book))
    assert (answer.status_code, answer.content) == (405, b"")
    assert "HEAD" not in answer.headers["allow"]


@pytest.mark.parametrize("path", sorted({endpoint.path for endpoint in GETS}))
def test_allow_names_it(book: Book, path: str) -> None:
    answer = book.client.request("PURGE", named(path, book))
    assert (answer.status_code, code_of(answer)) == (405, "method_not_allowed")
    methods = {endpoint.declared.method for endpoint in ENDPOINTS if endpoint.path == path}
    assert answer.headers["allow"] == ", ".join(sorted({*methods, "HEAD"}))


@pytest.mark.parametrize(
    ("path", "status"),
    [("/v1/ledgers", 401), ("/v1/ledgers/main", 401), ("/metrics", 401), ("/nothing", 404)],
)
def test_refusals_are_those_of_get(keys: Keys, path: str, status: int) -> None:
    client = keys.client_with(None)
    got, head = (client.request(method, path, headers=CONVERSATION) for method in ("GET", "HEAD"))
    assert (head.status_code, head.content, shown(head)) == (status, b"", shown(got))


def test_what_is_known_is_not_shown_again(book: Book) -> None:
    tag = book.account("a").headers["etag"]
    answer = book.client.head(f"{book.path}/accounts/a", headers={"If-None-Match": tag})
    assert (answer.status_code, answer.headers["etag"]) == (304, tag)


def test_a_list_of_it_has_a_next_page_and_waits(book: Book) -> None:
    position = int(book.transfer("a", "b", 1).headers["ledger-position"])
    answer = book.client.head(f"{book.path}/accounts", params={"page_size": 1, "min_position": position})
    assert answer.status_code == 200 and int(answer.headers["ledger-position"]) >= position
    beyond = f"{book.path}/accounts?min_position={position + 10_000_000}"
    answer = book.client.head(beyond, headers={"Prefer": "wait=0"})
    assert answer.status_code == 503 and "retry-after" in answer.headers
    assert book.client.head(f"{book.path}/accounts?limit=1").status_code == 422


def test_no_part_of_a_stream_is_made(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("a line was made")

    monkeypatch.setattr("api.resources.journal.event_routes.event_body", never)
    answer = book.client.head(f"{book.path}/events", headers={"Accept": "application/x-ndjson"})
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert answer.headers["ledger-position"] == answer.headers["ledger-head"]


def test_the_connection_goes_on_with_the_next_answer(served: Served, book: Book) -> None:
    address = urlsplit(served.url)
    paths = [f"{book.path}/accounts/a", f"{book.path}/events", "/nothing", "/docs", "/openapi.json", "/livez"]
    asked = [
        f"HEAD {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nAccept: application/x-ndjson\r\n"
        f"{'Connection: close' if path == '/livez' else 'X: y'}\r\n\r\n"
        for path in paths
    ]
    with socket.create_connection((address.hostname or "", address.port or 80), timeout=10) as connection:
        connection.sendall("".join(asked).encode())
        received = b""
        while part := connection.recv(65536):
            received += part
    *heads, rest = received.split(b"\r\n\r\n")
    assert rest == b""
    assert [head.split(b" ")[1] for head in heads] == [b"200", b"200", b"404", b"200", b"200", b"200"]
    assert all(head.startswith(b"HTTP/1.1 ") for head in heads)
