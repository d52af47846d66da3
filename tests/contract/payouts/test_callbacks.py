"""Callbacks: signed by Standard Webhooks, each message counted once (api/README.md, Payouts)."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from standardwebhooks import Webhook

from domain.model.payouts.reports import MAX_NOTED_CALLBACKS
from tests.contract.answers import code_of, pointers_of
from tests.contract.books import Book
from tests.contract.journals import Journal
from tests.contract.payouts.destinations import QUIET
from tests.contract.serving import SECRET, Served

PATH = "/v1/providers/simulator/callbacks"

Say = Callable[..., httpx2.Response]


@pytest.fixture
def say(served: Served) -> Say:
    """Sends a provider's report, signed by the provider unless told otherwise."""

    def send(
        body: Any,
        id: str | None = None,
        *,
        secret: str = SECRET,
        age: timedelta = timedelta(),
        path: str = PATH,
        **headers: str | None,
    ) -> httpx2.Response:
        id, at = id or f"msg_{uuid4().hex}", datetime.now(UTC) - age
        text = body if isinstance(body, str) else json.dumps(body)
        sent: dict[str, str | None] = {
            "content-type": "application/json",
            "webhook-id": id,
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": Webhook(secret).sign(id, at, text),
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        given = {name: value for name, value in sent.items() if value is not None}
        with served.client(None) as client:
            return client.post(path, content=text, headers=given)

    return send


@pytest.fixture
def payout(book: Book, nothing_paid: Journal) -> dict[str, Any]:
    """A payout the provider is not called for meanwhile, so that a report about it comes too early."""
    book.open("alice")
    made: dict[str, Any] = book.pay_out().json()
    return made


def of(payout: dict[str, Any], state: str, **more: Any) -> dict[str, Any]:
    """The report about a payout."""
    data = {"key": payout["provider_key"], "state": state, "amount": 40, "asset": "USD/2", **more}
    return {"type": f"payout.{state}", "timestamp": "2026-11-23T20:00:00Z", "data": data}


def events_of(journal: Journal, payout: dict[str, Any]) -> list[dict[str, Any]]:
    """The events recorded about a payout itself."""
    return [event for event in journal.after(0) if event["stream"].endswith(f"/payouts/{payout['id']}")]


def submitted(book: Book) -> dict[str, Any]:
    """A payout that the provider has received and does not report by itself."""
    book.open("bob")
    made = book.pay_out(account="bob", destination=QUIET).json()
    return book.await_payout(made["id"], "completed")


def test_the_same_message_counts_once(book: Book, say: Say) -> None:
    made = submitted(book)
    assert say(of(made, "completed"), "one").status_code == 204
    shown = book.payout(made["id"])
    assert shown["history"][-1]["source"] == "callback"
    for _ in range(3):
        assert say(of(made, "completed"), "one").status_code == 204
    assert book.payout(made["id"]) == shown


def test_what_is_late_or_out_of_order_moves_nothing(book: Book, say: Say) -> None:
    made = submitted(book)
    for state in ("processing", "completed", "processing"):
        assert say(of(made, state)).status_code == 204
    shown = book.payout(made["id"])
    assert (shown["state"], shown["ended_at"]) == ("completed", made["ended_at"])
    assert book.amounts("bob") == (40, 0, 0, 0)


def test_however_many_come_each_costs_the_same(book: Book, say: Say, journal: Journal) -> None:
    made = submitted(book)
    before = len(events_of(journal, made))
    for n in range(MAX_NOTED_CALLBACKS + 40):
        assert say(of(made, "processing", detail=f"step {n}")).status_code == 204
    assert len(events_of(journal, made)) == before + MAX_NOTED_CALLBACKS
    assert say(of(made, "failed", detail="returned")).status_code == 204
    assert book.payout(made["id"])["state"] == "stuck"


def test_a_contradiction_is_stuck_and_says_so(book: Book, say: Say) -> None:
    made = submitted(book)
    assert say(of(made, "failed", detail="returned by the bank", reference="r-1")).status_code == 204
    shown = book.payout(made["id"])
    assert (shown["state"], shown["provider_reference"]) == ("stuck", "r-1")
    assert "failed, after completed: returned by the bank" in shown["history"][-1]["detail"]
    assert book.amounts("bob") == (40, 0, 0, 0)
    assert book.resolve("fail", made["id"], "it came back").json()["state"] == "failed"
    assert book.amounts("bob") == (40, 40, 0, 0)


def test_what_comes_before_the_provider_was_called_is_a_contradiction(
    book: Book, say: Say, payout: dict[str, Any]
) -> None:
    assert say(of(payout, "completed")).status_code == 204
    assert book.payout(payout["id"])["state"] == "stuck"
    assert book.amounts("alice") == (0, 0, 40, 0)


def test_it_belongs_to_the_conversation_of_the_payout(book: Book, say: Say, journal: Journal) -> None:
    made = submitted(book)
    before = made["position"]
    trace = next(event["traceparent"] for event in events_of(journal, made))
    child = f"{trace[:36]}{'c' * 16}{trace[52:]}"
    say(of(made, "completed"), traceparent=child, correlation_id=made["correlation_id"])
    say(of(made, "completed"), traceparent=f"00-{'d' * 32}-{'e' * 16}-01")
    say(of(made, "completed"))
    events = [event for event in events_of(journal, made) if event["position"] > before]
    assert [event["traceparent"] for event in events] == [child, trace, trace]
    assert {event["correlation_id"] for event in events} == {made["correlation_id"]}
    assert {event["actor"] for event in events} == {"provider:simulator"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"secret": "whsec_" + "YW5vdGhlciBzZWNyZXQgb2YgYW5vdGhlciBvbmU="},
        {"age": timedelta(minutes=6)},
        {"age": timedelta(minutes=-6)},
        {"webhook_id": None},
        {"webhook_id": "another"},
        {"webhook_timestamp": None},
        {"webhook_timestamp": "soon"},
        {"webhook_signature": None},
        {"webhook_signature": "v1,"},
        {"webhook_signature": "nothing"},
        {"webhook_signature": "v1,!!!!"},
        {"id": "x" * 300},
    ],
)
def test_what_is_not_signed_by_the_provider_now_is_refused(
    book: Book, say: Say, payout: dict[str, Any], wrong: dict[str, Any]
) -> None:
    answer = say(of(payout, "completed"), **wrong)
    assert (answer.status_code, code_of(answer)) == (401, "unauthenticated")
    assert answer.headers["www-authenticate"].startswith("Webhook-Signature")
    assert book.payout(payout["id"]) == payout


def test_a_body_that_was_changed_is_refused(served: Served, payout: dict[str, Any]) -> None:
    now, text = datetime.now(UTC), json.dumps(of(payout, "failed"))
    headers = {
        "content-type": "application/json",
        "webhook-id": "m",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(SECRET).sign("m", now, text),
    }
    with served.client(None) as client:
        for body in (text.replace("failed", "completed"), text + " ", "{", b"\xff"):
            assert code_of(client.post(PATH, content=body, headers=headers)) == "unauthenticated"


def test_no_key_to_the_api_takes_the_place_of_a_signature(
    client: httpx2.Client, payout: dict[str, Any]
) -> None:
    assert code_of(client.post(PATH, json=of(payout, "completed"))) == "unauthenticated"


@pytest.mark.parametrize(
    ("body", "status", "code", "pointers"),
    [
        ("{", 400, "malformed_json", None),
        ('{"type": "a", "type": "b", "data": {}}', 400, "malformed_json", None),
        ("[]", 422, "invalid_request", [""]),
        ({}, 422, "invalid_request", ["/type", "/data"]),
        ({"type": "x", "data": {}}, 422, "invalid_request", ["/data/key", "/data/state"]),
        ({"type": "x", "data": {"key": "k", "state": "lost"}}, 422, "invalid_request", ["/data/state"]),
        ({"type": "x", "data": {"key": "k", "state": "unknown"}}, 422, "invalid_request", ["/data"]),
        (
            {"type": "x", "data": {"key": "k", "state": "failed", "amount": 1.5}},
            422,
            "invalid_request",
            ["/data/amount"],
        ),
        ({"type": "x", "data": {"key": "k", "state": "failed"}}, 404, "payout_not_found", None),
        ({"type": "x", "data": {"key": "nowhere.x.y", "state": "failed"}}, 404, "payout_not_found", None),
        ({"type": "x", "data": {"key": "../../x", "state": "failed"}}, 404, "payout_not_found", None),
    ],
)
def test_what_says_nothing_is_refused(
    say: Say, body: Any, status: int, code: str, pointers: list[str] | None
) -> None:
    answer = say(body)
    assert (answer.status_code, code_of(answer)) == (status, code)
    assert pointers is None or pointers_of(answer) == pointers


def test_a_payout_is_found_by_all_of_its_key(book: Book, say: Say, payout: dict[str, Any]) -> None:
    for key in (payout["id"], payout["provider_key"][:-1], f"{payout['provider_key']}.x"):
        assert code_of(say(of(payout, "completed", key=key))) == "payout_not_found"
    assert book.payout(payout["id"])["version"] == 1


def test_a_provider_that_is_not_there_has_no_callbacks(say: Say, payout: dict[str, Any]) -> None:
    answer = say(of(payout, "completed"), path="/v1/providers/nobody/callbacks")
    assert (answer.status_code, code_of(answer)) == (404, "not_found")


def test_members_that_nobody_knows_say_nothing(book: Book, say: Say) -> None:
    made = submitted(book)
    body = {**of(made, "completed", weather="fine"), "environment": "test"}
    assert say(body, "more").status_code == 204


def test_long_words_are_cut_and_what_cannot_be_kept_is_left_out(book: Book, say: Say) -> None:
    made = submitted(book)
    assert say(of(made, "completed", detail="y" * 2000)).status_code == 204
    assert book.payout(made["id"])["history"][-1]["detail"] == "y" * 500
    assert code_of(say(of(made, "completed", detail="a\0b"))) == "invalid_request"
