"""Clients that stall and trickle, on the whole service: they end in time, and keep nobody else waiting."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from time import monotonic, sleep

import httpx2
import pytest

from tests.integration.connections import answer_to, api, connect, unharmed
from tests.projecting import eventually
from tests.service import KEY, Service, post_account, post_ledger, serving, transfer_body

pytestmark = [pytest.mark.integration, pytest.mark.long, pytest.mark.timeout(300)]

MIB = 1024 * 1024
BATCHES = 5
SLOW = 6
ENDED_WITHIN_SECONDS = 75.0
"""An answer is to be read in 30 s; the rest is for a machine that is busy."""

EVENTS = (
    "GET /v1/ledgers/main/events HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    f"Accept: application/x-ndjson\r\nAuthorization: Bearer {KEY}\r\n\r\n"
).encode()


@pytest.fixture(scope="module")
def service(module_path: Path) -> Iterator[Service]:
    """A service whose journal is longer than what fits between it and a client that does not read."""
    with serving(module_path / "data") as running, running.client(60) as client:
        post_ledger(client)
        for address in ("a", "b"):
            post_account(client, address)
        at = 0
        for batch in range(BATCHES):
            items = [
                {"idempotency_key": f"{batch}-{n}", "description": "x" * 900, **transfer_body("a", "b", 1)}
                for n in range(1000)
            ]
            body = {"mode": "atomic", "transactions": items}
            answer = client.post("/v1/ledgers/main/transactions/batch", json=body)
            assert answer.status_code == 200
            at = int(answer.headers["ledger-position"])
        # What is read is not to be beside what is being projected.
        listed = client.get(
            "/v1/ledgers/main/transactions", params={"min_position": at}, headers={"Prefer": "wait=30"}
        )
        assert listed.status_code == 200
        yield running


def is_kept(service: Service, connection: socket.socket) -> bool:
    port = connection.getsockname()[1]
    return any(each.raddr[1:] == (port,) for each in api(service).net_connections())


def await_ended(service: Service, connections: list[socket.socket]) -> None:
    give_up_at = monotonic() + ENDED_WITHIN_SECONDS
    while any(is_kept(service, connection) for connection in connections):
        assert monotonic() < give_up_at
        sleep(0.5)


def read_nothing(connection: socket.socket, stop: threading.Event) -> None:
    """Stall."""
    stop.wait()


def trickle(connection: socket.socket, stop: threading.Event) -> None:
    """Read a little now and then."""
    with suppress(OSError):
        while not stop.wait(0.5) and connection.recv(512):
            pass


@pytest.mark.parametrize("read", [read_nothing, trickle])
def test_streams_that_are_hardly_read_end_and_keep_nobody_from_theirs(
    service: Service, read: Callable[[socket.socket, threading.Event], None]
) -> None:
    stop = threading.Event()
    with ExitStack() as stack:
        slow = [stack.enter_context(connect(service)) for _ in range(SLOW)]
        stack.callback(stop.set)
        for connection in slow:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.sendall(EVENTS)
            threading.Thread(target=read, args=(connection, stop), daemon=True).start()
        with unharmed(service):
            whole = answer_to(service, EVENTS)
        assert whole.count(b'"leaf_hash":') >= 3000 * BATCHES
        # It has not waited for them to end.
        assert any(is_kept(service, connection) for connection in slow)
        await_ended(service, slow)


@pytest.mark.parametrize(
    ("head", "rest"),
    [
        (b"GET /livez HTTP/1.1\r\nHost: x\r\nA: ", b"x"),
        (
            f"POST /v1/ledgers HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n".encode()
            + b"Content-Length: 1000\r\n\r\n",
            b" ",
        ),
        (
            f"POST /v1/ledgers HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n".encode()
            + b"Transfer-Encoding: chunked\r\n\r\n",
            b"1\r\n \r\n",
        ),
    ],
    ids=["a head", "a body", "chunks"],
)
def test_what_is_sent_by_drops_is_refused_in_time(service: Service, head: bytes, rest: bytes) -> None:
    began = monotonic()
    with unharmed(service), ExitStack() as stack:
        slow = [stack.enter_context(connect(service)) for _ in range(20)]
        for connection in slow:
            connection.settimeout(0.001)
            connection.sendall(head)
        answers: dict[int, bytes] = {}
        while len(answers) < len(slow):
            assert monotonic() - began < 30
            for number, connection in enumerate(slow):
                if number not in answers:
                    with suppress(TimeoutError):
                        answers[number] = connection.recv(65536)
                    with suppress(OSError):
                        connection.sendall(rest)
            sleep(0.3)
    assert all(answer.startswith(b"HTTP/1.1 408 ") for answer in answers.values())
    assert monotonic() - began > 5


def test_a_key_that_fills_its_share_keeps_no_other_key_from_being_answered(service: Service) -> None:
    with service.client() as owner:
        keys = [
            owner.post("/v1/keys", json={"name": name, "roles": ["client"], "ledgers": ["main"]}).json()[
                "key"
            ]
            for name in ("greedy", "modest")
        ]
    greedy, modest = ({"Authorization": f"Bearer {key}"} for key in keys)
    path = "/v1/ledgers/main/transactions"
    stalled = (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {greedy['Authorization']}\r\n"
        f"Idempotency-Key: stalled\r\nContent-Length: {4 * MIB}\r\n\r\n{{"
    ).encode()
    body = json.dumps(transfer_body("a", "b", 1)).encode()

    def post(client: httpx2.Client, key: str, size: int) -> httpx2.Response:
        content = body + b" " * (size - len(body))
        return client.post(path, content=content, headers={"Idempotency-Key": key})

    with (
        ExitStack() as stack,
        httpx2.Client(base_url=service.url, headers=greedy, timeout=20, trust_env=False) as one,
        httpx2.Client(base_url=service.url, headers=modest, timeout=20, trust_env=False) as other,
    ):
        for _ in range(4):
            stack.enter_context(connect(service)).sendall(stalled)
        give_up_at = monotonic() + 8
        while (refused := post(one, "refused", 100_000)).status_code != 503:
            assert monotonic() < give_up_at
        assert (refused.json()["code"], "of this caller" in refused.json()["detail"]) == ("overloaded", True)
        # Whatever is small is taken from it all the same; and from another also what is large.
        assert post(one, "small", len(body)).status_code == 201
        for number, size in enumerate([100_000, MIB, 2 * MIB, 4 * MIB]):
            began = monotonic()
            assert post(other, f"modest-{number}", size).status_code == 201
            assert monotonic() - began < 5
        # Its share is its own again as soon as the time of those bodies is over.
        give_up_at = monotonic() + 30
        while post(one, "again", 100_000).status_code == 503:
            assert monotonic() < give_up_at
            sleep(0.5)
        assert post(one, "again", 100_000).status_code == 201


def test_a_key_that_floods_keeps_no_other_key_from_being_answered(service: Service) -> None:
    with service.client() as owner:
        made = owner.post("/v1/keys", json={"name": "flood", "roles": ["client"], "ledgers": ["main"]})
    flooding = {"Authorization": f"Bearer {made.json()['key']}"}
    wrong = b'{"entries": [%s]}' % b",".join([b'{"a":1}'] * 30_000) + b" " * MIB
    stop, seen = threading.Event(), set[int]()

    def flood() -> None:
        with httpx2.Client(base_url=service.url, headers=flooding, timeout=60, trust_env=False) as client:
            while not stop.is_set():
                headers = {"Idempotency-Key": "k"}
                answer = client.post("/v1/ledgers/main/transactions", content=wrong, headers=headers)
                seen.add(answer.status_code)

    threads = [threading.Thread(target=flood) for _ in range(16)]
    for thread in threads:
        thread.start()
    try:
        eventually(lambda: 422 in seen)
        with service.client(30) as other:
            body = json.dumps(transfer_body("a", "b", 1)).encode()
            for number in range(10):
                began = monotonic()
                content = body + b" " * (200_000 if number % 2 else 2 * MIB)
                answer = other.post(
                    "/v1/ledgers/main/transactions",
                    content=content,
                    headers={"Idempotency-Key": f"beside-{number}"},
                )
                assert answer.status_code == 201, answer.text
                assert monotonic() - began < 15
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert seen <= {422, 503}
