"""The pure parts of the client: money, pauses and deadlines, chunks, problems, webhooks, the waiting line."""

import hmac
import json
import pickle
from base64 import b64encode
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import product
from math import inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.client import (
    BatchIncomplete,
    HistoryLost,
    InexactAmount,
    Money,
    OutcomeUnknown,
    Policy,
    Post,
    TallystickError,
    WebhookUnverified,
    credit,
    debit,
)
from api.client.asynchronous.coalescing import items_named
from api.client.bodies import decode
from api.client.chunks import MAX_BYTES, MAX_COMMAS, chunks
from api.client.history import Operation
from api.client.keyed_requests import Item, Settle, item_body
from api.client.problem import Malformed, Missing, NotAllowed, Problem, RuleRefusal, Unavailable
from api.client.problems import BY_CODE, problem_of
from api.client.refusals import InsufficientFunds
from api.client.resources import TrialBalance
from api.client.retries import REPEATABLE, Attempts, retry_after_seconds
from api.client.waiting_line import WaitingLine
from api.client.webhooks import verify
from api.problem_facts import FACTS
from projections.outbox.signatures import new_secret, signature_headers

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)


@given(st.integers(-(10**30), 10**30), st.sampled_from(["USD/2", "JPY/0", "BTC/8", "WEI/18"]))
def test_money_goes_to_minor_units_and_back(minor_units: int, asset: str) -> None:
    money = Money.of_minor_units(minor_units, asset)
    assert money.minor_units == minor_units
    assert Money(money.amount, asset) == money == Money(str(money.amount), asset)


@pytest.mark.parametrize(
    "amount",
    [
        *["0.001", "NaN", "sNaN", "Infinity", "a", "1,000.00", "", 0.1, -0.0, True, None, [1]],
        *[Decimal(each) for each in ("1.005", "1E+400", "1E-400", "1E+999999999", "NaN")],
        Fraction(1, 2),
    ],
    ids=repr,
)
def test_money_that_is_not_exact_is_refused(amount: Any) -> None:
    with pytest.raises(InexactAmount):
        Money(amount, "USD/2")


@pytest.mark.parametrize("asset", ["USD", "usd/2", "USD/19", "USD/02", "", "USD/2\n", "ＵＳＤ/2", None, 2])
def test_an_asset_has_a_code_and_a_scale(asset: Any) -> None:
    with pytest.raises(InexactAmount):
        Money(1, asset)
    with pytest.raises(InexactAmount):
        Money.of_minor_units(1, asset)


@pytest.mark.parametrize(
    "amount",
    [
        *[0, -1, 2**53, 1.0, float("nan"), True, "1", Decimal(1), None],
        *[Money(amount, "USD/2") for amount in (0, "-0.00", -1, Decimal("1E+80"))],
    ],
    ids=repr,
)
def test_an_entry_takes_what_the_contract_takes(amount: Any) -> None:
    with pytest.raises(InexactAmount):
        debit("a", amount)


def test_money_is_shown_with_its_places() -> None:
    assert str(Money("10.5", "USD/2")) == "10.50 USD"
    assert str(Money("-0", "USD/2")) == "0.00 USD"
    assert str(Money("1E+3", "JPY/0")) == "1000 JPY"


def test_pauses_grow_to_a_bound_and_are_what_the_service_asks_at_least() -> None:
    policy = Policy(first_pause_seconds=1, longest_pause_seconds=10)
    assert [policy.pause_seconds(attempts, 1.0) for attempts in (1, 2, 3, 4, 5, 1000)] == [1, 2, 4, 8, 10, 10]
    assert policy.pause_seconds(5, 0.25) == 2.5
    assert policy.pause_seconds(5, 0.0, retry_after_seconds=7) == 7


def test_attempts_end_with_their_number_and_with_their_time() -> None:
    policy = Policy(first_pause_seconds=1, longest_pause_seconds=1)
    attempts = Attempts(policy, until=10, allowed=2, made=1)
    assert attempts.next_pause(now=8.9, chance=1.0) == 1
    assert attempts.next_pause(now=9.0, chance=1.0) is None
    assert attempts.next_pause(now=0.0, chance=1.0, retry_after_seconds=10) is None
    last = replace(attempts, is_last=True)
    assert last.next_pause(now=0.0, chance=1.0, retry_after_seconds=10) == 6
    assert replace(attempts, made=2).next_pause(now=0.0, chance=1.0) is None
    assert attempts.seconds_left(now=7, at_most=5) == 3
    assert attempts.seconds_left(now=0, at_most=5) == 5
    assert attempts.seconds_left(now=11, at_most=5) > 0


@pytest.mark.parametrize(
    "wrong",
    [{"deadline_seconds": 90}, {"attempt_seconds": -1}, {"first_pause_seconds": float("nan")}],
    ids=repr,
)
def test_a_policy_that_means_nothing_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="in Policy"):
        Policy(**wrong)  # type: ignore[arg-type]


def test_a_refusal_is_never_repeated() -> None:
    assert sorted(REPEATABLE) == [408, 425, 429, 502, 503, 504]


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("3", 3),
        ("Mon, 30 Nov 2026 12:00:05 GMT", 5),
        ("Mon, 30 Nov 2026 11:00:00 GMT", 0),
        ("soon", 0),
        ("", 0),
        ("-7", 0),
        ("1.5", 0),
        ("٣", 0),
        ("1, 2", 0),
        ("Mon, 30 Nov 99999 12:00:05 GMT", 0),
        ("Mon, 30 Nov 2026 12:00:05 +9999", 0),
        ("9" * 5_000, inf),
    ],
)
def test_the_service_says_how_long_to_wait(said: str, seconds: float) -> None:
    assert retry_after_seconds({"retry-after": said}, NOW) == seconds
    assert retry_after_seconds({}, NOW) == 0


@given(st.text())
def test_whatever_it_says_is_a_time(said: str) -> None:
    assert retry_after_seconds({"retry-after": said, "date": said}, NOW) >= 0


def test_a_date_counts_from_the_services_own_clock() -> None:
    headers = {"retry-after": "Mon, 30 Nov 2026 12:00:05 GMT", "date": "Mon, 30 Nov 2026 12:00:02 GMT"}
    assert retry_after_seconds(headers, NOW + timedelta(days=700)) == 3


def test_every_code_that_a_ledgers_caller_meets_has_a_class() -> None:
    assert set(BY_CODE) <= set(FACTS)
    operating = {
        "key_exists",
        "bootstrap_key_fixed",
        "dead_letter_closed",
        "rebuild_needed",
        "rebuild_not_under_way",
    }
    operating |= {
        f"{kind}_not_found"
        for kind in ("checkpoint", "witnessed_log", "projection", "dead_letter", "webhook", "delivery")
    }
    of_http = {"not_found", "method_not_allowed", "head_too_large", "malformed_request", "malformed_json"}
    of_http |= {"request_timeout", "unsupported_media_type", "idempotency_key_missing", "cursor_invalid"}
    assert set(FACTS) - set(BY_CODE) == operating | of_http


def test_a_code_of_a_later_release_is_of_the_class_of_its_status() -> None:
    later = problem_of(409, {"code": "too_late", "detail": "d"}, "k")
    assert (type(later), later.code, later.key, later.status) == (RuleRefusal, "too_late", "k", 409)
    for status, kind in ((404, Missing), (500, Unavailable), (418, Malformed), (403, NotAllowed)):
        assert type(problem_of(status, {"code": "later"})) is kind


@pytest.mark.parametrize("body", [None, "<html>", [], {}, {"code": ["x"]}, {"code": None}, {"message": "no"}])
def test_what_is_no_problem_of_the_ledger_says_that_it_is_not_reached(body: Any) -> None:
    for status in (302, 401, 404, 409, 418, 500):
        error = problem_of(status, body)
        assert type(error) is Unavailable and f"something else answered {status}" in str(error)


@pytest.mark.parametrize(
    "error",
    [
        OutcomeUnknown("words", "k"),
        BatchIncomplete("words", [1], ["k"]),
        HistoryLost(7, 5),
        InexactAmount("words", "k"),
        problem_of(409, {"code": "insufficient_funds", "detail": "d", "shortfall": 3}, "k"),
    ],
    ids=repr,
)
def test_an_exception_keeps_all_it_has_on_its_way_between_processes(error: TallystickError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))


def test_members_that_an_old_refusal_lacks_are_none() -> None:
    old = problem_of(409, {"code": "insufficient_funds", "detail": "d"})
    assert isinstance(old, InsufficientFunds) and isinstance(old, Problem)
    assert (old.shortfall, old.account, old.errors) == (None, None, None)


def test_members_that_are_not_known_are_ignored_and_missing_ones_are_none() -> None:
    body = {
        "data": [{"asset": "USD/2", "debits": "9007199254740993", "credits": "1", "new": 1}],
        "position": 1,
    }
    (totals,) = decode(TrialBalance, body).data
    assert (totals.debits, totals.credits) == (2**53 + 1, 1)
    shown = decode(Operation, OPERATION)
    assert shown.accepted_at == NOW + timedelta(microseconds=1) and shown.completed_at is None


@pytest.mark.parametrize(
    "wrong",
    [
        *[
            ("accepted_at", None),
            ("accepted_at", 7),
            ("accepted_at", "noon"),
            ("state", None),
            ("resource", []),
        ],
        *product(["position"], [None, 1.0, True, "a", "1.5", [], float("nan")]),
        ("problem", "?"),
    ],
    ids=repr,
)
def test_members_of_another_type_are_refused(wrong: tuple[str, Any]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - whatever it says
        decode(Operation, OPERATION | dict([wrong]))


@pytest.mark.parametrize("body", [None, [], "text", 1, {}, {"data": {}, "position": 1}, {"data": [1]}])
def test_what_is_no_answer_is_refused(body: Any) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - whatever it says
        decode(TrialBalance, body)


OPERATION = {
    "idempotency_key": "k",
    "state": "accepted",
    "retry": "unnecessary",
    "resource": "/r",
    "request_fingerprint": "f",
    "accepted_at": "2026-11-30T12:00:00.000001Z",
    "correlation_id": "c",
    "position": 3,
}


def posts(count: int, **more: Any) -> list[Item]:
    return [Post((debit("a", 1), credit("b", 1)), key=str(number), **more) for number in range(count)]


def test_a_batch_is_cut_in_order() -> None:
    cut = list(chunks(posts(25), max_items=10))
    assert [len(part.items) for part in cut] == [10, 10, 5]
    assert [item.key for part in cut for item in part.items] == [str(number) for number in range(25)]
    for part in cut:
        body = json.loads(part.body)
        assert body == {"mode": "independent", "transactions": [item_body(item) for item in part.items]}
    assert list(chunks([])) == []


def test_a_batch_of_large_items_is_cut_by_its_bytes_and_values() -> None:
    large = list(chunks(posts(40, metadata={"k": "é" * 300_000})))
    assert len(large) > 1 and all(len(part.body) <= MAX_BYTES + 1024 for part in large)
    many = Post(tuple(debit("a", 1) for _ in range(1_000)))
    cut = list(chunks([many] * 250))
    assert len(cut) > 1 and all(part.body.count(b",") <= MAX_COMMAS + 1 for part in cut)


def test_an_item_says_what_it_is_and_leaves_out_what_it_does_not_say() -> None:
    assert item_body(Settle("h", 5, key="k", reference="r")) == {
        "idempotency_key": "k",
        "settle": "h",
        "amount": 5,
        "reference": "r",
    }


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        _ = Post((), effective_at=datetime(2026, 1, 1)).body  # noqa: DTZ001


def test_requests_wait_in_line_and_travel_together() -> None:
    line: WaitingLine[int] = WaitingLine(max_items=3, max_senders=1)
    assert [line.join(number) for number in range(5)] == [True, False, False, False, False]
    assert (line.take(), line.take()) == ([0, 1, 2], [3, 4])
    assert line.join(5) is False  # the sender that took the last ones comes back
    assert (line.take(), line.take()) == ([5], [])
    assert line.join(6) is True  # that one has ended


def test_a_batch_that_is_refused_names_its_items() -> None:
    pointers = ["/transactions/2/entries/0/amount", "/transactions/13", "/mode", "?dry_run"]
    errors = [{"pointer": pointer, "detail": ""} for pointer in pointers]
    assert items_named(problem_of(422, {"code": "invalid_request", "errors": errors})) == {2, 13}
    assert items_named(problem_of(413, {"code": "body_too_large"})) == set()


SECRET = new_secret()
BODY = json.dumps({"id": "1", "type": "transaction.posted"}).encode()


def signed(at: datetime = NOW, *secrets: str) -> dict[str, str]:
    return signature_headers(secrets or (SECRET,), "msg_1", at, BODY)


def test_a_message_that_is_signed_is_told() -> None:
    message = verify(SECRET, signed(), BODY, now=NOW.timestamp())
    assert (message.id, message.event["type"]) == ("msg_1", "transaction.posted")
    rotating = {name.title(): value for name, value in signed(NOW, new_secret(), SECRET).items()}
    assert verify(SECRET, rotating, BODY, now=NOW.timestamp()) == message


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_!!!!", "whsec_é", "whsec_abc"])
def test_a_secret_that_is_none_is_refused(secret: str) -> None:
    """Anybody could sign with an empty one, such as that of a variable that is not set."""
    forged = {"webhook-id": "1", "webhook-timestamp": str(int(NOW.timestamp()))}
    made = hmac.digest(b"", f"1.{forged['webhook-timestamp']}.".encode() + BODY, "sha256")
    forged["webhook-signature"] = "v1," + b64encode(made).decode()
    with pytest.raises(ValueError):  # noqa: PT011 - whatever it says
        verify(secret, forged, BODY, now=NOW.timestamp())


@pytest.mark.parametrize(
    ("headers", "body", "secret"),
    [
        (signed(), BODY + b" ", SECRET),
        (signed(), BODY, "whsec_" + b64encode(b"another").decode()),
        (signed() | {"webhook-id": "msg_2"}, BODY, SECRET),
        (signed() | {"webhook-signature": "v1,é"}, BODY, SECRET),
        (signed() | {"webhook-signature": "v1,\udcff"}, BODY, SECRET),
        (signed() | {"webhook-signature": signed()["webhook-signature"].replace("v1", "v2")}, BODY, SECRET),
        (signed() | {"webhook-signature": signed()["webhook-signature"].removeprefix("v1,")}, BODY, SECRET),
        (signed() | {"webhook-timestamp": str(int(NOW.timestamp()) + 1)}, BODY, SECRET),
        (signed() | {"webhook-timestamp": "²"}, BODY, SECRET),
        (signed(NOW - timedelta(minutes=6)), BODY, SECRET),
        (signed(NOW + timedelta(minutes=6)), BODY, SECRET),
        ({}, BODY, SECRET),
    ],
    ids=[
        *["body", "secret", "id", "signature", "bytes", "version", "no version", "time", "no time"],
        *["old", "new", "unsigned"],
    ],
)
def test_any_other_message_is_refused(headers: dict[str, str], body: bytes, secret: str) -> None:
    with pytest.raises(WebhookUnverified):
        verify(secret, headers, body, now=NOW.timestamp())
