"""What a replica passes on to the primary, and what it says when no answer comes back."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import httpx2
import pytest

from api.client import Policy, credit, debit, expect_done
from api.client.synchronous import Tallystick
from tests.contract.books import Book, new_book
from tests.contract.serving import KEY, replica_of
from tests.faulty_proxy import Fault, FaultyProxy
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
