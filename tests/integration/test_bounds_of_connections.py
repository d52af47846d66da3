"""The harm one client can do to others over HTTP is bounded: heads, trailers, pipelines, connections, bodies."""

import re
import resource
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest

from scripts.serving.connection_limits import SPARED_SECONDS
from tests.integration.connections import LAST, answer_to, api, connect, unharmed
from tests.projecting import eventually
from tests.service import KEY, Service, post_ledger, serving

pytestmark = [pytest.mark.integration, pytest.mark.long, pytest.mark.timeout(300)]

DESCRIPTORS = 400

ASK = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
POST = f"POST /v1/ledgers HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n".encode()
CHUNKED = b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
LEDGER = b'11\r\n{"name": "other"}\r\n0\r\n'


@pytest.fixture(scope="module")
def service(module_path: Path) -> Iterator[Service]:
    """A service whose single API process may have 400 descriptors."""
    with serving(module_path / "data") as running, running.client() as client:
        post_ledger(client)
        # The next process inherits the limit of its parent.
        resource.prlimit(running.process.pid, resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
        killed = api(running)
        killed.kill()
        killed.wait(10)
        await_answer(running)
        yield running


def await_answer(service: Service) -> None:
    give_up_at = monotonic() + 60
    while b" 200 " not in answer_to(service, LAST)[:20]:
        assert monotonic() < give_up_at
        sleep(0.1)


HEADS: dict[str, tuple[Any, ...]] = {
    "many fields": (431, b"GET /livez HTTP/1.1\r\n", b"A:b\r\n" * 400_000, b"\r\n"),
    "a large field": (431, b"GET /livez HTTP/1.1\r\nA: ", *[b"x" * 1_000_000] * 50, b"\r\n\r\n"),
    "a long URL": (431, b"GET /", *[b"x" * 1_000_000] * 50, b" HTTP/1.1\r\n\r\n"),
    "blank lines": (431, b"\r\n" * 1_000_000),
    "101 fields": (431, b"GET /livez HTTP/1.1\r\n" + b"A:b\r\n" * 101 + b"\r\n"),
    "100 fields": (200, LAST[:-2] + b"A:b\r\n" * 98 + b"\r\n"),
    "33,000 bytes": (431, b"GET /livez HTTP/1.1\r\nA: " + b"x" * 33_000 + b"\r\n\r\n"),
    "32,000 bytes": (200, LAST[:-2] + b"A: " + b"x" * 32_000 + b"\r\n\r\n"),
    "trailers": (431, POST + CHUNKED + LEDGER, b"A:b\r\n" * 100_000 + b"\r\n"),
    "a large trailer": (431, POST + CHUNKED + LEDGER + b"A: ", b"x" * 10_000_000),
    "an extension": (431, POST + CHUNKED + b"11;", b"x" * 10_000_000),
    "HTTP/0.9": (400, b"GET /livez\r\n\r\n"),
    "HTTP/2": (400, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "TLS": (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
    "CONNECT": (400, b"CONNECT x:1 HTTP/1.1\r\n\r\n"),
    "two lengths": (400, POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    "a length twice": (400, POST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}"),
    "5,000 digits": (400, POST + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n{}"),
    "+5": (400, POST + b"Content-Length: +5\r\n\r\n{}"),
    "5,5": (400, POST + b"Content-Length: 5,5\r\n\r\n{}"),
    "compressed": (400, POST + b"Connection: close\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    "zeros": (422, POST + b"Connection: close\r\nContent-Length: " + b"0" * 5000 + b"2\r\n\r\n{}"),
    "h2c": (200, ASK[:-2] + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n"),
    "no host": (400, b"GET /livez HTTP/1.1\r\nConnection: close\r\n\r\n"),
    "no host, by its whole URL": (400, b"GET http://x/livez HTTP/1.1\r\nConnection: close\r\n\r\n"),
    "two hosts": (400, LAST[:-2] + b"Host: x\r\n\r\n"),
    "two hosts of HTTP/1.0": (400, b"GET /livez HTTP/1.0\r\nHost: x\r\nhost: y\r\n\r\n"),
    "a host with a path": (400, LAST.replace(b"Host: x", b"Host: x/y")),
    "a host with a user": (400, LAST.replace(b"Host: x", b"Host: x@y")),
    "two hosts in one": (400, LAST.replace(b"Host: x", b"Host: x, y")),
    "an address of a host": (200, LAST.replace(b"Host: x", b"Host: [::1]:8000")),
    "a name of a host": (200, LAST.replace(b"Host: x", b"Host: pay_1.example.com:8000")),
    "an empty host": (200, LAST.replace(b"Host: x", b"Host:")),
    "no host of HTTP/1.0": (200, b"GET /livez HTTP/1.0\r\n\r\n"),
}


@pytest.mark.parametrize("case", HEADS.values(), ids=HEADS.keys())
def test_a_head_is_bounded_and_well_formed(service: Service, case: tuple[Any, ...]) -> None:
    status, *parts = case
    with unharmed(service):
        answer = answer_to(service, *parts)
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert len(re.findall(rb"HTTP/1\.1 [0-9]{3} ", answer)) == 1
    assert (status == 400) == (b'"code":"malformed_request"' in answer)
    if status in (400, 431):
        assert b"application/problem+json" in answer
        assert b"correlation-id: " in answer.lower()


def test_a_trailer_is_no_header(service: Service) -> None:
    anonymous = b"POST /v1/ledgers HTTP/1.1\r\nHost: x\r\n" + CHUNKED + LEDGER
    key = f"Authorization: Bearer {KEY}\r\n\r\n".encode()
    assert answer_to(service, anonymous + key).startswith(b"HTTP/1.1 401 ")


def test_what_is_pipelined_is_answered_up_to_a_bound(service: Service) -> None:
    assert answer_to(service, ASK * 4 + LAST).count(b'{"status":"alive"}') == 5
    assert 1 <= answer_to(service, ASK * 5000).count(b'{"status":"alive"}') <= 40


def test_a_refused_body_may_come_and_the_connection_goes_on(service: Service) -> None:
    refused = b"POST /v1/ledgers HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\n\r\n" + b"x" * 2_000_000
    answer = answer_to(service, refused + LAST)
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b'{"status":"alive"}' in answer


def test_bodies_of_strangers_are_not_collected(service: Service) -> None:
    head = b"POST /v1/providers/nosuch/callbacks HTTP/1.1\r\nHost: x\r\nContent-Length: 16000000\r\n\r\n"
    answers: list[bytes] = []
    with unharmed(service):
        threads = [
            threading.Thread(target=lambda: answers.append(answer_to(service, head, b"x" * 16_000_000, LAST)))
            for _ in range(40)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert all(answer.startswith(b"HTTP/1.1 404 ") for answer in answers)


def test_large_batches_at_once_are_bounded(service: Service) -> None:
    path = b"POST /v1/ledgers/main/transactions/batch HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    unknown = b"{%s}" % b",".join(b'"m%d":1' % number for number in range(90))
    body = b'{"mode":"atomic","transactions":[%s]}' % b",".join([unknown] * 6000)
    head = path + f"Authorization: Bearer {KEY}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    answers: list[bytes] = []
    with unharmed(service):
        threads = [
            threading.Thread(target=lambda: answers.append(answer_to(service, head, body))) for _ in range(12)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    statuses = {answer[9:12] for answer in answers}
    assert statuses == {b"422", b"503"}
    assert all(len(answer) < 100_000 for answer in answers)
    assert all(b"retry-after: " in answer.lower() for answer in answers if answer[9:12] == b"503")


def test_silent_connections_and_halves_of_heads_keep_nobody_out(service: Service) -> None:
    def said(event: str) -> int:
        return sum(f'"{event}"' in line for line in service.output)

    with ExitStack() as stack:
        for number in range(DESCRIPTORS + 50):
            connection = stack.enter_context(connect(service))
            if number % 2:
                connection.sendall(b"GET /livez HTT")
        eventually(lambda: said("connections are at their bound") > 0)
        sleep(2 * SPARED_SECONDS)
        for _ in range(20):
            assert b" 200 " in answer_to(service, LAST)[:20]
        eventually(lambda: api(service).num_fds() < 150)
    eventually(lambda: said("connections are below their bound again") > 0)
    assert said("connections are at their bound") == said("connections are below their bound again") == 1


def test_a_head_is_complete_in_time(service: Service) -> None:
    began = monotonic()
    assert answer_to(service, b"GET /livez HTT").startswith(b"HTTP/1.1 408 ")
    assert 5 < monotonic() - began < 20


def test_an_answer_that_is_not_read_ends(service: Service) -> None:
    with connect(service) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(b"GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\n\r\n" * 30)
        port = connection.getsockname()[1]

        def is_kept() -> bool:
            return any(each.raddr[1:] == (port,) for each in api(service).net_connections())

        sleep(1)
        assert is_kept()
        give_up_at = monotonic() + 60
        while is_kept():
            assert monotonic() < give_up_at
            sleep(0.5)


def test_waits_end_with_their_client(service: Service) -> None:
    wait = f"Authorization: Bearer {KEY}\r\nPrefer: wait=30\r\n\r\n".encode()
    path = b"GET /v1/audit/checkpoint?min_position=1000000000 HTTP/1.1\r\nHost: x\r\n"
    for _ in range(100):
        with connect(service) as connection:
            connection.sendall(path + wait)
            sleep(0.01)
    sleep(1)
    before = api(service).cpu_times()
    sleep(3)
    after = api(service).cpu_times()
    assert (after.user + after.system) - (before.user + before.system) < 1.0
