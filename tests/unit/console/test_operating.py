"""What the operators' pages say of what they were told: never more than is known."""

import json
from typing import Any

import pytest

from api.console.formats import counted
from api.console.inside import Reply
from api.console.pages import dead_letters, deliveries, now, payouts, projections, stuck, webhooks

NOW = "2026-07-01T12:00:00.000000Z"


def balance(debits: str, credits: str, position: int) -> Reply:
    totals = [{"asset": "USD/2", "debits": debits, "credits": credits}]
    return Reply(200, {}, json.dumps({"data": totals, "position": position}).encode())


BEHIND = Reply(503, {}, b"{}")


@pytest.mark.parametrize(
    ("replies", "is_all", "sentence"),
    [
        ({}, True, "There are no books yet."),
        ({"main": balance("5", "5", 9)}, True, "The books balance at position 9."),
        (
            {"main": balance("5", "5", 9), "other": balance("0", "0", 7)},
            True,
            "The books balance at position 7.",
        ),
        ({"main": balance("5", "5", 9)}, False, "One ledger was checked and balances at position 9."),
        (
            {"main": balance("5", "5", 9), "other": BEHIND},
            True,
            "One ledger was checked and balances at position 9.",
        ),
        ({"main": BEHIND}, True, "Whether the books balance cannot be said now."),
        (
            {"main": balance("5", "6", 9), "other": balance("1", "1", 9)},
            True,
            "The books of main do not balance at position 9.",
        ),
    ],
)
def test_the_books_are_said_to_balance_only_where_that_was_checked(
    replies: dict[str, Reply], is_all: bool, sentence: str
) -> None:
    assert now.books_of(replies, is_all=is_all).sentence == sentence


def found(*kinds: tuple[str, int]) -> dict[str, Any]:
    totals = [
        {"kind": kind, "count": count, "oldest_age_seconds": 60.0 * (n + 1)}
        for n, (kind, count) in enumerate(kinds)
    ]
    return {"data": [], "totals": totals}


def test_what_goes_on_by_itself_needs_nobody_and_comes_last() -> None:
    needs = now.needs_of(found(("delivery_waiting", 3), ("stream_held", 1), ("hold_lapsed", 0)))
    assert [need.kind for need in needs] == ["stream_held", "delivery_waiting"]
    assert now.sentence_of_needs(needs, ("operator",), sees_all=True) == "One thing needs you."
    assert now.sentence_of_needs(needs, ("auditor",), sees_all=True) == "One thing needs an operator."
    assert now.sentence_of_needs(needs[1:], ("operator",), sees_all=True) == "Nothing needs you."


def test_nothing_is_said_of_what_the_caller_may_not_see() -> None:
    nothing: dict[str, Any] = {"data": [], "next_cursor": None}
    assert (
        now.sentence_of_needs([], ("auditor",), sees_all=False)
        == "Nothing that you may see needs an operator."
    )
    books = now.books_of({"main": balance("5", "5", 7)}, is_all=True)._replace(is_whole=False)
    assert books.sentence == "The books that you may read balance at position 7."
    assert stuck.sentence([], sees_all=False) == "Nothing that you may see is stuck."
    assert "that you may see" in webhooks.sentence([], sees_all=False, has_more=False)
    assert "is listed" in dead_letters.sentence(nothing, "open", is_whole=False)
    assert dead_letters.sentence(nothing, "open", is_whole=True) == "No event was set aside."


@pytest.mark.parametrize(
    ("kinds", "sentence"),
    [
        ([], "Nothing is stuck."),
        ([("stream_held", 1)], "One thing is stuck, the oldest for 1 min."),
        ([("delivery_waiting", 1)], "One thing is stuck, the oldest for 1 min. It goes on by itself."),
        (
            [("delivery_waiting", 2), ("stream_held", 1)],
            "Three things are stuck, the oldest for 2 min. Two of them go on by themselves.",
        ),
    ],
)
def test_how_much_is_stuck_is_said_in_words(kinds: list[tuple[str, int]], sentence: str) -> None:
    totals = found(*kinds)["totals"]
    assert stuck.sentence(totals, sees_all=True).replace("\u202f", " ") == sentence


def test_commands_are_taken_from_the_words_once_and_requests_are_left() -> None:
    words = (
        "Resume it: `tallystick projections resume x`, or `POST /v1/x`. `tallystick projections resume x`."
        " To end it: SELECT pg_terminate_backend(7);"
    )
    assert stuck.commands_in(words) == [
        "tallystick projections resume x",
        "SELECT pg_terminate_backend(7);",
    ]


@pytest.mark.parametrize(
    ("state", "due_at", "sentence"),
    [
        (
            "in_doubt",
            "2026-07-01T12:04:00.000000Z",
            "Nobody knows yet whether the money left. We ask again at 12:04 UTC at the latest.",
        ),
        (
            "in_doubt",
            "2026-07-01T11:58:00.000000Z",
            "Nobody knows yet whether the money left. Asking again has been due since 11:58 UTC.",
        ),
        ("in_doubt", None, "Nobody knows yet whether the money left."),
        ("completed", None, "The money left, and the hold is settled."),
    ],
)
def test_a_payout_promises_no_more_than_is_known(state: str, due_at: str | None, sentence: str) -> None:
    assert payouts.sentence_of({"state": state, "due_at": due_at}, NOW) == sentence


def test_a_list_of_payouts_names_what_is_in_doubt_first() -> None:
    listed = [{"state": state} for state in ("in_doubt", "stuck", "submitted", "completed")]
    assert payouts.sentence(listed, None) == (
        "Of one of these, nobody knows yet whether the money left. One contradicts the record: a person must find out."
        " One is under way."
    )
    assert payouts.sentence([], "failed") == "No payout is in this state: not paid."


def a_projection(**more: Any) -> dict[str, Any]:
    return {
        "name": "entries",
        "version": 1,
        "state": "running",
        "position": 50,
        "head": 200,
        "lag_events": 150,
        "lag_seconds": 3.0,
        "rate_events_per_second": 10.0,
        "dead_letters": 0,
        "rebuild": None,
        "unread_versions": [],
        "controlled": None,
        **more,
    }


def test_a_projection_says_why_it_is_behind() -> None:
    by = {"by": "oncall", "reason": "the disk is full"}
    paused = projections.sentence_of(a_projection(state="paused", controlled=by))
    assert paused.startswith("oncall paused it and said why: the disk is full. Its answers get older.")
    assert projections.sentence_of(a_projection()).startswith("It shows an earlier position, and moves on.")
    whole = a_projection(lag_events=0, lag_seconds=0.0, position=200)
    assert projections.sentence_of(whole).endswith("It shows everything up to position 200, the newest.")


def test_versions_stand_side_by_side_with_their_own_targets() -> None:
    rebuild = {
        "version": 2,
        "state": "filling",
        "position": 25,
        "target": 50,
        "rate_events_per_second": 5.0,
        "seconds_left": 5.0,
    }
    other = {"version": 9, "shape": 3, "state": "retired", "position": 200}
    live, built, unread = projections.versions_of(a_projection(rebuild=rebuild, unread_versions=[other]))
    assert [live.percent, built.percent, unread.percent] == [25, 50, 100]
    assert (built.seconds_left, unread.seconds_left) == (5.0, None)


@pytest.mark.parametrize(
    ("letter", "words"),
    [
        ({"state": "open", "message": "ValueError: x"}, "would fail again"),
        ({"state": "resolved", "closed": {"followed_by": None}}, "everything held behind it"),
        ({"state": "resolved", "closed": {"followed_by": "1"}}, "A later event of the stream would fail"),
        ({"state": "superseded"}, "nothing would change"),
    ],
)
def test_a_retry_is_foretold_from_the_letter_that_it_would_leave(letter: dict[str, Any], words: str) -> None:
    assert words in dead_letters.foretold(letter)


def test_a_delivery_behind_another_says_so() -> None:
    held = {"state": "pending", "next_attempt_at": None}
    assert deliveries.sentence_of(held) == "It is held behind an earlier delivery of its key."
    assert "turn" in deliveries.sentence_of({**held, "next_attempt_at": NOW})


def test_receivers_that_get_nothing_are_counted() -> None:
    hooks: list[dict[str, Any]] = [
        {"state": "enabled", "failing_since": NOW},
        {"state": "disabled", "failing_since": None},
    ]
    assert webhooks.sentence(hooks, sees_all=True, has_more=False) == (
        "Two receivers are registered. One is disabled: their events wait. One does not acknowledge now."
    )
    assert webhooks.sentence(hooks, sees_all=True, has_more=True).startswith(
        "Two receivers are on this page."
    )


def test_small_numbers_are_words() -> None:
    assert counted(1, "thing") == "One thing"
    assert counted(12, "thing") == "Twelve things"
    assert counted(1300, "thing") == "1\u202f300 things"


@pytest.mark.parametrize(
    ("provider", "destination", "words"),
    [
        ("bank", {"iban": "1"}, "10.50 USD of alice would be held, and bank asked to pay it out."),
        (
            "bridge",
            {"ledger": "west", "account": "bob"},
            "10.50 USD of alice would be held, and west asked to post it to bob.",
        ),
    ],
)
def test_a_payout_is_foretold_with_where_it_goes(
    provider: str, destination: dict[str, str], words: str
) -> None:
    payout = {"amount": 1050, "asset": "USD/2", "account": "alice"}
    assert payouts.foretold({**payout, "provider": provider, "destination": destination}) == words
