"""One attempt, over a real network: what may be connected to, how long it may take, what is read."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from projections.outbox.destinations import Policy
from projections.outbox.schedule import Answer
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


def post(url: str, policy: Policy = ANYWHERE, timeout_seconds: float = 30.0, times: int = 1) -> list[Answer]:
    """Send so many requests one after the other."""
    headers = signature_headers([new_secret()], "main/1", datetime.now(UTC), b"{}")

    async def posted() -> list[Answer]:
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
    """A name that stood for a public address when it was registered, and now stands for one within."""
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


def test_an_answer_that_drips_ends_in_time() -> None:
    """Each byte comes soon after the one before it, and there is no end of them."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        stop = threading.Event()

        def drip() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
                while not stop.wait(0.05):
                    try:
                        connection.sendall(b"x")
                    except OSError:
                        return

        dripping = threading.Thread(target=drip)
        dripping.start()
        (answer,) = post(f"http://127.0.0.1:{listening.getsockname()[1]}/", timeout_seconds=0.5)
        stop.set()
        dripping.join()
    assert answer.status is None and answer.is_in_doubt


@pytest.mark.parametrize(
    "sent", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nx"]
)
def test_an_answer_that_is_none_is_in_doubt(sent: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer_so() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(sent)

        answering = threading.Thread(target=answer_so)
        answering.start()
        (answer,) = post(f"http://127.0.0.1:{listening.getsockname()[1]}/")
        answering.join()
    assert answer.status is None and answer.is_in_doubt and answer.reason


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
