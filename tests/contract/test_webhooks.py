"""Webhooks over HTTP: registering, showing and changing them, and the outcome of deliveries."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest

from tests.contract.answers import code_of, pointers_of
from tests.contract.books import Book
from tests.contract.callers import Keys
from tests.contract.serving import Served
from tests.projecting import eventually

URL = "https://93.184.216.34/ledger"


def body(**more: Any) -> dict[str, Any]:
    return {"url": URL, "ledgers": ["*"], "types": ["*"], **more}


def register(client: httpx2.Client, **more: Any) -> dict[str, Any]:
    answer = client.post("/v1/webhooks", json=body(**more))
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == f"/v1/webhooks/{answer.json()['id']}"
    assert answer.headers["cache-control"] == "no-store"
    made: dict[str, Any] = answer.json()
    return made


@pytest.fixture
def hook(book: Book) -> Iterator[dict[str, Any]]:
    """A webhook of one ledger. Nothing is delivered here, because no publisher runs."""
    made = register(book.client, ledgers=[book.name], types=["account.entries_posted", "transaction.posted"])
    yield made
    book.client.delete(f"/v1/webhooks/{made['id']}")


def deliveries(client: httpx2.Client, id: str, **query: Any) -> list[dict[str, Any]]:
    answer = client.get(f"/v1/webhooks/{id}/deliveries", params=query)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["data"]
    return found


def await_deliveries(client: httpx2.Client, id: str, count: int) -> list[dict[str, Any]]:
    eventually(lambda: len(deliveries(client, id)) == count)
    return deliveries(client, id)


def test_a_webhook_is_shown_without_its_secret(book: Book, hook: dict[str, Any]) -> None:
    shown = book.client.get(f"/v1/webhooks/{hook['id']}")
    assert shown.status_code == 200
    assert hook["secret"].startswith("whsec_") and hook["secret"] not in shown.text
    assert shown.json() == {name: hook[name] for name in hook if name != "secret"}
    expected = {
        "url": URL,
        "ledgers": [book.name],
        "description": "",
        "state": "enabled",
        "disabled_reason": None,
        "failing_since": None,
        "created_by": "bootstrap",
        "suppressed": 0,
    }
    assert {name: hook[name] for name in expected} == expected
    assert hook["position"] <= int(book.client.get(book.path).headers["ledger-position"])


def test_webhooks_are_listed_page_by_page(client: httpx2.Client) -> None:
    made = [register(client, description=f"{n}")["id"] for n in range(5)]
    for order in ("asc", "desc"):
        shown, cursor = [], None
        while True:
            query = {"page_size": 2, "order": order, **({"cursor": cursor} if cursor else {})}
            answer = client.get("/v1/webhooks", params=query)
            assert answer.status_code == 200 and "secret" not in answer.text
            shown += [webhook["id"] for webhook in answer.json()["data"]]
            if (cursor := answer.json()["next_cursor"]) is None:
                break
        mine = [id for id in shown if id in made]
        assert mine == (made if order == "asc" else made[::-1])
    for id in made:
        assert client.delete(f"/v1/webhooks/{id}").status_code == 204
    assert not [of for of in client.get("/v1/webhooks?page_size=1000").json()["data"] if of["id"] in made]


@pytest.mark.parametrize(
    ("more", "pointers"),
    [
        ({"url": "http://93.184.216.34/"}, ["/url"]),
        ({"url": "https://127.0.0.1/"}, ["/url"]),
        ({"url": "https://localhost/"}, ["/url"]),
        ({"url": "https://0x7f.1/"}, ["/url"]),
        ({"url": "https://[::ffff:169.254.169.254]/"}, ["/url"]),
        ({"url": "https://user:secret@93.184.216.34/"}, ["/url"]),
        ({"url": "nonsense"}, ["/url"]),
        ({"url": ""}, ["/url"]),
        ({"url": "https://93.184.216.34/" + "x" * 3000}, ["/url"]),
        ({"url": None}, ["/url"]),
        ({"ledgers": []}, ["/ledgers"]),
        ({"ledgers": ["No"]}, ["/ledgers/0"]),
        ({"types": []}, ["/types"]),
        ({"types": ["transaction.posted", "transaction.unheard_of"]}, ["/types/1"]),
        ({"description": "x" * 1001}, ["/description"]),
        ({"secret": "mine"}, ["/secret"]),
    ],
)
def test_what_cannot_be_registered(client: httpx2.Client, more: dict[str, Any], pointers: list[str]) -> None:
    answer = client.post("/v1/webhooks", json=body(**more))
    assert pointers_of(answer) == pointers
    assert "user:secret" not in answer.text


def test_a_key_registers_and_changes_only_what_it_was_granted(
    book: Book, keys: Keys, hook: dict[str, Any]
) -> None:
    theirs = keys.client("operator", "auditor", ledgers=["another"])
    mine = keys.client("operator", ledgers=[book.name])
    for ledgers in (["*"], ["another", book.name]):
        assert code_of(theirs.post("/v1/webhooks", json=body(ledgers=ledgers))) == "forbidden"
    path = f"/v1/webhooks/{hook['id']}"
    asked = [
        ("GET", f"{path}/deliveries", None),
        ("GET", f"{path}/deliveries/1", None),
        ("POST", f"{path}/rotate", {}),
        ("POST", f"{path}/disable", {"reason": "x"}),
        ("POST", f"{path}/enable", None),
        ("POST", f"{path}/deliveries/1/retry", None),
        ("POST", f"{path}/deliveries/1/discard", {"reason": "x"}),
        ("DELETE", path, None),
    ]
    for method, of, sent in asked:
        assert code_of(theirs.request(method, of, json=sent)) == "forbidden"
    for method, of, sent in asked:
        assert mine.request(method, of, json=sent).status_code in (200, 201, 204, 404)


def test_what_is_not_there_is_not_found(client: httpx2.Client) -> None:
    gone = register(client)
    path = f"/v1/webhooks/{gone['id']}"
    assert client.delete(path).status_code == 204
    assert client.delete(path).status_code == 204  # idempotent
    for of in (path, f"/v1/webhooks/{uuid4()}", "/v1/webhooks/no-uuid"):
        assert code_of(client.get(of)) == "webhook_not_found"
        assert code_of(client.get(f"{of}/deliveries")) == "webhook_not_found"
        assert code_of(client.post(f"{of}/rotate", json={})) == "webhook_not_found"
        assert code_of(client.post(f"{of}/enable")) == "webhook_not_found"
        assert code_of(client.post(f"{of}/disable", json={"reason": "x"})) == "webhook_not_found"
        assert code_of(client.post(f"{of}/deliveries/1/retry")) == "webhook_not_found"
    assert code_of(client.delete(f"/v1/webhooks/{uuid4()}")) == "webhook_not_found"


def test_a_rotated_secret_is_shown_once(client: httpx2.Client) -> None:
    hook = register(client)
    path = f"/v1/webhooks/{hook['id']}"
    answer = client.post(f"{path}/rotate", json={})
    assert (answer.status_code, answer.headers["cache-control"]) == (201, "no-store")
    assert answer.json()["id"] == hook["id"] and answer.json()["secret"] != hook["secret"]
    assert client.post(f"{path}/rotate", json={"overlap_seconds": 0}).status_code == 201
    for seconds in (-1, 2_592_001, 1.5, "1"):
        assert pointers_of(client.post(f"{path}/rotate", json={"overlap_seconds": seconds})) == [
            "/overlap_seconds"
        ]
    client.delete(path)


def test_a_webhook_is_disabled_for_a_reason_and_enabled_again(client: httpx2.Client) -> None:
    path = f"/v1/webhooks/{register(client)['id']}"
    for sent in ({}, {"reason": ""}, {"reason": "  "}, {"reason": "x" * 501}):
        assert pointers_of(client.post(f"{path}/disable", json=sent)) == ["/reason"]
    for _ in range(2):
        disabled = client.post(f"{path}/disable", json={"reason": "being moved"}).json()
        assert (disabled["state"], disabled["disabled_reason"]) == ("disabled", "being moved (bootstrap)")
    for _ in range(2):
        enabled = client.post(f"{path}/enable").json()
        assert (enabled["state"], enabled["disabled_reason"]) == ("enabled", None)
    client.delete(path)


def test_deliveries_are_listed_with_what_ties_them_together(book: Book, hook: dict[str, Any]) -> None:
    made = book.transfer("a", "b", 10)
    position = int(made.headers["ledger-position"])
    found = await_deliveries(book.client, hook["id"], 3)
    assert [of["position"] for of in found] == [position - 2, position - 1, position]
    assert found[-1] == {
        "id": str(position),
        "webhook_id": hook["id"],
        "position": position,
        "event_id": f"{book.name}/{position}",
        "type": "transaction.posted",
        "partition_key": f"{book.name}/transactions/{made.json()['id']}",
        "correlation_id": made.headers["correlation-id"],
        "state": "pending",
        "reason": None,
        "next_attempt_at": found[-1]["next_attempt_at"],
        "attempts": [],
    }
    assert found[-1]["next_attempt_at"] is not None
    book.transfer("a", "b", 10)
    found = await_deliveries(book.client, hook["id"], 6)
    # The second delivery of each account waits for the first.
    assert [of["next_attempt_at"] is None for of in found] == [False, False, False, True, True, False]
    pages = book.client.get(f"/v1/webhooks/{hook['id']}/deliveries?page_size=4&order=desc").json()
    rest = deliveries(book.client, hook["id"], order="desc", cursor=pages["next_cursor"])
    assert pages["data"] + rest == found[::-1]
    assert deliveries(book.client, hook["id"], state="pending", page_size=1000) == found
    assert deliveries(book.client, hook["id"], state="acknowledged") == []
    wrong = book.client.get(f"/v1/webhooks/{hook['id']}/deliveries?state=lost")
    assert pointers_of(wrong) == ["?state"]


def test_a_delivery_is_discarded_for_a_reason_and_sent_all_the_same(book: Book, hook: dict[str, Any]) -> None:
    book.transfer("a", "b", 10)
    book.transfer("a", "b", 10)
    first, *_, behind, _, _ = await_deliveries(book.client, hook["id"], 6)
    path = f"/v1/webhooks/{hook['id']}/deliveries/{first['id']}"
    assert book.client.get(path).json() == first
    assert pointers_of(book.client.post(f"{path}/discard", json={})) == ["/reason"]
    once = book.client.post(f"{path}/discard", json={"reason": "never mind"})
    answer = book.client.post(f"{path}/discard", json={"reason": "never mind"})
    assert answer.status_code == 200 and answer.json() == once.json()
    discarded = answer.json()
    assert (discarded["state"], discarded["reason"]) == ("suppressed", "never mind (bootstrap)")
    (attempt,) = discarded["attempts"]
    assert (attempt["outcome"], attempt["status_code"]) == ("suppressed", None)
    assert deliveries(book.client, hook["id"], state="suppressed") == [discarded]
    assert book.client.get(path).json() == discarded
    after = {of["id"]: of for of in deliveries(book.client, hook["id"])}
    assert behind["next_attempt_at"] is None and after[behind["id"]]["next_attempt_at"] is not None
    again = book.client.post(f"{path}/retry").json()
    assert (again["state"], again["reason"]) == ("pending", None) and again["next_attempt_at"] is not None
    for id in ("0", "999999999", "x", "1" * 40, "%C2%B2"):
        other = f"/v1/webhooks/{hook['id']}/deliveries/{id}"
        assert code_of(book.client.get(other)) == "delivery_not_found"
        assert code_of(book.client.post(f"{other}/retry")) == "delivery_not_found"
        assert code_of(book.client.post(f"{other}/discard", json={"reason": "x"})) == "delivery_not_found"


def test_deleting_a_webhook_keeps_what_became_of_its_deliveries(
    book: Book, served: Served, hook: dict[str, Any]
) -> None:
    book.transfer("a", "b", 10)
    await_deliveries(book.client, hook["id"], 3)
    assert book.client.delete(f"/v1/webhooks/{hook['id']}").status_code == 204
    with served.holder(book.name).connect("test") as connection:
        rows = connection.execute(
            "SELECT state, reason FROM deliveries WHERE webhook_id = %s", [UUID(hook["id"])]
        ).fetchall()
        assert rows == [("suppressed", "the webhook was deleted by bootstrap")] * 3
        assert not connection.execute(
            "SELECT FROM webhook_secrets WHERE webhook_id = %s", [UUID(hook["id"])]
        ).fetchall()
