"""What a replica passes on to the primary, and what it says when no answer comes back."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import httpx2
import pytest
from structlog.testing import capture_logs

from api.client import Policy, credit, debit, expect_done
from api.client.synchronous import Tallystick
from api.service.replica import Replica
from tests.contract.books import Book, new_book
from tests.contract.serving import KEY, replica_of
from tests.faulty_proxy import Fault, FaultyProxy, Forgery
from tests.integration.replicas.pairs import Pair, caller, write
from tests.projecting import eventually

pytestmark = pytest.mark.integration


def test_a_write_and_what_confirms_it_are_answered_by_the_primary(
    primary: httpx2.Client, forwarding: httpx2.Client
) -> None:
    book = new_book(forwarding)
    first = book.transfer("a", "b", 10, "once")
    again = book.transfer("a", "b", 10, "once")
    assert (first.status_code, again.status_code) == (201, 201)
    assert (again.content, again.headers["Idempotent-Replayed"]) == (first.content, "true")
    assert forwarding.get(first.headers["Location"]).content == first.content
    assert book.operation("once").json()["state"] == "completed"
    assert book.account("b").json()["balance"] == 10
    assert primary.get(f"{book.path}/accounts/b").json() == book.account("b").json()


def test_a_writer_reads_its_own_write_at_once_by_its_position(forwarding: httpx2.Client) -> None:
    book = new_book(forwarding)
    for number in range(1, 21):
        position = write(forwarding, book.name)
        asked = {"consistency": "eventual", "min_position": position}
        assert book.account("b", params=asked).json()["balance"] == 10 * number
        listed = forwarding.get(f"{book.path}/transactions", params={"min_position": position})
        assert len(listed.json()["data"]) == number


def test_the_headers_of_the_caller_and_of_the_answer_arrive(forwarding: httpx2.Client) -> None:
    book = new_book(forwarding)
    account = book.account("a", headers={"Correlation-Id": "my-own"})
    assert account.headers.get_list("Correlation-Id") == ["my-own"]
    assert len(account.headers.get_list("traceparent")) == len(account.headers.get_list("date")) == 1
    tag = account.headers["ETag"]
    assert book.account("a", headers={"If-None-Match": tag}).status_code == 304
    stale = book.change("freeze", "a", "why", **{"If-Match": '"99"'})
    assert (stale.status_code, stale.json()["code"]) == (412, "version_mismatch")
    held = book.post({"entries": []}, **{"Content-Type": "text/plain"})
    assert held.status_code == 415


def test_the_primary_says_who_may_call(pair: Pair, forwarding: httpx2.Client) -> None:
    with caller(pair.forwarding, "tk_unknown") as stranger:
        assert stranger.post("/v1/ledgers", json={"name": "none"}).status_code == 401
    made = forwarding.post(
        "/v1/keys", json={"name": uuid4().hex, "roles": ["client"], "ledgers": ["*"]}
    ).json()
    with caller(pair.forwarding, made["key"]) as client:  # known to the primary, perhaps not yet here
        assert client.post("/v1/ledgers", json={"name": f"l{uuid4().hex[:12]}"}).status_code == 201


def test_a_large_body_is_passed_on_and_a_larger_one_refused(forwarding: httpx2.Client, book: Book) -> None:
    items = [
        {
            "idempotency_key": f"{number}",
            "entries": [
                {"account": account, "direction": direction, "amount": 1}
                for account, direction in (("a", "debit"), ("b", "credit"))
            ],
        }
        for number in range(2_000)
    ]
    path = f"{book.path}/transactions/batch"
    answer = forwarding.post(path, json={"mode": "atomic", "transactions": items})
    assert answer.status_code == 200
    assert len(answer.json()["results"]) == 2_000

    def endless() -> Iterator[bytes]:
        for _ in range(18):
            yield b" " * 1024**2

    for content in (b" " * (17 * 1024**2), endless()):
        headers = {"Content-Type": "application/json"}
        refused = forwarding.post(path, content=content, headers=headers)
        assert (refused.status_code, refused.json()["code"]) == (413, "body_too_large")


@contextmanager
def replica_before(pair: Pair, primary_url: str) -> Iterator[httpx2.Client]:
    with (
        replica_of(pair.served.settings, primary_url, pair.copy, forward=True) as url,
        caller(url) as client,
    ):
        client.event_hooks = {"response": [pair.served.checked]}
        yield client


def test_a_primary_that_is_not_there_got_nothing(pair: Pair, book: Book) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with replica_before(pair, address) as client:
            pair.replayed()
            refused = Book(client, book.name).transfer("a", "b", 10, "lost")
            assert (refused.status_code, refused.json()["code"]) == (503, "primary_unreachable")
            assert refused.headers["Retry-After"] == "1"
            assert client.get(f"{book.path}/accounts").status_code == 200
    assert book.operation("lost").status_code == 404


def test_why_the_primary_is_out_of_reach_is_logged_once() -> None:
    async def send_twice(replica: Replica) -> None:
        for _ in range(2):
            with pytest.raises(httpx2.ConnectError):
                await replica.send(httpx2.Request("GET", replica.primary_url))
        await replica.close()

    with socket.socket() as unused, capture_logs() as said:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}"
        asyncio.run(send_twice(Replica(address, forwards=True)))
    (line,) = said
    assert line["event"] == f"primary {address} out of reach"
    assert "refused" in line["error"] or "failed" in line["error"]


def test_a_lost_answer_never_reads_as_a_failure(pair: Pair, book: Book) -> None:
    host, port = pair.served.url.removeprefix("http://").split(":")
    with FaultyProxy(host, int(port)) as proxy, replica_before(pair, proxy.url) as client:
        pair.replayed()
        behind = Book(client, book.name)
        for fault, balance in ((Fault.REQUEST_LOST, 0), (Fault.ANSWER_LOST, 20)):
            key = fault.name
            proxy.plan([fault])
            lost = behind.transfer("a", "b", 10, key)
            assert (lost.status_code, lost.json()["code"]) == (504, "primary_unanswered")
            assert lost.json()["operation"] == f"{book.path}/operations/{key}"
            assert lost.json()["retry"] == "safe"
            assert book.account("b").json()["balance"] == balance
            again = behind.transfer("a", "b", 10, key)
            assert again.status_code == 201
            assert ("Idempotent-Replayed" in again.headers) == (fault is Fault.ANSWER_LOST)
            assert client.get(lost.json()["operation"]).json()["state"] == "completed"
        assert book.account("b").json()["balance"] == 20


@pytest.mark.parametrize("begin", [b"", b'{"id": "0b2f'], ids=["after its head", "within its body"])
def test_an_answer_that_breaks_off_is_none(begin: bytes, pair: Pair, book: Book) -> None:
    head = b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n"
    host, port = pair.served.url.removeprefix("http://").split(":")
    with FaultyProxy(host, int(port)) as proxy, replica_before(pair, proxy.url) as client:
        pair.replayed()
        proxy.plan([Forgery(head + begin)])
        broken = Book(client, book.name).transfer("a", "b", 10, "broken")
        assert (broken.status_code, broken.json()["code"]) == (504, "primary_unanswered")
        assert broken.json()["operation"] == f"{book.path}/operations/broken"
        assert {"Correlation-Id", "Traceparent"} <= {name.title() for name in broken.headers}
        again = Book(client, book.name).transfer("a", "b", 10, "broken")
        assert (again.status_code, again.headers["Idempotent-Replayed"]) == (201, "true")


def test_a_client_ends_in_done_whatever_is_lost(pair: Pair, book: Book) -> None:
    host, port = pair.served.url.removeprefix("http://").split(":")
    with FaultyProxy(host, int(port)) as proxy, replica_before(pair, proxy.url) as client:
        pair.replayed()
        proxy.plan([Fault.ANSWER_LOST, Fault.REQUEST_LOST] * 5)
        policy = Policy(deadline_seconds=60, last_deadline_seconds=60)
        with Tallystick(str(client.base_url), KEY, policy) as tally:
            ledger = tally.ledger(book.name)
            for number in range(5):
                expect_done(ledger.post(debit("a", 1), credit("b", 1), key=f"order-{number}"))
    assert book.account("b").json()["balance"] == 5


def exchanged(url: str, request: bytes) -> tuple[int, bytes]:
    """Send the bytes of a request; return the status and all that was answered."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), 30) as connection:
        connection.sendall(request)
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    return int(answer.split(b" ", 2)[1]), answer


def written(method: str, path: str, *fields: str, body: bytes = b"") -> bytes:
    """A request as no library writes it."""
    named = ("Host: ledger", f"Authorization: Bearer {KEY}", "Connection: close", *fields)
    return "\r\n".join((f"{method} {path} HTTP/1.1", *named, "", "")).encode() + body


ENTRIES = (
    b'{"entries":[{"account":"a","direction":"debit","amount":1},'
    b'{"account":"b","direction":"credit","amount":1}]}'
)
OF_ENTRIES = ("Content-Type: application/json", f"Content-Length: {len(ENTRIES)}")


@pytest.mark.parametrize("key", ["..", ".", "%2e%2e", "a%2Fb", "a;b", "|", "%zz"])
def test_a_path_leads_to_the_same_route_of_the_primary(key: str, pair: Pair, book: Book) -> None:
    """Also one with segments that a library for addresses would resolve."""
    for path in (f"operations/{key}", f"accounts/{key}", f"transactions/{key}/void"):
        method = "POST" if path.endswith("void") else "GET"
        fields = (f"Idempotency-Key: {uuid4()}", "Content-Type: application/json", "Content-Length: 2")
        asked = written(method, f"{book.path}/{path}", *fields, body=b"{}")
        (status, answer), by_primary = (exchanged(url, asked) for url in (pair.forwarding, pair.served.url))
        assert status == by_primary[0] == 404
        code = answer.partition(b'"code":"')[2].partition(b'"')[0]
        assert code and b'"code":"%b"' % code in by_primary[1]


def test_what_surrounds_the_value_of_a_header_is_not_passed_on(pair: Pair, book: Book) -> None:
    asked = written(
        "POST",
        f"{book.path}/transactions",
        "Idempotency-Key:\t spaced \t ",
        "Via: 1.1 other ",
        "Other:",
        *OF_ENTRIES,
        body=ENTRIES,
    )
    status, answer = exchanged(pair.forwarding, asked)
    assert status == 201, answer
    assert answer.lower().count(b"\r\nserver:") == 1
    assert book.operation("spaced").json()["state"] == "completed"


def test_headers_of_one_connection_are_not_passed_on(pair: Pair, book: Book) -> None:
    """`Connection` names them."""
    fields = ("Connection: Dry, Idempotency-Key, Content-Length", "Dry: 1", "Idempotency-Key: k")
    asked = written("POST", f"{book.path}/transactions", *fields, *OF_ENTRIES, body=ENTRIES)
    status, answer = exchanged(pair.forwarding, asked)
    assert status == 400 and b"idempotency_key_missing" in answer


def test_a_transfer_coding_that_nobody_supports_is_refused_before_anything_is_sent(
    pair: Pair, book: Book
) -> None:
    chunks = b"%x\r\n%b\r\n0\r\n\r\n" % (len(ENTRIES), ENTRIES)
    for coding, wanted in (("gzip, chunked", 400), ("Chunked", 201)):
        fields = (f"Transfer-Encoding: {coding}", "Content-Type: application/json", "Idempotency-Key: k")
        asked = written("POST", f"{book.path}/transactions", *fields, body=chunks)
        status, answer = exchanged(pair.forwarding, asked)
        assert status == wanted, answer


def test_a_body_that_does_not_arrive_keeps_no_connection_to_the_primary(
    pair: Pair, book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.http.replicas.forwarding.BODY_TIMEOUT_SECONDS", 0.3)
    fields = ("Idempotency-Key: late", *OF_ENTRIES)
    asked = written("POST", f"{book.path}/transactions", *fields, body=ENTRIES[:10])
    status, answer = exchanged(pair.forwarding, asked)
    assert status == 408 and b"request_timeout" in answer
    assert book.operation("late").status_code == 404


def test_reads_that_wait_leave_the_primary_s_connections_to_others() -> None:
    """Only one of each route waits there."""

    async def announce() -> list[bool]:
        replica = Replica("http://primary", forwards=True)
        answered = asyncio.Event()

        async def send(request: httpx2.Request) -> httpx2.Response:
            await answered.wait()
            return httpx2.Response(200)

        replica.send = send  # type: ignore[method-assign]
        told = []
        for route in ("/a", "/a", "/b", "/a"):
            replica._announce_at.clear()
            told.append(replica.may_announce(route))
            if told[-1]:
                replica.announce(route, httpx2.Request("GET", f"http://primary{route}"))
            await asyncio.sleep(0)
        answered.set()
        while replica._announcing:
            await asyncio.sleep(0)
        replica._announce_at.clear()
        told.append(replica.may_announce("/a"))
        await replica.close()
        return told

    assert asyncio.run(announce()) == [True, False, True, False, True]


def test_a_replica_that_takes_a_replica_for_its_primary_is_told_so(pair: Pair, book: Book) -> None:
    with replica_before(pair, pair.forwarding) as client:
        pair.replayed()
        refused = Book(client, book.name).transfer("a", "b", 10)
        assert (refused.status_code, refused.json()["code"]) == (421, "read_only_replica")
        assert "takes another replica for its primary" in refused.json()["detail"]


def test_a_browser_signs_in_and_acts_through_a_replica(pair: Pair, book: Book) -> None:
    with caller(pair.forwarding, None) as browser:
        signed_in = browser.post("/console/sign-in", data={"key": KEY, "next": "/console/ledgers"})
        assert (signed_in.status_code, signed_in.headers["Location"]) == (303, "/console/ledgers")
        pair.replayed()
        path = f"/console/ledgers/{book.name}/accounts/a"
        eventually(lambda: "read from a copy" in browser.get(path).text)
        asked = browser.get(f"{path}/freeze")
        assert asked.status_code == 200
        csrf = asked.text.partition('name="csrf" value="')[2].partition('"')[0]
        done = browser.post(f"{path}/freeze", data={"csrf": csrf, "reason": "why"})
        assert done.status_code == 303, done.text
        assert book.account("a").json()["status"] == "frozen"
        pair.replayed()
        # A transaction that the copy does not have yet is shown by the primary.
        with pair.not_replaying():
            made = book.transfer("b", "b", 1).json()["id"]
            shown = browser.get(f"/console/ledgers/{book.name}/transactions/{made}")
            assert shown.status_code == 200
            assert "read from a copy" not in shown.text
