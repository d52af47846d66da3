"""A trace's moments as a page tells them, and where they stand in the lanes."""

from itertools import pairwise
from typing import Any, get_args

import pytest

from api.console.drawings.lanes import LEFT, NOT_YET, RIGHT, lanes
from api.console.timelines import LANES, MAX_TOLD_ONE_BY_ONE, page_of_subject, told, who_sent
from projections.diagnosis.trace.timeline import MomentKind


def at(seconds: float | None, kind: MomentKind = "event_recorded", **more: Any) -> dict[str, Any]:
    time = None if seconds is None else f"2026-07-01T12:00:{seconds:09.6f}Z"
    moment = {
        "time": time,
        "position": 1,
        "kind": kind,
        "subject": "main/ledger",
        "actor": "shop",
        "words": "so",
    }
    return {**moment, **more}


def test_a_moment_is_told_in_its_lane_and_after_the_first() -> None:
    first, second = told([at(1, "request_accepted"), at(3.5, "provider_silent")], "main")
    assert (first.lane, first.after_seconds) == ("client", 0.0)
    assert (second.lane, second.after_seconds, second.tone) == ("provider", 2.5, "doubt")


@pytest.mark.parametrize("kind", get_args(MomentKind))
def test_every_kind_of_moment_has_a_lane(kind: MomentKind) -> None:
    (moment,) = told([at(1, kind)], "main")
    assert moment.lane in LANES


def test_silence_is_never_told_as_failure() -> None:
    (silent,) = told([at(1, "provider_silent")], "main")
    assert silent.tone == "doubt"
    assert "fail" not in silent.what


def test_many_events_of_one_command_are_told_together() -> None:
    few, many = MAX_TOLD_ONE_BY_ONE, MAX_TOLD_ONE_BY_ONE + 1
    assert [of.number for of in told([at(1)] * few, "main")] == [1] * few
    (together,) = told([at(1)] * many, "main")
    assert (together.number, together.words) == (many, f"{many} events together, the last: so")
    assert len(told([at(1)] * many + [at(2)], "main")) == 2


def test_the_projections_that_have_the_story_are_told_together() -> None:
    reached = [at(n, "projection_reached", subject=f"projections/{name}") for n, name in enumerate("ab")]
    (together,) = told(reached, "main")
    assert together.words == "2 projections had reached it by then: a, b"
    assert together.address == "/console/projections"


def test_what_has_no_time_yet_has_no_place_in_time() -> None:
    _, waiting = told([at(1), at(None, "delivery_waiting", subject="webhooks/w")], "main")
    assert (waiting.after_seconds, waiting.lane) == (None, "receivers")
    drawn = lanes(told([at(1), at(None, "delivery_waiting", subject="webhooks/w")], "main"))
    assert [mark.x for mark in drawn.marks] == [LEFT, NOT_YET]
    assert drawn.path == f"{LEFT},{drawn.rows[0].y}"


@pytest.mark.parametrize(
    ("kind", "subject", "address"),
    [
        ("request_accepted", "a?b", "/console/ledgers/main/operations/a%3Fb"),
        ("event_recorded", "main/accounts/a:b", "/console/ledgers/main/accounts/a:b"),
        ("event_recorded", "main/ledger", "/console/ledgers/main"),
        ("provider_called", "payouts/p", "/console/ledgers/main/payouts/p"),
        ("delivery_sent", "webhooks/w", "/console/webhooks/w/deliveries/9"),
        ("dead_letter_opened", "dead-letters/d", "/console/dead-letters/d"),
        ("projection_behind", "projections/due", "/console/projections/due"),
    ],
)
def test_a_moment_leads_to_what_it_happened_to(kind: str, subject: str, address: str) -> None:
    assert page_of_subject(kind, subject, 9, "main") == address


def test_who_sent_it_is_told_by_the_moments_of_the_request() -> None:
    moments = [at(1, "request_accepted"), at(2), at(3, "request_replayed"), at(4, "key_mismatched")]
    assert [each["kind"] for each in who_sent(moments)] == [
        "request_accepted",
        "request_replayed",
        "key_mismatched",
    ]


@pytest.mark.parametrize("times", [[0, 0.001, 0.002, 50], [n / 3 for n in range(60)], [7], [0, 0]])
def test_later_moments_stand_further_right_and_within_the_drawing(times: list[float]) -> None:
    drawn = lanes(told([at(time) for time in times], "main"))
    places = [mark.x for mark in drawn.marks]
    assert places == sorted(set(places))
    assert places[0] == LEFT
    assert places[-1] <= RIGHT
    assert sum(mark.number for mark in drawn.marks) == len(times)


def test_ticks_do_not_overlap() -> None:
    drawn = lanes(told([at(n / 3) for n in range(60)], "main"))
    assert all(later.x - earlier.x > 60 for earlier, later in pairwise(drawn.ticks))


def test_moments_that_share_a_mark_show_the_worst_of_them() -> None:
    drawn = lanes(told([at(1, "provider_called"), at(1, "provider_silent")], "main"))
    (mark,) = drawn.marks
    assert (mark.tone, mark.glyph, mark.number) == ("doubt", "?", 2)


def test_a_story_without_moments_has_no_lanes() -> None:
    drawn = lanes([])
    assert (drawn.rows, drawn.marks, drawn.ticks, drawn.path) == ([], [], [], "")
