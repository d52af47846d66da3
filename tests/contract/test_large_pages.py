"""Pages of what is large: they end where they are large enough, lose nothing, and take no more memory than that."""

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from psycopg import Connection, Cursor

from api.http.pages import PAGE_BYTES
from projections.engine.live_version import FETCHED_ROWS, Page, Rows
from projections.read_models.balances import list_accounts
from projections.read_models.event_history import list_events
from projections.read_models.transaction_list import list_transactions
from tests.contract.books import Book
from tests.contract.serving import KEY, Served, serving
from tests.databases import Databases
from tests.projecting import eventually

MANY = 60
ENTRIES = 400
METADATA = {f"key_{number}": "x" * 512 for number in range(50)}
A, B = (":".join([name * 62] * 4) for name in "ab")
"""Addresses of 251 characters."""


@pytest.fixture(scope="module")
def large(databases: Databases) -> Iterator[tuple[Served, Book]]:
    """A service of this module alone, whose transactions, events and accounts are large."""
    with serving(databases) as served, served.client() as client:
        assert client.post("/v1/ledgers", json={"name": "main"}).status_code == 201
        book = Book(client, "main")
        for address in (A, B):
            book.open(address)
        for number in range(4 * MANY):
            book.open(f"users:{number}", metadata=METADATA)
        entries = [
            {"account": account, "direction": direction, "amount": 1}
            for account, direction in ((A, "debit"), (B, "credit"))
            for _ in range(ENTRIES // 2)
        ]
        position = 0
        for _ in range(MANY // 20):
            batch = [{"idempotency_key": uuid4().hex, "entries": entries} for _ in range(20)]
            path = f"{book.path}/transactions/batch"
            answer = client.post(path, json={"mode": "atomic", "transactions": batch}, timeout=60)
            assert answer.status_code == 200
            position = int(answer.headers["ledger-position"])
        eventually(lambda: _reached(client) >= position)
        yield served, book


def _reached(client: httpx2.Client) -> int:
    positions: list[int] = [each["position"] for each in client.get("/v1/projections").json()["data"]]
    return min(positions)


def pages(client: httpx2.Client, path: str, **query: Any) -> Iterator[list[dict[str, Any]]]:
    """The pages of a list, each as large as it may be."""
    cursor: str | None = ""
    while cursor is not None:
        answer = client.get(
            path, params={"page_size": 1000, **query, **({"cursor": cursor} if cursor else {})}
        )
        assert answer.status_code == 200 and len(answer.content) < PAGE_BYTES + 10_000
        page = answer.json()
        yield page["data"]
        cursor = page["next_cursor"]


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize(
    ("path", "name", "count"), [("transactions", "id", MANY), ("accounts", "address", 4 * MANY + 2)]
)
def test_a_page_ends_where_it_is_large_enough(
    large: tuple[Served, Book], path: str, name: str, count: int, order: str
) -> None:
    _, book = large
    found = list(pages(book.client, f"{book.path}/{path}", order=order))
    names = [item[name] for page in found for item in page]
    assert len(names) == len(set(names)) == count
    assert len(found) >= 2 and all(len(page) > 10 for page in found[:-1])


def test_events_are_the_same_on_pages_and_in_a_stream(large: tuple[Served, Book]) -> None:
    _, book = large
    path = f"{book.path}/events"
    found = [event["position"] for page in pages(book.client, path) for event in page]
    with book.client.stream("GET", path, headers={"Accept": "application/x-ndjson"}) as streamed:
        assert [json.loads(line)["position"] for line in streamed.iter_lines()] == found
    assert found == list(range(2, found[-1] + 1))  # the first is of the bootstrap key


@contextmanager
def unread(served: Served, book: Book, path: str, accept: str) -> Iterator[None]:
    """A request for what is large, whose answer has begun and is not read."""
    host, port = served.url.removeprefix("http://").split(":")
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect((host, int(port)))
        head = (
            f"GET {book.path}/{path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nAccept: {accept}"
        )
        connection.sendall(f"{head}\r\n\r\n".encode())
        assert connection.recv(12).startswith(b"HTTP/1.1 200")
        yield


@pytest.mark.parametrize(
    ("path", "accept"), [("transactions?page_size=1000", "*/*"), ("events", "application/x-ndjson")]
)
def test_answers_that_nobody_reads_are_bounded(
    large: tuple[Served, Book], path: str, accept: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    served, book = large
    monkeypatch.setattr("api.service.body_room.MAX_ANSWER_BYTES_OF_ONE", 5 * 1024**2)
    monkeypatch.setattr("api.service.body_room.MAX_ANSWER_BYTES", 8 * 1024**2)
    made = book.client.post("/v1/keys", json={"name": uuid4().hex, "roles": ["client"], "ledgers": ["main"]})

    def ask(client: httpx2.Client) -> httpx2.Response:
        return client.get(f"{book.path}/{path}", headers={"Accept": accept})

    with unread(served, book, path, accept), ExitStack() as more:
        if accept != "*/*":
            more.enter_context(unread(served, book, path, accept))
        refused = ask(book.client)
        assert (refused.status_code, refused.json()["code"]) == (503, "overloaded")
        assert book.account("users:1").status_code == 200
        with served.client(made.json()["key"]) as other:
            assert ask(other).status_code == 200
    eventually(lambda: ask(book.client).status_code == 200)


class Counted(Cursor[Any]):
    """A cursor that counts how many bytes it was given."""

    fetched_bytes = 0

    def fetchall(self) -> list[Any]:
        rows = super().fetchall()
        Counted.fetched_bytes += sum(
            len(value) for row in rows for value in row if isinstance(value, str | bytes | memoryview)
        )
        return rows


LARGEST = {"transactions": 120_000, "accounts": 60_000, "events": 130_000}


@pytest.mark.parametrize("listed", LARGEST)
def test_what_does_not_fit_is_not_fetched(large: tuple[Served, Book], listed: str) -> None:
    served, _ = large
    most_bytes = 1024**2
    with served.database.connect("test reader") as connection:
        connection.cursor_factory = Counted
        Counted.fetched_bytes = 0
        rows = _first_page(connection, listed, most_bytes).rows
    assert isinstance(rows, Rows) and rows.ends_early and rows.size_bytes >= most_bytes
    # Events are measured by the server, a chunk of theirs is bounded by itself.
    at_once = 4 * most_bytes if listed == "events" else FETCHED_ROWS * LARGEST[listed]
    assert most_bytes <= Counted.fetched_bytes < most_bytes + at_once + LARGEST[listed]


def _first_page(connection: Connection[Any], listed: str, most_bytes: int) -> Page[Any]:
    if listed == "transactions":
        return list_transactions(connection, "main", limit=1001, most_bytes=most_bytes)
    if listed == "accounts":
        return list_accounts(connection, "main", prefix="users", limit=1001, most_bytes=most_bytes)
    return list_events(connection, "main", limit=1001, most_bytes=most_bytes)
