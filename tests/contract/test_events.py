"""The history of events over HTTP, listed and streamed: what happened, when, by whom, and why."""

import json
import socket
from typing import Any
from uuid import uuid4

import httpx2
import psutil
import pytest

from domain.transparency.leaves import hash_of_item
from domain.transparency.merkle_tree import leaf_hash
from tests.contract.answers import code_of, pointers_of
from tests.contract.books import Book, transfer_body
from tests.contract.callers import Keys
from tests.contract.histories import events
from tests.contract.mixtures import Mixture
from tests.contract.serving import KEY, Served
from tests.ledgers import outcomes, running, transfer
from tests.projecting import eventually

FIELDS = {
    "position",
    "stream",
    "version",
    "type",
    "schema_version",
    "recorded_at",
    "actor",
    "correlation_id",
    "causation_id",
    "idempotency_key",
    "payload",
    "leaf_hash",
    "ledger",
    "traceparent",
}
POSTED = ["account.entries_posted", "account.entries_posted", "transaction.posted"]
HELD = ["account.entries_held", "account.entries_held", "transaction.held"]
SETTLED = ["account.entries_settled"] * 2 + ["transaction.hold_settled", "transaction.settlement_posted"]
VOIDED = ["account.entries_released"] * 2 + ["transaction.hold_voided", "transaction.void_recorded"]
NDJSON = {"Accept": "application/x-ndjson"}


def types(found: list[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in found]


def test_an_event_says_everything_of_a_request(book: Book) -> None:
    headers = {
        "Correlation-Id": "talk-1",
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    }
    made = book.transfer("a", "b", 5, "order-1", reference="Zoë's “tea” \\ \n")
    assert made.status_code == 201
    made = book.post(transfer_body("a", "b", 1), "order-2", **headers)
    posted = events(book)[-1]
    assert posted.keys() == FIELDS
    id = book.id_of("order-2")
    payload = posted.pop("payload")
    leaf = posted.pop("leaf_hash")
    assert posted == {
        "position": made.json()["position"],
        "stream": f"{book.name}/transactions/{id}",
        "version": 1,
        "type": "transaction.posted",
        "schema_version": 2,
        "recorded_at": made.json()["recorded_at"],
        "actor": "bootstrap",
        "correlation_id": "talk-1",
        "causation_id": id,
        "idempotency_key": "order-2",
        "ledger": book.name,
        "traceparent": headers["traceparent"],
    }
    assert [(entry["account"], entry["amount"]) for entry in payload["entries"]] == [("a", 1), ("b", 1)]
    assert leaf == hash_of_item({**posted, "payload": payload}).hex()


def test_the_leaf_hash_follows_from_what_is_shown_by_the_documented_rule_alone(book: Book) -> None:
    book.transfer("a", "b", 5, reference="Zoë's “tea” \\ \n\x1f", metadata={"b": "1", "a": "2"})
    for event in events(book):
        stored = {
            "class_version": event["schema_version"],
            "recorded_at": event["recorded_at"],
            "actor": event["actor"],
            "correlation_id": event["correlation_id"],
            "causation_id": event["causation_id"],
            "idempotency_key": event["idempotency_key"],
            "traceparent": event["traceparent"],
            "data": event["payload"],
        }
        leaf = {name: event[name] for name in ("position", "stream", "version", "type")} | {"event": stored}
        text = json.dumps(leaf, ensure_ascii=False, separators=(",", ":"))
        assert event["leaf_hash"] == leaf_hash(text.encode()).hex()


def test_all_events_in_the_order_of_positions(mixture: Mixture) -> None:
    book = mixture.book
    found = events(book)
    positions = [event["position"] for event in found]
    assert positions == sorted(positions)
    assert {event["ledger"] for event in found} == {book.name}
    assert all(event["stream"].startswith(f"{book.name}/") for event in found)
    assert events(book, order="desc") == found[::-1]
    assert types(found)[:4] == [
        "ledger.opened",
        "ledger.asset_registered",
        "account.opened",
        "account.opened",
    ]
    assert events(book, after=positions[5]) == found[6:]
    assert events(book, after=positions[5], order="desc") == found[6:][::-1]
    assert events(book, after=0) == found
    assert events(book, after=positions[-1]) == events(book, after=2**63 - 1) == []


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"account": "nothing"}, ["account.opened", "transaction.rejected"]),
        ({"account": "users-x"}, ["account.opened", "transaction.rejected", *HELD[1:]]),
        ({"account": "nobody"}, []),
        ({"type": "transaction.rejected"}, ["transaction.rejected"]),
        ({"type": "payout.accepted"}, []),
        ({"correlation_id": "conversation/void"}, VOIDED),
        ({"actor": "nobody"}, []),
        ({"actor": "tester", "type": "transaction.held"}, ["transaction.held"] * 3),
        ({"account": "a", "type": "transaction.held"}, ["transaction.held"]),
        ({"to": "2021-01-01T00:00:00Z"}, []),
    ],
)  # fmt: skip
def test_filters(mixture: Mixture, filters: dict[str, str], expected: list[str]) -> None:
    assert types(events(mixture.book, **filters)) == expected
    assert types(events(mixture.book, **filters, order="desc")) == expected[::-1]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("plain", POSTED),
        ("settled", HELD + SETTLED),
        ("settlement", SETTLED),
        ("voided", HELD + VOIDED),
        ("void", VOIDED),
        ("reversed", [*POSTED, "transaction.reversed", "transaction.reversal_posted"]),
        ("reversal", [*POSTED[:2], "transaction.reversed", "transaction.reversal_posted"]),
        ("poor", ["transaction.rejected"]),
    ],
)
def test_a_transaction_and_all_that_names_it(mixture: Mixture, name: str, expected: list[str]) -> None:
    id = mixture.ids[name]
    assert types(events(mixture.book, transaction_id=id)) == expected
    assert types(events(mixture.book, transaction_id=id.upper())) == expected


def test_times_are_from_inclusive_to_exclusive(mixture: Mixture) -> None:
    found = events(mixture.book)
    at = found[len(found) // 2]["recorded_at"]
    assert events(mixture.book, **{"from": at}) == [event for event in found if event["recorded_at"] >= at]
    assert events(mixture.book, to=at) == [event for event in found if event["recorded_at"] < at]
    assert events(mixture.book, **{"from": at, "to": at}) == []


def test_empty_filters_filter_nothing(book: Book) -> None:
    names = ("account", "transaction_id", "correlation_id", "actor", "type", "from", "to")
    assert events(book, **dict.fromkeys(names, "")) == events(book)


def test_pages_stay_as_they_are_under_writes(mixture: Mixture) -> None:
    book = mixture.book
    for order in ("asc", "desc"):
        expected = events(book, order=order)
        found: list[dict[str, Any]] = []
        cursor: dict[str, str] = {}
        while True:
            answer = book.client.get(f"{book.path}/events", params={"page_size": 7, "order": order, **cursor})
            found += answer.json()["data"]
            if answer.json()["next_cursor"] is None:
                break
            cursor = {"cursor": answer.json()["next_cursor"]}
            book.transfer("a", "b", 1) if len(found) < 20 else None
        assert found[: len(expected)] == expected
        assert (len(found) > len(expected)) == (order == "asc")


def test_cursors_belong_to_their_list(mixture: Mixture) -> None:
    path = f"{mixture.book.path}/events"
    client = mixture.book.client
    cursor = client.get(path, params={"page_size": 2, "account": "a"}).json()["next_cursor"]
    other = client.get(path, params={"page_size": 2, "account": "b", "cursor": cursor})
    assert (other.status_code, code_of(other)) == (400, "cursor_mismatch")
    broken = client.get(path, params={"cursor": "x"})
    assert (broken.status_code, code_of(broken)) == (400, "cursor_invalid")


@pytest.mark.parametrize(
    "parameters",
    [
        {"account": "no address!"},
        {"transaction_id": "x"},
        {"correlation_id": "with blanks"},
        {"type": "Type"},
        {"type": "nothing.of_the_kind"},
        {"type": "limits"},
        {"after": "-1"},
        {"after": "x"},
        {"from": "yesterday"},
        {"to": "2021-01-01"},
        {"order": "up"},
        {"page_size": "0"},
        {"actor": "\0"},
        {"other": "x"},
    ],
)
@pytest.mark.parametrize("headers", [{}, NDJSON])
def test_what_is_ill_formed_is_pointed_at(
    book: Book, parameters: dict[str, str], headers: dict[str, str]
) -> None:
    answer = book.client.get(f"{book.path}/events", params=parameters, headers=headers)
    assert pointers_of(answer) == [f"?{name}" for name in parameters]


def test_no_ledger_no_events(client: httpx2.Client) -> None:
    for headers in ({}, NDJSON):
        answer = client.get(f"/v1/ledgers/l{uuid4().hex[:12]}/events", headers=headers)
        assert (answer.status_code, code_of(answer)) == (404, "ledger_not_found")


def test_a_position_that_is_not_recorded_yet(book: Book) -> None:
    path, head = f"{book.path}/events", book.client.get(book.path).headers["ledger-position"]
    for headers in ({}, NDJSON):
        answer = book.client.get(path, params={"min_position": head}, headers={**headers, "Prefer": "wait=0"})
        assert answer.status_code == 200
        answer = book.client.get(
            path, params={"min_position": 2**60}, headers={**headers, "Prefer": "wait=0"}
        )
        assert (answer.status_code, code_of(answer)) == (503, "projection_behind")


def test_one_sees_ones_own_write_at_once(book: Book) -> None:
    for _ in range(20):
        made = book.transfer("a", "b", 1)
        last = events(book, after=made.json()["position"] - 1)
        assert [event["position"] for event in last] == [made.json()["position"]]


def lines(answer: httpx2.Response) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert answer.text == "" or answer.text.endswith("\n")
    return [json.loads(line) for line in answer.text.splitlines()]


@pytest.mark.parametrize(
    "filters", [{}, {"order": "desc"}, {"account": "a"}, {"account": "nobody"}, {"page_size": "3"}]
)
def test_a_stream_has_what_the_pages_have(mixture: Mixture, filters: dict[str, str]) -> None:
    book = mixture.book
    answer = book.client.get(f"{book.path}/events", params=filters, headers=NDJSON)
    assert lines(answer) == events(book, **{**filters, "page_size": "1000"})
    head = book.client.get(book.path).headers["ledger-position"]
    assert answer.headers["ledger-position"] == answer.headers["ledger-head"] == head


def test_a_stream_goes_on_after_a_place(mixture: Mixture) -> None:
    book = mixture.book
    found = events(book)
    answer = book.client.get(f"{book.path}/events", params={"after": found[3]["position"]}, headers=NDJSON)
    assert lines(answer) == found[4:]
    cursor = book.client.get(f"{book.path}/events", params={"page_size": 6}).json()["next_cursor"]
    answer = book.client.get(f"{book.path}/events", params={"cursor": cursor}, headers=NDJSON)
    assert lines(answer) == found[6:]


@pytest.mark.parametrize(
    ("accept", "is_stream"),
    [
        ("application/x-ndjson", True),
        ("application/x-ndjson, application/json", True),
        ("application/json, application/x-ndjson", False),
        ("application/json;q=0.5, application/x-ndjson;q=0.6", True),
        ("application/x-ndjson;q=0.5, application/json", False),
        ("application/x-ndjson;q=0", False),
        ("Application/X-NDJSON ; charset=utf-8", True),
        ("*/*", False),
        ("application/x-ndjson, */*", True),
        ("*/*, application/x-ndjson", True),
        ("application/x-ndjson;q=0.5, */*", False),
        ("application/x-ndjson;q=0.5, application/*;q=0.6", False),
        ("application/x-ndjson;q=0.5, application/json;q=0, */*", True),
        ("application/x-ndjson;q=nonsense", True),
        ("text/html", False),
        ("", False),
    ],
)
def test_the_client_chooses(book: Book, accept: str, is_stream: bool) -> None:
    answer = book.client.get(f"{book.path}/events", headers={"Accept": accept})
    assert answer.status_code == 200
    assert (answer.headers["content-type"] == "application/x-ndjson") == is_stream


def test_other_ledgers_are_never_seen(book: Book, keys: Keys, client: httpx2.Client) -> None:
    other = Book(client, f"l{uuid4().hex[:12]}")
    client.post("/v1/ledgers", json={"name": other.name})
    for address in ("a", "b"):
        other.open(address)
    headers = {"Correlation-Id": f"shared-{book.name}"}
    key = uuid4().hex
    ids = {}
    for each in (book, other):
        ids[each.name] = each.post(transfer_body("a", "b", 1), key, **headers).json()["id"]
    asked: list[dict[str, str]] = [
        {},
        {"account": "a"},
        {"actor": "bootstrap"},
        {"correlation_id": f"shared-{book.name}"},
        {"type": "transaction.posted"},
        {"transaction_id": ids[book.name]},
    ]
    granted = keys.client("client", ledgers=[book.name])
    for parameters in asked:
        for accept in ({}, NDJSON):
            answer = granted.get(f"{book.path}/events", params=parameters, headers=accept)
            assert answer.text.count(book.name) > 0
            assert other.name not in answer.text
    assert events(book, transaction_id=ids[other.name]) == []
    assert granted.get(f"{other.path}/events").status_code == 403


@pytest.fixture(scope="module")
def long(served: Served, session_client: httpx2.Client) -> Book:
    """A ledger with tens of thousands of events."""
    book = Book(session_client, f"l{uuid4().hex[:12]}")
    assert session_client.post("/v1/ledgers", json={"name": book.name}).status_code == 201
    book.open("a")
    book.open("b")
    with running(served.database) as ledger:
        for _ in range(LONG // 3000):
            commands = (transfer("a", "b", 1, book=book.name) for _ in range(1000))
            outcomes(ledger.execute(*commands).result())
    return book


LONG = 51_000
"""The number of events."""


def test_a_long_stream_is_whole_and_takes_no_memory(long: Book, served: Served) -> None:
    process = psutil.Process()
    seen = 0
    before = most = process.memory_info().rss
    with (
        httpx2.Client(
            base_url=served.url, headers={"Authorization": f"Bearer {KEY}"}, trust_env=False
        ) as client,
        client.stream("GET", f"{long.path}/events", headers=NDJSON, timeout=100) as answer,
    ):
        last = 0
        for line in answer.iter_lines():
            position = int(line[len('{"position":') : line.index(",")])
            assert position > last
            last = position
            seen += 1
            if seen % 1000 == 0:
                most = max(most, process.memory_info().rss)
        assert answer.headers["ledger-position"] == str(last)
    assert seen == LONG + 4
    # All events are some 40 MB as text and several times that as objects. Service, projector and client share this
    # process.
    assert most - before < 25 * 2**20


def test_who_goes_away_ends_the_stream_and_others_are_answered_meanwhile(long: Book, served: Served) -> None:
    streams = [begin(served, f"{long.path}/events") for _ in range(12)]
    for stream in streams:
        assert stream.recv(100).startswith(b"HTTP/1.1 200 OK")
    # They stop reading, so their answers wait for them. No other client waits.
    for _ in range(20):
        assert long.account("a").status_code == 200
        assert events(long, page_size=10)
    for stream in streams:
        stream.close()

    def connections() -> int:
        port = int(served.url.rpartition(":")[2])
        return sum(
            connection.status == psutil.CONN_ESTABLISHED and connection.laddr.port == port
            for connection in psutil.Process().net_connections("tcp")
        )

    eventually(lambda: connections() < len(streams))


def begin(served: Served, path: str) -> socket.socket:
    """Request a stream and read nothing of it."""
    host, _, port = served.url.removeprefix("http://").partition(":")
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    connection.connect((host, int(port)))
    head = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {KEY}\r\nAccept: application/x-ndjson\r\n\r\n"
    connection.sendall(head.encode())
    return connection


def test_what_a_limit_was_before_it_was_changed(book: Book) -> None:
    book.open("limited", min_balance=0)
    path = f"{book.path}/accounts/limited"
    for minimum in (-500, -500, None):
        assert book.client.patch(path, json={"min_balance": minimum}).status_code == 200
    book.transfer("a", "b", 5)
    opened = events(book, account="limited", type="account.opened")
    changed = events(book, account="limited", type="account.limits_changed")
    told = [event["payload"]["min_balance"] for event in (*opened, *changed)]
    assert told == [0, -500, None]
    assert [event["version"] for event in changed] == [2, 3]
    assert all(event["actor"] and event["correlation_id"] and event["recorded_at"] for event in changed)
