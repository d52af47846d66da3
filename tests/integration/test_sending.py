"""One delivery attempt over a real network: which addresses are allowed, how long it may take, how much is read."""

import asyncio
import itertools
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

import pytest

from projections.outbox import sending
from projections.outbox.destinations import Policy
from projections.outbox.schedule import AttemptAnswer
from projections.outbox.sending import Sender
from projections.outbox.signatures import new_secret, signature_headers
from tests.receiver import Receiver, Reply, receiving

pytestmark = pytest.mark.integration

ANYWHERE = Policy(allow_private=True, allow_http=True)
PUBLIC = Policy(allow_http=True)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


def post(
    url: str, policy: Policy = ANYWHERE, timeout_seconds: float = 30.0, times: int = 1
) -> list[AttemptAnswer]:
    """Send this many requests, one after the other."""
    headers = signature_headers([new_secret()], "main/1", datetime.now(UTC), b"{}")

    async def posted() -> list[AttemptAnswer]:
        async with Sender(policy, timeout_seconds, 10) as sender:
            return [await sender.post(url, headers, b"{}") for _ in range(times)]

    return asyncio.run(posted())


def port_of(receiver: Receiver) -> str:
    return receiver.url.split(":")[2].partition("/")[0]


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]"]
)
def test_no_way_to_write_it_leads_into_the_network_of_the_service(receiver: Receiver, host: str) -> None:
    (answer,) = post(f"http://{host}:{port_of(receiver)}/", PUBLIC)
    assert answer.status is None and not answer.is_in_doubt
    assert "private network" in (answer.reason or "") or "cannot be found" in (answer.reason or "")
    assert not receiver.received


def test_a_name_is_judged_by_what_it_stands_for_when_it_is_connected_to(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that stood for a public address when registered and for an internal one when connecting."""
    look_up = socket.getaddrinfo
    meanings = iter(["127.0.0.1", "127.0.0.1", "10.0.0.1"])

    def rebound(host: str, port: int, *arguments: Any, **options: Any) -> Any:
        return look_up(next(meanings) if host == "rebound.example" else host, port, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", rebound)
    url = f"http://rebound.example:{port_of(receiver)}/"
    (admitted,) = post(url)
    assert admitted.is_acknowledged and len(receiver.received) == 1
    assert receiver.received[0].headers["host"] == f"rebound.example:{port_of(receiver)}"
    for _ in range(2):
        (refused,) = post(url, PUBLIC)
        assert "private network" in (refused.reason or "")
    assert len(receiver.received) == 1


def test_of_several_addresses_one_that_answers_is_taken(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_up = socket.getaddrinfo

    def two(host: str, port: int, *arguments: Any, **options: Any) -> Any:
        if host != "two.example":
            return look_up(host, port, *arguments, **options)
        return [
            of
            for address in ("127.0.0.2", "127.0.0.1")
            for of in look_up(address, port, *arguments, **options)
        ]

    monkeypatch.setattr(socket, "getaddrinfo", two)
    (answer,) = post(f"http://two.example:{port_of(receiver)}/")
    assert answer.is_acknowledged


def test_a_proxy_of_the_environment_is_not_used(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    (answer,) = post(receiver.url)
    assert answer.is_acknowledged


def test_redirects_are_not_followed(receiver: Receiver) -> None:
    receiver.behave = lambda received, count: Reply(307, {"Location": receiver.url})
    (answer,) = post(receiver.url)
    assert (answer.status, answer.reason, answer.is_acknowledged) == (
        307,
        "redirects are not followed",
        False,
    )
    assert len(receiver.received) == 1


def test_a_connection_is_used_again(receiver: Receiver) -> None:
    receiver.behave = lambda received, count: Reply(200, body=b"thank you")
    assert {of.status for of in post(receiver.url, times=5)} == {200}


def test_what_takes_too_long_is_in_doubt(receiver: Receiver) -> None:
    never = threading.Event()
    receiver.behave = lambda received, count: Reply(200, after=never)
    (answer,) = post(receiver.url, timeout_seconds=0.3)
    never.set()
    assert answer.status is None and answer.is_in_doubt and "0.3 s" in (answer.reason or "")


def whole_request(connection: socket.socket) -> bytes:
    """The next request, whose body is `{}`. Empty once the sender has hung up."""
    request = b""
    while not request.endswith(b"\r\n\r\n{}"):
        if not (part := connection.recv(65_536)):
            return b""
        request += part
    return request


@contextmanager
def saying(*answers: bytes, drip: bytes = b"") -> Iterator[tuple[str, list[bytes]]]:
    """A receiver that answers each request with these bytes, then drips for ever or hangs up.

    Yields its URL and the requests as they come, each marked with the number of its connection.
    """
    received: list[bytes] = []
    left = list(answers)
    stop = threading.Event()

    def serve(number: int, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.settimeout(10)
            while left and (request := whole_request(connection)):
                received.append(b"%d " % number + request)
                connection.sendall(left.pop(0))
                while drip and not stop.wait(0.02):
                    connection.sendall(drip)

    def accept() -> None:
        for number in itertools.count():
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(number, connection), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        accepting = threading.Thread(target=accept, daemon=True)
        accepting.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/", received
        finally:
            stop.set()
            listening.shutdown(socket.SHUT_RDWR)
    accepting.join(10)


@pytest.mark.parametrize(
    ("said", "drip"),
    [
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\n", b"A: b\r\n"),
        (b"HTTP/1.1 200", b"\0"),
        (b"", b"\r\n"),
        (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", b"HTTP/1.1 102 Processing\r\n\r\n"),
    ],
)
def test_a_head_without_end_is_in_doubt_and_ends_in_time(said: bytes, drip: bytes) -> None:
    with saying(said, drip=drip) as (url, _):
        (answer,) = post(url, timeout_seconds=1.0)
    assert answer.status is None and answer.is_in_doubt and answer.reason


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 099 Odd\r\n\r\n",
        b"HTTP/1.1 -200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: ten\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 100_000,
        b"HTTP/1.1 200 OK\r\nA: " + b"b" * 1_000_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA\0: b\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"\x16\x03\x01\x02\0",
    ],
)
def test_an_answer_that_is_none_is_in_doubt(said: bytes) -> None:
    with saying(said) as (url, _):
        (answer,) = post(url)
    assert answer.status is None and answer.is_in_doubt and answer.reason
    assert "\0" not in answer.reason and len(answer.reason) <= 500


FAR_FUTURE = b"Retry-After: Fri, 31 Dec 9999 23:59:59 -2359\r\n"


@pytest.mark.parametrize("status", [200, 204, 299, 304, 307, 404, 410, 429, 503, 600, 999])
@pytest.mark.parametrize(
    ("rest", "drip"),
    [
        (b"Content-Length: 10\r\n\r\nx", b""),
        (b"Content-Length: 1000000\r\n\r\n", b"x"),
        (b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        (b"Transfer-Encoding: chunked\r\n\r\nnonsense\r\n", b""),
        (b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnope", b""),
        (b"Content-Length: 0\r\n\r\nmore than it said", b""),
        (FAR_FUTURE + b"Content-Length: 0\r\n\r\n", b""),
        (b"Retry-After: Wed, 21 Oct 2015 07:28:00 +99999999999999\r\n\r\n", b""),
        (b"Retry-After: " + b"9" * 5000 + b"\r\n\r\n", b""),
    ],
)
def test_a_status_counts_whatever_comes_with_it(
    status: int, rest: bytes, drip: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Above all 2xx, which must not be sent again, and 410, after which nothing more is sent."""
    monkeypatch.setattr(sending, "BODY_TIMEOUT_SECONDS", 0.2)
    with saying(b"HTTP/1.1 %d Status\r\n" % status + rest, drip=drip) as (url, _):
        (answer,) = post(url, timeout_seconds=5.0)
    assert answer.status == status and not answer.is_in_doubt
    assert answer.is_acknowledged == (200 <= status < 300) and answer.is_gone == (status == 410)


@pytest.mark.parametrize(
    "more",
    [
        b"x",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n",
    ],
)
@pytest.mark.parametrize(
    "first",
    [
        b"HTTP/1.1 500 Fault\r\nContent-Length: 5\r\n\r\nfault",
        b"HTTP/1.1 500 Fault\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfault\r\n0\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
    ],
)
def test_what_is_too_much_of_one_answer_is_not_taken_for_the_next(first: bytes, more: bytes) -> None:
    with saying(first + more, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") as (url, received):
        answers = post(url, times=2)
    assert [answer.status for answer in answers] == [int(first[9:12]), 200]
    assert [request[:2] for request in received] == [b"0 ", b"1 "]


def test_an_answer_of_the_length_that_it_says_lets_the_connection_be_used_again() -> None:
    answers = (
        b"HTTP/1.1 200 OK\r\ncontent-length:2\r\n\r\nok",
        b"HTTP/1.1 204 No Content\r\nServer: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0 \r\n\r\n",
    )
    with saying(*answers) as (url, received):
        assert [answer.status for answer in post(url, times=3)] == [200, 204, 200]
    assert [request[:2] for request in received] == [b"0 "] * 3


def test_what_was_never_sent_is_not_in_doubt(receiver: Receiver) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        closed = taken.getsockname()[1]
    urls = [
        f"http://127.0.0.1:{closed}/",
        "http://no-such-host.invalid/",
        f"http://{'x' * 70}.example/",
        f"https://127.0.0.1:{port_of(receiver)}/",  # speaks no TLS
    ]
    for url in urls:
        (answer,) = post(url)
        assert answer.status is None and not answer.is_in_doubt and answer.reason, url
