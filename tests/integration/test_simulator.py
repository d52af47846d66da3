"""The provider simulator: idempotent by key, with its own books, misbehaving exactly as told."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from standardwebhooks import Webhook

from scripts.simulator.faults import WORST, Faults, Order, Rates, Script
from tests.projecting import eventually
from tests.simulating import SECRET, free_port, simulating

pytestmark = pytest.mark.integration


class Received:
    """A receiver that verifies callbacks. If told to, it refuses the first delivery of each message."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, Any, dict[str, str]]] = []
        self.refusing: set[str] | None = None
        received = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                Webhook(SECRET).verify(body, headers)
                id = headers["webhook-id"]
                if received.refusing is not None and id not in received.refusing:
                    received.refusing.add(id)
                    self.send_response(503)
                else:
                    received.messages.append((id, json.loads(body), headers))
                    self.send_response(204)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def states(self, key: str) -> list[str]:
        """The reported states of a payout, in the order they came."""
        return [body["data"]["state"] for _, body, _ in self.messages if body["data"]["key"] == key]

    def close(self) -> None:
        """Stop receiving."""
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture(scope="module")
def received() -> Iterator[Received]:
    receiver = Received()
    yield receiver
    receiver.close()


@pytest.fixture(scope="module")
def provider(received: Received) -> Iterator[httpx2.Client]:
    with (
        simulating(free_port(), received.url, "--stall-seconds", "0.1") as url,
        httpx2.Client(base_url=url, trust_env=False, timeout=30) as client,
    ):
        yield client


@pytest.fixture
def key() -> str:
    """A new key, and the name of its destination."""
    return uuid4().hex


def submit(provider: httpx2.Client, key: str, **headers: str) -> httpx2.Response:
    body = {"key": key, "amount": 40, "asset": "USD/2", "destination": {"iban": key}, "reference": "w"}
    return provider.post("/payouts", json=body, headers={"Idempotency-Key": key, **headers})


def script(provider: httpx2.Client, key: str, **what: Any) -> None:
    assert provider.post("/script", json={"destination": {"iban": key}, **what}).status_code == 200


def books(provider: httpx2.Client, key: str) -> list[dict[str, Any]]:
    return [line for line in provider.get("/books").json()["data"] if line["key"] == key]


def test_it_pays_once_for_a_key_and_keeps_books(
    provider: httpx2.Client, received: Received, key: str
) -> None:
    headers = {"Correlation-Id": "c", "traceparent": "t"}
    first = submit(provider, key, **headers).json()
    assert first == {
        "key": key,
        "state": "completed",
        "amount": 40,
        "asset": "USD/2",
        "reference": first["reference"],
        "detail": "",
    }
    assert submit(provider, key).json() == first == provider.get(f"/payouts/{key}").json()
    assert books(provider, key) == [
        {
            "key": key,
            "amount": 40,
            "asset": "USD/2",
            "destination": {"iban": key},
            "reference": "w",
            "provider_reference": first["reference"],
            "outcome": "completed",
            "lied": False,
            "submissions": 2,
            "inquiries": 1,
            "correlation_id": "c",
            "traceparent": "t",
        }
    ]
    eventually(lambda: len(received.states(key)) == 2)
    assert sorted(received.states(key)) == ["completed", "processing"]
    _, body, sent = next(message for message in received.messages if message[1]["data"]["key"] == key)
    assert body["type"] == f"payout.{body['data']['state']}"
    assert (sent["correlation-id"], sent["traceparent"]) == ("c", "t")


def test_it_says_of_what_it_never_had_that_it_is_unknown(provider: httpx2.Client) -> None:
    answer = provider.get("/payouts/nothing")
    assert (answer.status_code, answer.json()) == (404, {"key": "nothing", "state": "unknown"})


@pytest.mark.parametrize(
    ("fault", "is_acted_on", "status"),
    [
        ("drop_before", False, None),
        ("error_before", False, 503),
        ("drop_after", True, None),
        ("error_after", True, 500),
        ("stall", True, 200),
    ],
)
def test_each_fault_of_a_submission(
    provider: httpx2.Client, key: str, fault: str, is_acted_on: bool, status: int | None
) -> None:
    script(provider, key, faults=[fault, fault], lose=True)
    for _ in range(2):
        if status is None:
            with pytest.raises(httpx2.TransportError):
                submit(provider, key)
        else:
            assert submit(provider, key).status_code == status
        assert len(books(provider, key)) == is_acted_on
    assert submit(provider, key).json()["state"] == "completed"
    assert len(books(provider, key)) == 1


def test_inquiries_fail_as_often_as_they_are_told_to(provider: httpx2.Client, key: str) -> None:
    script(provider, key, ask_errors=2, outcome="failed")
    assert submit(provider, key).json()["state"] == "failed"
    assert [provider.get(f"/payouts/{key}").status_code for _ in range(3)] == [500, 500, 200]


def test_a_liar_says_failed_then_completed_and_its_books_know(
    provider: httpx2.Client, received: Received, key: str
) -> None:
    script(provider, key, lie=True)
    assert submit(provider, key).json()["state"] == "failed"
    assert books(provider, key)[0]["outcome"] == "completed"
    eventually(lambda: provider.get(f"/payouts/{key}").json()["state"] == "completed")
    eventually(lambda: len(received.states(key)) == 3)
    assert received.states(key)[-1] == "completed" and "failed" in received.states(key)


def test_callbacks_are_duplicated_reordered_and_lost(
    provider: httpx2.Client, received: Received, key: str
) -> None:
    twice, late, lost, wrong = (f"{key}-{name}" for name in ("twice", "late", "lost", "wrong"))
    script(provider, twice, duplicate=True)
    script(provider, late, reorder=True)
    script(provider, lost, lose=True)
    script(provider, wrong, wrong_amount=True)
    for each in (twice, late, lost, wrong):
        submit(provider, each)
    eventually(lambda: len(received.states(twice)) == 6 and len(received.states(late)) == 2)
    ids = [id for id, body, _ in received.messages if body["data"]["key"] == twice]
    assert len(ids) == 6 and len(set(ids)) == 2
    assert received.states(late) == ["completed", "processing"]
    assert received.states(lost) == []
    eventually(lambda: len(received.states(wrong)) == 2)
    assert {body["data"]["amount"] for _, body, _ in received.messages if body["data"]["key"] == wrong} == {
        41
    }


def test_what_is_not_taken_is_sent_again(provider: httpx2.Client, received: Received, key: str) -> None:
    received.refusing = set()
    submit(provider, key)
    eventually(lambda: len(received.states(key)) == 2)
    assert {id for id, body, _ in received.messages if body["data"]["key"] == key} <= received.refusing
    received.refusing = None


@pytest.mark.parametrize("body", [{"amount": "1"}, {"faults": ["nonsense"]}, {"destination": 1}, {"x": 1}])
def test_a_script_that_says_nothing_is_refused(provider: httpx2.Client, body: Any) -> None:
    assert provider.post("/script", json=body).status_code == 422


def test_what_is_no_submission_is_refused(provider: httpx2.Client, key: str) -> None:
    assert provider.post("/payouts", content=b"{").status_code == 422
    assert provider.post("/payouts", json={"amount": 1}).status_code == 422
    assert submit(provider, key, **{"Idempotency-Key": "other"}).status_code == 400
    assert provider.get("/nowhere").status_code == provider.post("/nowhere").status_code == 404


def orders() -> list[Order]:
    return [Order(f"k{n}", n, "USD/2", {"iban": f"d{n}"}, "") for n in range(300)]


def test_chance_follows_from_the_seed_and_the_order_alone() -> None:
    one, same, other = Faults(1, WORST), Faults(1, WORST), Faults(2, WORST)

    def drawn(faults: Faults, order: Order) -> Any:
        return faults.of_submission(order, 1), faults.of_inquiry(order, 2), faults.plan(order)

    expected = [drawn(one, order) for order in orders()]
    assert [drawn(same, order._replace(key="x")) for order in reversed(orders())] == expected[::-1]
    assert [drawn(other, order) for order in orders()] != expected
    assert {fault for fault, _, _ in expected} == {
        "none",
        "drop_before",
        "error_before",
        "drop_after",
        "error_after",
        "stall",
    }
    assert {plan.outcome for _, _, plan in expected} == {"completed", "failed"}
    assert any(plan.lie for _, _, plan in expected)


def test_without_rates_nothing_goes_wrong() -> None:
    faults = Faults(1, Rates())
    for order in orders():
        assert faults.of_submission(order, 1) == "none" and not faults.of_inquiry(order, 1)
        assert not any(faults.plan(order)[1:])


def test_the_newest_script_that_concerns_an_order_decides() -> None:
    faults = Faults(1, Rates())
    faults.follow(Script(amount=5, outcome="failed"))
    faults.follow(Script(destination={"iban": "d5"}, lie=True))
    five, six = orders()[5], orders()[6]
    assert faults.plan(five).lie
    assert faults.plan(five._replace(destination={})).outcome == "failed"
    assert faults.plan(six) == faults.plan(orders()[7])
