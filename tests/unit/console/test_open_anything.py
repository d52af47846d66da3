"""What a text could name, by its form."""

from typing import cast

import pytest

from api.console.inside import Inside, Reply
from api.console.pages.open_anything import Unasked, exists, questions

NOBODY = cast(Inside, None)
"""The questions are listed, and not asked."""

ID = "9D0A2B9F-54A1-5A0C-9A3F-6B1F5E1C7D42"


def asked(text: str) -> set[str]:
    return {question.what for question in questions(NOBODY, text, ["main"])}


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("order-1", "request under this key in main"),
        ("order-1", "correlation id in main"),
        ("users:alice:wallet", "account in main"),
        (ID, "payout in main"),
        (ID, "transaction in main"),
        (ID, "webhook"),
        (ID, "dead letter"),
        (ID, "API key"),
        ("17", "event of main at this position"),
        ("a" * 64, "leaf hash among the newest 1000 events of main"),
        ("main", "ledger main"),
        ("balances", "projection balances"),
    ],
)
def test_a_text_is_asked_for_as_what_it_could_be(text: str, what: str) -> None:
    assert what in asked(text)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("a b", "request under this key in main"),
        ("order/1", "request under this key in main"),
        ("order.1", "account in main"),
        ("order-1", "transaction in main"),
        ("0", "event of main at this position"),
        ("9" * 20, "event of main at this position"),
        ("a" * 63, "leaf hash among the newest 1000 events of main"),
    ],
)
def test_a_text_is_not_asked_for_as_what_it_cannot_be(text: str, what: str) -> None:
    assert what not in asked(text)


def test_each_ledger_is_asked() -> None:
    found = {question.what for question in questions(NOBODY, "order-1", ["main", "other"])}
    assert {"request under this key in main", "request under this key in other"} <= found


@pytest.mark.parametrize(("status", "is_there"), [(200, True), (404, False), (422, False)])
def test_the_api_says_what_exists(status: int, is_there: bool) -> None:
    assert exists(Reply(status, {}, b"{}")) is is_there


@pytest.mark.parametrize("status", [403, 429, 503])
def test_a_refusal_to_answer_says_nothing_about_what_exists(status: int) -> None:
    with pytest.raises(Unasked, match="because"):
        exists(Reply(status, {}, b'{"title": "so", "detail": "because"}'))
