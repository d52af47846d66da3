"""Optional bodies: if no member is required, a missing body is `{}` and makes the same request."""

from typing import Any
from uuid import uuid4

import httpx2
import pytest

from api.resources import ENDPOINTS
from tests.contract.answers import code_of, pointers_of
from tests.contract.books import Book
from tests.projecting import eventually

POSTS = [endpoint.declared for endpoint in ENDPOINTS if endpoint.declared.method == "POST"]


def requires(declared: Any) -> bool:
    return any(field.is_required() for field in declared.body.model_fields.values())


def test_every_body_of_which_nothing_is_required_may_be_missing() -> None:
    may_be_missing = {declared.operation_id for declared in POSTS if declared.body and not requires(declared)}
    assert may_be_missing >= {
        *("settle_hold", "void_hold", "reverse_transaction"),
        *("freeze_account", "unfreeze_account", "close_account"),
        *("retry_dead_letter", "pause_projection", "resume_projection", "rebuild_projection"),
        *("cancel_projection_rebuild", "pause_projection_rebuild", "resume_projection_rebuild"),
        *("reconcile_payout", "rotate_key", "rotate_webhook_secret"),
        *("enable_webhook", "retry_delivery"),
    }
    declared_so = {declared.operation_id for declared in POSTS if declared.is_body_optional}
    assert may_be_missing <= declared_so


def ask(book: Book, path: str, key: str | None = None, **more: Any) -> httpx2.Response:
    headers = {"Idempotency-Key": key} if key else {}
    return book.client.post(book.path + path, headers=headers, **more)


@pytest.mark.parametrize("verb", ["settle", "void", "reverse"])
def test_what_is_done_to_a_transaction(book: Book, verb: str) -> None:
    for first_sends, then_sends in (({}, {"json": {}}), ({"json": {}}, {}), ({"content": b""}, {"json": {}})):
        made = book.transfer("a", "b", 5) if verb == "reverse" else book.hold("a", "b", 5)
        path, key = f"/transactions/{made.json()['id']}/{verb}", uuid4().hex
        first = ask(book, path, key, **first_sends)
        assert first.status_code == 201, first.text
        again = ask(book, path, key, **then_sends)
        assert (again.status_code, again.content) == (201, first.content)
        assert again.headers["idempotent-replayed"] == "true"
        (batched,) = book.batch({"idempotency_key": key, verb: made.json()["id"]}).json()["results"]
        assert (batched["status"], batched["replayed"]) == (201, True)
        other = ask(book, path, key, json={"reference": "another"})
        assert code_of(other) == "idempotency_key_reused"


def test_a_dry_run_of_it(book: Book) -> None:
    hold = book.hold("a", "b", 5).json()["id"]
    answer = ask(book, f"/transactions/{hold}/settle?dry_run=true", "k")
    assert (answer.status_code, answer.headers["dry-run"]) == (201, "true")


@pytest.mark.parametrize("verb", ["freeze", "unfreeze", "close"])
def test_what_is_done_to_an_account(book: Book, verb: str) -> None:
    assert ask(book, f"/accounts/a/{verb}").status_code == 200


def test_what_is_done_to_a_payout(book: Book) -> None:
    book.open("alice")
    id = book.pay_out(40).json()["id"]
    book.await_payout(id, "completed")
    assert ask(book, f"/payouts/{id}/reconcile").status_code == 200


def test_what_is_done_to_a_projection(client: httpx2.Client) -> None:
    for verb, status in (("pause", 200), ("resume", 200), ("rebuild", 202), ("rebuild/cancel", 200)):
        assert client.post(f"/v1/projections/due/{verb}").status_code == status
    for verb in ("pause", "resume"):
        assert code_of(client.post(f"/v1/projections/due/rebuild/{verb}")) == "rebuild_not_under_way"


@pytest.mark.parametrize("kind", ["keys", "webhooks"])
def test_what_is_rotated(client: httpx2.Client, kind: str) -> None:
    bodies: dict[str, dict[str, Any]] = {
        "keys": {"name": uuid4().hex, "roles": ["client"], "ledgers_to_come": ["main"]},
        "webhooks": {"url": "https://93.184.216.34/", "ledgers": ["nobody"], "types": ["*"]},
    }
    id = client.post(f"/v1/{kind}", json=bodies[kind]).json()["id"]
    rotated = client.post(f"/v1/{kind}/{id}/rotate")
    assert rotated.status_code == 201
    client.delete(f"/v1/{kind}/{rotated.json()['id']}")


def test_where_something_is_required_it_is_said_what(client: httpx2.Client, book: Book) -> None:
    nothing = uuid4()
    for path in (
        f"{book.path}/payouts/{nothing}/complete",
        f"{book.path}/payouts/{nothing}/fail",
        f"/v1/dead-letters/{nothing}/discard",
        f"/v1/webhooks/{nothing}/disable",
        f"/v1/webhooks/{nothing}/deliveries/1/discard",
    ):
        assert "/reason" in pointers_of(client.post(path))


def test_no_post_ignores_a_body() -> None:
    assert [declared.operation_id for declared in POSTS if declared.body is None] == []


@pytest.fixture
def owed(book: Book) -> str:
    """The path of a delivery that can be retried."""
    body = {"url": "https://93.184.216.34/", "ledgers": [book.name], "types": ["*"]}
    hook = f"/v1/webhooks/{book.client.post('/v1/webhooks', json=body).json()['id']}"
    book.transfer("a", "b", 1)
    eventually(lambda: bool(book.client.get(f"{hook}/deliveries").json()["data"]))
    (first, *_) = book.client.get(f"{hook}/deliveries").json()["data"]
    return f"{hook}/deliveries/{first['position']}"


def test_what_is_done_to_a_webhook(book: Book, owed: str) -> None:
    hook = owed.partition("/deliveries")[0]
    refused: list[tuple[dict[str, Any], str]] = [
        ({"json": {"resaon": "x"}}, "invalid_request"),
        ({"json": {"reason": 1}}, "invalid_request"),
        ({"json": {"reason": "x" * 501}}, "invalid_request"),
        ({"json": []}, "invalid_request"),
        ({"content": b"{"}, "malformed_json"),
        ({"content": b'{"reason": "a", "reason": "b"}'}, "malformed_json"),
        ({"content": b"{}", "headers": {"Content-Encoding": "gzip"}}, "unsupported_media_type"),
        ({"content": b"{}", "headers": {"Content-Type": "text/plain"}}, "unsupported_media_type"),
    ]
    for path in (f"{hook}/enable", f"{owed}/retry"):
        for sent, code in refused:
            assert code_of(book.client.post(path, **sent)) == code, (path, sent)
        for sent in ({}, {"json": {}}, {"json": {"reason": "the receiver is well again"}}):
            assert book.client.post(path, **sent).status_code == 200
    assert pointers_of(book.client.post(f"{hook}/enable", json={"resaon": "x"})) == ["/resaon"]


@pytest.mark.parametrize("content", [b" ", b"\n", b"null", b"x"])
def test_what_is_there_is_not_nothing(book: Book, content: bytes) -> None:
    hold = book.hold("a", "b", 5).json()["id"]
    answer = ask(book, f"/transactions/{hold}/void", "k", content=content)
    assert (answer.status_code, code_of(answer)) in ((400, "malformed_json"), (422, "invalid_request"))
    assert book.transaction(hold).json()["status"] == "pending"


def test_what_makes_something_needs_a_body(book: Book) -> None:
    answer = ask(book, "/transactions", "k")
    assert (answer.status_code, code_of(answer)) == (400, "malformed_json")
    for refused in (answer, book.client.patch(f"{book.path}/accounts/a")):
        assert code_of(refused) == "malformed_json"
        assert refused.json()["detail"].startswith("This request needs a body, and it has none.")
