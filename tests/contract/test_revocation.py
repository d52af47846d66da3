"""A key is revoked during a request that uses it: nothing more is shown and nothing more is accepted."""

import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from time import monotonic, sleep
from typing import Any
from uuid import uuid4

import httpx2
import pytest

from api.resources.journal import event_routes
from api.service import key_cache
from api.service.key_cache import KNOWN_FOR_SECONDS
from projections.read_models import event_history
from tests.contract.answers import code_of
from tests.contract.books import Book
from tests.contract.callers import Keys
from tests.contract.serving import KEY, Served
from tests.projecting import eventually

LONGER_SECONDS = KNOWN_FOR_SECONDS + 0.2


def test_a_stream_ends_where_it_is(
    served: Served, book: Book, keys: Keys, client: httpx2.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(5):
        book.transfer("a", "b", 1)
    revoked, asked_again = threading.Event(), threading.Event()
    original, calls = event_history.list_events, []

    def held(*arguments: Any, **more: Any) -> Any:
        """Read the first part at once and the others after the key is revoked."""
        calls.append(1)
        if len(calls) > 1:
            asked_again.set()
            assert revoked.wait(20)
        return original(*arguments, **more)

    monkeypatch.setattr(event_routes, "STREAMED_EVENTS", 3)
    monkeypatch.setattr(event_history, "list_events", held)
    made = keys.make("auditor", ledgers=[book.name])
    reader = httpx2.Client(
        base_url=served.url, headers={"Authorization": f"Bearer {made['key']}"}, trust_env=False
    )
    seen: list[str] = []
    with (
        reader,
        reader.stream("GET", f"{book.path}/events", headers={"Accept": "application/x-ndjson"}) as answer,
    ):
        lines = answer.iter_lines()
        seen += [next(lines) for _ in range(3)]
        assert asked_again.wait(20)
        assert client.delete(f"/v1/keys/{made['id']}").status_code == 204
        revoked.set()
        with pytest.raises(httpx2.RemoteProtocolError):
            seen += lines
    assert len(seen) == 3


def test_who_waits_is_shown_nothing_that_came_after(book: Book, keys: Keys, client: httpx2.Client) -> None:
    made = keys.make("auditor", ledgers=[book.name])
    reader = keys.client_with(made["key"])
    head = int(book.transfer("a", "b", 1).headers["ledger-position"])
    path = f"{book.path}/accounts/a/entries?min_position={head + 1}"
    with ThreadPoolExecutor(1) as waiting:
        answer = waiting.submit(reader.get, path, headers={"Prefer": "wait=20"})
        sleep(0.2)
        # The revocation is recorded too, so the head passes the awaited position.
        assert book.client.post("/v1/projections/entries/pause", json={}).status_code == 200
        try:
            assert client.delete(f"/v1/keys/{made['id']}").status_code == 204
            sleep(LONGER_SECONDS)
        finally:
            assert book.client.post("/v1/projections/entries/resume", json={}).status_code == 200
        book.transfer("a", "b", 1)
        shown = answer.result()
    assert (shown.status_code, code_of(shown)) == (401, "unauthenticated")


def test_a_body_that_comes_slowly_is_not_taken_any_more(
    served: Served, book: Book, keys: Keys, client: httpx2.Client
) -> None:
    made = keys.make("client", ledgers=[book.name])
    body = json.dumps({"address": "late", "asset": "USD/2", "normal_side": "credit"}).encode()
    head = (
        f"POST {book.path}/accounts HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {made['key']}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    host, _, port = served.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), 20) as connection:
        connection.sendall(head.encode() + body[:10])
        sleep(LONGER_SECONDS)
        assert client.delete(f"/v1/keys/{made['id']}").status_code == 204
        connection.sendall(body[10:])
        assert connection.recv(65_536).startswith(b"HTTP/1.1 401 ")
    assert book.account("late").status_code == 404


def test_what_was_accepted_before_is_answered(book: Book, keys: Keys, client: httpx2.Client) -> None:
    made = keys.make("poster", ledgers=[book.name])
    poster = Book(keys.client_with(made["key"]), book.name)
    key = uuid4().hex
    assert poster.transfer("a", "b", 1, key).status_code == 201
    client.delete(f"/v1/keys/{made['id']}")
    assert poster.transfer("a", "b", 1, key).status_code == 401
    assert book.operation(key).json()["state"] == "completed"


def test_another_process_believes_it_for_a_second_at_most(
    served: Served, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Revoked at a terminal, so this process is not notified."""
    monkeypatch.setattr(key_cache, "KNOWN_FOR_SECONDS", 0.3)
    made = keys.make("auditor", ledgers=["main"])
    reader = keys.client_with(made["key"])
    assert reader.get("/v1/ledgers").status_code == 200
    with served.database.connect("test") as connection:
        connection.execute("UPDATE api_keys SET revoked_at = now() WHERE id = %s", (made["id"],))
    began = monotonic()
    eventually(lambda: reader.get("/v1/ledgers").status_code == 401)
    assert monotonic() - began < 10


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (f"Bearer {KEY}", 200),
        (f"BEARER {KEY}", 200),
        (f"Bearer   {KEY}", 200),
        (f"Bearer {KEY} {KEY}", 401),
        (f"Bearer {KEY}, Bearer {KEY}", 401),
        (f"Bearer\t{KEY}", 401),
        (f"Bearer{KEY}", 401),
        (f"Bearer {KEY[:20]} {KEY[20:]}", 401),
        (f"Bearer {KEY}\xa0", 401),
        (f"Bearer {KEY}\x85", 401),
        (f"Bearer {KEY.upper()}", 401),
        ("Bearer " + "k" * 10_240, 401),
        ("Bearer \xff\xfe\xfd", 401),
        ("Bearer tk_ключ", 401),
        ("Token " + KEY, 401),
        (f'Bearer "{KEY}"', 401),
    ],
)
def test_how_a_key_is_sent(keys: Keys, header: str, status: int) -> None:
    client = keys.client_with(None)
    try:
        sent = header.encode("latin-1")
    except UnicodeEncodeError:
        sent = header.encode()
    client.headers = httpx2.Headers([(b"Authorization", sent)])
    answer = client.get("/v1/keys")
    assert answer.status_code == status
    if status == 401:
        assert code_of(answer) == "unauthenticated"
        assert answer.headers["www-authenticate"].startswith("Bearer ")


@pytest.mark.parametrize("order", [1, -1])
def test_of_two_headers_neither_counts(keys: Keys, order: int) -> None:
    """Neither the first nor the last header, because a proxy may have checked the other."""
    headers = [("Authorization", f"Bearer {KEY}"), ("Authorization", "Bearer tk_of_nobody")][::order]
    answer = keys.client_with(None).get("/v1/keys", headers=headers)
    assert (answer.status_code, code_of(answer)) == (401, "unauthenticated")
