"""The sentence of a story, and the figures of its entries."""

from typing import Any

import pytest

from api.console.formats import marked, offset, shortened
from api.console.pages.story import _told, amounts, sentence
from api.console.view import View
from api.security.keys import NOBODY

NOW = "2026-07-01T12:00:00.000000Z"
VERDICT = {"what_happened": "The transaction was posted: money moved."}


def payout(state: str, due_at: str | None = None) -> dict[str, Any]:
    return {"provider": "simulator", "state": state, "due_at": due_at}


def test_the_verdict_is_the_sentence() -> None:
    assert sentence(VERDICT, None, NOW) == sentence(VERDICT, {"entries": []}, NOW) == VERDICT["what_happened"]


def test_a_payout_in_doubt_says_when_the_provider_is_asked() -> None:
    said = sentence(VERDICT, payout("in_doubt", "2026-07-01T12:04:00.000000Z"), NOW)
    assert said.startswith("Nobody knows yet whether the money left.")
    assert said.endswith("We ask again at 12:04 UTC at the latest.")


def test_a_time_that_has_passed_is_not_promised() -> None:
    said = sentence(VERDICT, payout("in_doubt", "2026-07-01T11:58:00.000000Z"), NOW)
    assert "We ask again at" not in said
    assert said.endswith("Asking again has been due since 11:58 UTC.")


@pytest.mark.parametrize("state", ["completed", "failed", "stuck"])
def test_a_payout_that_nobody_asks_about_promises_nothing(state: str) -> None:
    assert "ask again" not in sentence(VERDICT, payout(state, "2026-07-01T12:04:00.000000Z"), NOW)


def test_a_place_beyond_the_end_of_a_story_shows_its_end() -> None:
    view = View(None, NOBODY, None, "", {}, {"from": "900"}, None)  # type: ignore[arg-type]
    of = {
        "kind": "delivery_waiting",
        "time": None,
        "words": "it waits",
        "actor": None,
        "subject": "webhooks/1",
    }
    trace = {
        "verdict": {"remedy": "wait", "concerns": []},
        "operations": [],
        "ledger": "main",
        "timeline": [{**of, "position": 7}, {**of, "position": 8}],
    }
    shown = _told(view, trace)
    assert (len(shown["moments"]), shown["begins"], shown["total"]) == (1, None, 2)


def test_amounts_are_those_of_the_debits() -> None:
    entry = {"account": "a", "direction": "debit", "amount": 5, "asset": "USD/2"}
    assert amounts([entry, entry, {**entry, "direction": "credit", "amount": 10}]) == {"USD/2": 10}
    assert amounts([entry, {**entry, "asset": None}]) == {}


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.012, "+12 ms"), (1.239, "+1.24 s"), (65, "+1 min 5 s"), (0, "+0 ms")]
)
def test_an_offset_is_as_exact_as_it_is_short(seconds: float, words: str) -> None:
    assert offset(seconds).replace("\u202f", " ") == words


def test_long_names_are_shortened() -> None:
    assert shortened("main/payouts/9d0a2b9f-54a1-5a0c-9a3f-6b1f5e1c7d42") == "main/payouts/9d0a2b9f…"
    assert len(shortened("a" * 200)) == 40


def test_commands_are_set_apart_and_escaped() -> None:
    assert str(marked("Run `a <b>` & see.")) == "Run <code>a &lt;b&gt;</code> &amp; see."
