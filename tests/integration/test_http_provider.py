"""The HTTP adapter against a server that answers anything: only the provider's own words decide what it did."""

import base64
import gzip
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

import pytest

from domain.model.payouts.reports import Report
from projections.process_managers.providers.http import (
    MAX_ANSWER_BYTES,
    MAX_WORDS_LENGTH,
    HttpProvider,
    _credentials,
)
from projections.process_managers.providers.interface import NoAnswer, Order
from projections.process_managers.providers.settings import ProviderSettings, make_providers
from tests.simulating import free_port

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
ORDER = Order("main.id.nonce", 40, "USD/2", {"iban": "1"}, "w", "conversation-1", TRACE)
COMPLETED = {"key": ORDER.key, "state": "completed", "amount": 40, "asset": "USD/2"}

Conversation = Callable[[socket.socket, bytes], None]


@contextmanager
def answering(
    converse: Conversation, timeout_seconds: float = 10.0
) -> Iterator[tuple[HttpProvider, list[bytes]]]:
    """A provider whose server does with each connection what a test says, and the bytes it received."""
    received: list[bytes] = []

    def serve(listening: socket.socket) -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            with connection:
                request = b""
                while b"\r\n\r\n" not in request or not _is_whole(request):
                    if not (part := connection.recv(65536)):
                        break
                    request += part
                received.append(request)
                try:
                    converse(connection, request)
                except OSError:
                    continue  # the other side has given up

    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/api/"
        thread = threading.Thread(target=serve, args=(listening,), daemon=True)
        thread.start()
        settings = ProviderSettings.model_validate(
            {"url": url, "secret": SECRET, "api_key": "sk_secret", "timeout_seconds": timeout_seconds}
        )
        provider = HttpProvider(settings)
        try:
            yield provider, received
        finally:
            provider.close()
            listening.shutdown(socket.SHUT_RDWR)
    thread.join(10)


def _is_whole(request: bytes) -> bool:
    head, _, body = request.partition(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return len(body) >= (int(lengths[0].split(b":")[1]) if lengths else 0)


def saying(status: int, body: Any, headers: str = "") -> Conversation:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()

    def converse(connection: socket.socket, request: bytes) -> None:
        head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(data)}\r\nConnection: close\r\n{headers}\r\n"
        connection.sendall(head.encode() + data)

    return converse


def test_it_sends_the_order_under_its_key_and_tells_what_the_provider_says() -> None:
    said = {**COMPLETED, "reference": "tx-1", "detail": "done", "fee": 3}
    with answering(saying(200, said)) as (provider, received):
        assert provider.submit(ORDER) == Report("completed", 40, "USD/2", "done", "tx-1")
        assert provider.ask(ORDER) == Report("completed", 40, "USD/2", "done", "tx-1")
    submission, inquiry = received
    head, _, body = submission.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /api/payouts HTTP/1.1")
    assert json.loads(body) == {
        "key": ORDER.key,
        "amount": 40,
        "asset": "USD/2",
        "destination": {"iban": "1"},
        "reference": "w",
    }
    for sent in (head, inquiry):
        lines = sent.lower().split(b"\r\n")
        assert b"authorization: bearer sk_secret" in lines
        assert b"correlation-id: conversation-1" in lines
        assert f"traceparent: {TRACE}".encode() in lines
    assert b"idempotency-key: main.id.nonce" in head.lower().split(b"\r\n")
    assert inquiry.startswith(b"GET /api/payouts/main.id.nonce HTTP/1.1")


@pytest.mark.parametrize("status", [200, 201, 202, 402, 409, 422])
@pytest.mark.parametrize("state", ["processing", "completed", "failed"])
def test_what_it_says_of_the_payout_counts_whatever_the_status(state: str, status: int) -> None:
    with answering(saying(status, {"key": ORDER.key, "state": state})) as (provider, _):
        assert provider.submit(ORDER).verdict == state


def test_it_says_itself_that_it_never_heard_of_it() -> None:
    with answering(saying(404, {"key": ORDER.key, "state": "unknown"})) as (provider, _):
        assert provider.ask(ORDER) == Report("unknown")
        with pytest.raises(NoAnswer, match="just submitted"):
            provider.submit(ORDER)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, COMPLETED),
        (503, {**COMPLETED, "state": "failed"}),
        (429, {**COMPLETED, "state": "failed"}),
        (408, COMPLETED),
        (404, {}),
        (404, b"<html>no such page</html>"),
        (401, {"error": "unauthorized"}),
        (422, {"error": "what is that"}),
        (200, {}),
        (200, b""),
        (200, b"\xff\xfe"),
        (200, [COMPLETED]),
        (200, {**COMPLETED, "key": "another"}),
        (200, {**COMPLETED, "state": "paid"}),
        (200, {**COMPLETED, "amount": "40"}),
        (200, {**COMPLETED, "amount": 40.5}),
        (200, {**COMPLETED, "detail": "x" * MAX_ANSWER_BYTES}),
        (200, {**COMPLETED, "amount": 2**53}),
        (200, {**COMPLETED, "amount": -(10**400)}),
        (200, b'{"key": "main.id.nonce", "state": "failed", "state": "completed"}'),
        (200, b'{"key": "main.id.nonce", "state": "completed", "amount": ' + b"9" * 5000 + b"}"),
        (200, b'{"key": "main.id.nonce", "state": "completed", "amount": NaN}'),
        (200, b'{"key": "main.id.nonce", "state": "completed", "asset": "\\ud800"}'),
        (200, b"[" * 60_000),
        (200, json.dumps(COMPLETED).encode("utf-16")),
        (200, gzip.compress(json.dumps(COMPLETED).encode(), mtime=0)),
        (302, b""),
    ],
)
def test_anything_else_says_nothing(status: int, body: Any) -> None:
    with answering(saying(status, body, "Location: http://127.0.0.1:9/\r\n")) as (provider, _):
        for call in (provider.submit, provider.ask):
            with pytest.raises(NoAnswer):
                call(ORDER)


def hanging_up(connection: socket.socket, request: bytes) -> None:
    connection.shutdown(socket.SHUT_RDWR)


def hanging_up_in_the_middle(connection: socket.socket, request: bytes) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{")
    connection.shutdown(socket.SHUT_RDWR)


def saying_nothing(connection: socket.socket, request: bytes) -> None:
    connection.recv(1)


def talking_without_end(connection: socket.socket, request: bytes) -> None:
    connection.settimeout(0.1)
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        connection.sendall(b"1\r\n \r\n")
        try:
            if connection.recv(1) == b"":
                return
        except TimeoutError:
            continue


def dripping(said: bytes, drip: bytes) -> Conversation:
    """Send some bytes at once, then more and more, one soon after the other."""

    def converse(connection: socket.socket, request: bytes) -> None:
        connection.settimeout(0.05)
        connection.sendall(said)
        while True:
            connection.sendall(drip)
            try:
                if connection.recv(1) == b"":
                    return
            except TimeoutError:
                continue

    return converse


def speaking_another_language(connection: socket.socket, request: bytes) -> None:
    connection.sendall(b"220 mail.example.org ESMTP\r\n")


@pytest.mark.parametrize(
    "converse",
    [
        hanging_up,
        hanging_up_in_the_middle,
        saying_nothing,
        talking_without_end,
        speaking_another_language,
        dripping(b"HTTP/1.1 200 OK\r\n", b"A: b\r\n"),
        dripping(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        dripping(b"HTTP/1.1 200", b"0"),
        dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n", b" "),
        dripping(b"HTTP/1.1 200 OK\r\n\r\n" + json.dumps(COMPLETED).encode(), b" "),
    ],
)
def test_a_connection_that_breaks_or_never_ends_says_nothing(converse: Conversation) -> None:
    """It must say so in time: the whole call has half a second."""
    with answering(converse, timeout_seconds=0.5) as (provider, _):
        began = monotonic()
        with pytest.raises(NoAnswer):
            provider.submit(ORDER)
        assert monotonic() - began < 20


def test_what_is_too_much_of_one_answer_is_not_taken_for_the_next() -> None:
    """Above all if the surplus looks like an answer about the same payout."""
    processing, failed = (
        json.dumps({**COMPLETED, "state": state}).encode() for state in ("processing", "failed")
    )
    stale = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(failed) + failed
    said = [
        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(processing) + processing + more
        for more in (stale, b"x", b"")
    ]

    def converse(connection: socket.socket, request: bytes) -> None:
        connection.sendall(said.pop(0))
        connection.recv(1)  # keeps the connection until the other side closes it

    with answering(converse) as (provider, _):
        assert [provider.ask(ORDER).verdict for _ in range(3)] == ["processing"] * 3


def test_the_user_of_a_url_is_who_calls() -> None:
    settings = ProviderSettings.model_validate({"url": "http://user:p%40ss@127.0.0.1:9/", "secret": SECRET})
    assert _credentials(settings) == {"Authorization": "Basic " + base64.b64encode(b"user:p@ss").decode()}


def test_nobody_there_says_nothing() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    reached = HttpProvider(ProviderSettings.model_validate({"url": url, "secret": SECRET}))
    with pytest.raises(NoAnswer):
        reached.ask(ORDER)
    reached.close()


def test_its_words_are_cut_to_what_is_kept() -> None:
    said = {**COMPLETED, "detail": "a\0" + "b" * 5000, "reference": "r" * 5000}
    with answering(saying(200, said)) as (provider, _):
        report = provider.ask(ORDER)
    assert report.detail == "a" + "b" * (MAX_WORDS_LENGTH - 1)
    assert report.reference == "r" * MAX_WORDS_LENGTH


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"secret": "secret"}, "whsec_"),
        ({"secret": "whsec_c2hvcnQ="}, "whsec_"),
        ({"url": "somewhere"}, "URL"),
        ({"timeout_seconds": 0}, "greater"),
        ({"max_connections": 0}, "greater"),
        ({"adapter": "projections.nowhere:Provider"}, "imported"),
        ({"adapter": "projections.process_managers.providers.http:Nobody"}, "imported"),
        ({"adapter": "nothing"}, "pattern"),
        ({"port": 1}, "not permitted"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(wrong: dict[str, Any], words: str) -> None:
    given = {"url": "http://127.0.0.1:1", "secret": SECRET, **wrong}
    with pytest.raises(ValueError, match=words) as refused:
        ProviderSettings.model_validate(given)
    assert SECRET not in str(refused.value)


def test_an_adapter_of_a_users_own_is_made_from_the_settings() -> None:
    settings = ProviderSettings.model_validate(
        {"url": "http://127.0.0.1:1", "secret": SECRET, "adapter": f"{__name__}:Own"}
    )
    (provider,) = make_providers({"own": settings}).values()
    assert isinstance(provider, Own)
    assert provider.settings is settings


class Own:
    """A provider written by a user."""

    max_calls = 1
    patience_seconds = 1.0

    def __init__(self, settings: ProviderSettings) -> None:
        self.settings = settings
