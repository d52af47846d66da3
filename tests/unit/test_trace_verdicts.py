"""Verdicts of traces: the outcome of a request decides the verdict, and other facts only add concerns."""

import re
from itertools import product
from typing import Any, get_args
from uuid import UUID

import pytest

from domain.model.idempotency import operation_id
from domain.model.payouts.attempts import SubmitPayout
from domain.model.payouts.bridges import BRIDGE
from domain.model.payouts.payout import Payout, PayoutState
from domain.model.times import Instant, later
from domain.model.transactions import Acceptance, Transaction
from projections.diagnosis.moves import Between, LedgerMove
from projections.diagnosis.remedies import SAFE, Remedy, safe_to_do
from projections.diagnosis.request_replays import Replays
from projections.diagnosis.trace.story import Made, ProjectionStanding, Reached, Story
from projections.diagnosis.trace.timeline import timeline
from projections.diagnosis.trace.verdict import (
    PAYOUT_OVERDUE_SECONDS,
    REQUEST_OVERDUE_SECONDS,
    verdict,
    verdict_of,
)
from projections.engine.dead_letters import DeadLetter
from projections.outbox.deliveries import Attempt, Delivery
from projections.read_models.event_history import journal_event
from projections.running.positions import Progress
from tests.payouts import PATIENCE_SECONDS, a_mark, a_request
from tests.unit.given_when_then import (
    CONTEXT,
    NOW,
    Given,
    a_hold,
    a_ledger,
    a_posting,
    a_reversal,
    a_settlement,
    a_void,
    accepted,
    an_account,
    an_opening,
    credit,
    debit,
    given,
)

HOOK = UUID(int=7)
NOTHING = Story((), (), (), (), (), (), (), 9, 9, is_whole=True)
ENTRIES = (debit("a", 10), credit("b", 10))


def books() -> Given:
    return given(*a_ledger("USD/2"), an_account("a"), an_account("b"))


def made(history: Given, key: str = "key-1") -> Made:
    state = history.journal.states[f"main/transactions/{operation_id('main', key)}"]
    assert isinstance(state, Transaction | Acceptance)
    return state


def posted() -> Made:
    history = books()
    history.when(a_posting(*ENTRIES))
    return made(history)


def reversed_by(*amounts: int | None) -> Made:
    history = books()
    history.when(a_posting(*ENTRIES))
    for number, amount in enumerate(amounts):
        history.when(a_reversal(amount=amount, key=f"reversal-{number}"))
    return made(history)


def refused() -> Made:
    history = given(*a_ledger("USD/2"), an_account("a", an_opening(min_balance=0)), an_account("b"))
    history.when(a_posting(*ENTRIES))
    return made(history)


def waiting() -> Made:
    history = books()
    history.when(accepted(a_posting(*ENTRIES)))
    return made(history)


def held(end: str = "", key: str = "hold", expires_at: Instant | None = None) -> Made:
    history = books()
    history.when(a_hold(*ENTRIES, expires_at=expires_at))
    if end == "settled":
        history.when(a_settlement())
    elif end == "voided":
        history.when(a_void())
    return made(history, key)


def paid_out(state: PayoutState = "accepted") -> Payout:
    history = given(*a_ledger("USD/2"), an_account("alice"))
    history.when(a_request())
    id = operation_id("main", "payout")
    payout = history.journal.states[f"main/payouts/{id}"]
    assert isinstance(payout, Payout)
    if state == "accepted":
        return payout
    history.when(SubmitPayout(CONTEXT, payout, a_mark(), PATIENCE_SECONDS))
    submitted: Payout = history.journal.states[f"main/payouts/{id}"]
    return submitted._replace(state=state)


SOON = later(NOW, 60)
OUTCOMES: dict[str, tuple[Made, Instant, Remedy]] = {
    "posted": (posted(), NOW, "nothing"),
    "partly_reversed": (reversed_by(4), NOW, "nothing"),
    "reversed": (reversed_by(4, None), NOW, "nothing"),
    "rejected": (refused(), NOW, "use_new_key"),
    "request_waiting": (waiting(), NOW, "wait"),
    "hold_pending": (held(expires_at=SOON), NOW, "end_hold"),
    "hold_lapsed": (held(expires_at=SOON), SOON, "hold_again"),
    "hold_settled": (held("settled"), NOW, "nothing"),
    "hold_voided": (held("voided"), NOW, "hold_again"),
    "hold_released": (held("voided", "void"), NOW, "nothing"),
    "hold_expired": (held()._replace(status="expired"), NOW, "hold_again"),  # type: ignore[call-arg]
    "payout_accepted": (paid_out(), NOW, "wait"),
    "payout_submitted": (paid_out("submitted"), NOW, "wait"),
    "payout_in_doubt": (paid_out("in_doubt"), NOW, "ask_provider"),
    "payout_contradictory": (paid_out("stuck"), NOW, "resolve_payout"),
    "payout_completed": (paid_out("completed"), NOW, "nothing"),
    "payout_failed": (paid_out("failed"), NOW, "pay_out_again"),
}


def standing(reached: Reached, state: str = "running", name: str = "balances") -> ProjectionStanding:
    progress = Progress(name, 1, 5, 9, state, 4, 1.0, 0.0, 0, None, None, 0.0)
    return ProjectionStanding(progress, reached, NOW)


def delivery(state: Any, *attempts: Attempt) -> Delivery:
    return Delivery(HOOK, 9, "main/9", "transaction.posted", "s", "c", state, None, None, attempts)


def attempt(outcome: Any, *, duplicated: bool = False) -> Attempt:
    return Attempt(1, outcome, duplicated, NOW, NOW, 0.1, 204, None)


def letter(state: Any) -> DeadLetter:
    return DeadLetter(UUID(int=1), "balances", 1, 1, state, "main/accounts/a", 2, 5, "account.changed", 1, "c", "x",
                      "ValueError", "poison", "0", 3, NOW, NOW, 0, None)  # fmt: skip


def replays(kind: Any) -> Replays:
    return Replays("main", operation_id("main", "key-1"), "alice", kind, 2, NOW, NOW, "c")


# Other facts that may be known of a request, and the concern each one is.
BESIDE: dict[str, tuple[dict[str, Any], str | None]] = {
    "nothing": ({}, None),
    "replayed": ({"replays": (replays("replayed"),)}, None),
    "mismatched": ({"replays": (replays("mismatched"),)}, "key_mismatched"),
    "reached": ({"standings": (standing("reached"),)}, None),
    "held": ({"standings": (standing("held"),), "letters": (letter("open"),)}, "dead_letter_open"),
    "discarded": ({"letters": (letter("discarded"),)}, None),
    "behind": ({"standings": (standing("behind"),)}, "projection_behind"),
    "rebuilding": ({"standings": (standing("behind", "rebuilding"),)}, "projection_behind"),
    "paused": ({"standings": (standing("behind", "paused"),)}, "projection_paused"),
    "halted": ({"standings": (standing("behind", "halted"),)}, "projection_halted"),
    "unpublished": ({"standings": (standing("behind", name="nats"),)}, "projection_behind"),
    "acknowledged": ({"deliveries": (delivery("acknowledged", attempt("acknowledged")),)}, None),
    "pending": ({"deliveries": (delivery("pending"),)}, "delivery_waiting"),
    "sent": ({"deliveries": (delivery("sent", attempt("sent")),)}, "delivery_waiting"),
    "given up": ({"deliveries": (delivery("failed", attempt("failed")),)}, "delivery_failed"),
    "suppressed": ({"deliveries": (delivery("suppressed"),)}, None),
    "twice": (
        {"deliveries": (delivery("acknowledged", attempt("acknowledged", duplicated=True)),)},
        "delivery_duplicated",
    ),
    "cut": ({"is_whole": False}, "story_cut"),
    "moving": ({"stopped": LedgerMove("main", "frozen", "west", NOW)}, "ledger_moving"),
    "between": ({"between": Between("main", "east", "west", NOW)}, "ledger_between"),
}


def path_of(made: Made) -> str:
    """The path at which the thing made by a request is found."""
    kind = "payouts" if isinstance(made, Payout) else "transactions"
    return f"/v1/ledgers/{made.ledger}/{kind}/{made.id}"


@pytest.mark.parametrize("code", OUTCOMES)
@pytest.mark.parametrize("beside", BESIDE)
def test_what_a_request_has_come_to_decides_whatever_is_beside_it(code: str, beside: str) -> None:
    of, now, remedy = OUTCOMES[code]
    members, concern = BESIDE[beside]
    found = verdict(NOTHING._replace(operations=(of,), **members), now)
    assert (found.code, found.remedy, found.safe_to_do) == (code, remedy, safe_to_do(remedy, path_of(of)))
    assert found.what_happened and found.why
    expected = [] if concern is None else [concern]
    overdue = [each.code for each in verdict_of(of, now).concerns]
    assert [each.code for each in found.concerns] == overdue + expected
    assert all(each.words for each in found.concerns)
    # The advice names the thing itself, without placeholders to fill in.
    assert not any(re.search(r"\b(ID|LEDGER|POSITION)\b", each.safe_to_do) for each in found.concerns)


@pytest.mark.parametrize(("one", "other"), list(product(BESIDE, repeat=2)))
def test_concerns_are_told_together(one: str, other: str) -> None:
    members: dict[str, Any] = {}
    for name, value in [*BESIDE[one][0].items(), *BESIDE[other][0].items()]:
        members[name] = members[name] + value if type(members.get(name)) is tuple else value
    found = verdict(NOTHING._replace(operations=(posted(),), **members), NOW)
    assert found.code == "posted"
    expected = {concern for _, concern in (BESIDE[one], BESIDE[other]) if concern}
    assert {concern.code for concern in found.concerns} == expected


@pytest.mark.parametrize(
    ("of", "seconds", "concern"),
    [
        (waiting(), REQUEST_OVERDUE_SECONDS, "request_overdue"),
        (paid_out("accepted"), PAYOUT_OVERDUE_SECONDS, "payout_overdue"),
        (paid_out("submitted"), PAYOUT_OVERDUE_SECONDS, "payout_overdue"),
    ],
)
def test_what_takes_too_long_is_a_concern(of: Made, seconds: float, concern: str) -> None:
    assert verdict_of(of, later(NOW, seconds - 0.001)).concerns == ()
    assert [each.code for each in verdict_of(of, later(NOW, seconds)).concerns] == [concern]


@pytest.mark.parametrize("state", get_args(PayoutState))
def test_a_bridge_into_an_installation_that_is_not_named_waits_for_its_name(state: PayoutState) -> None:
    destination = {"ledger": "payroll", "account": "a"}
    bridge = paid_out(state)._replace(provider=BRIDGE, destination=destination)
    told = NOTHING._replace(operations=(bridge,), unnamed={"payroll": "north"})
    late = later(NOW, PAYOUT_OVERDUE_SECONDS)
    is_under_way = state in ("accepted", "submitted", "in_doubt")
    for found in (verdict(told, late), verdict_of(bridge, late, told.unnamed)):
        assert (found.remedy == "name_installation", "in the installation north" in found.why) == (
            is_under_way,
        ) * 2
        assert {each.remedy for each in found.concerns} <= {"name_installation"}
    assert told.has_bridges_under_way == is_under_way
    assert verdict(told._replace(unnamed={"other": "north"}), late) == verdict(
        told._replace(unnamed={}), late
    )
    of_both = verdict(told._replace(operations=(posted(), bridge)), late)
    assert (of_both.code == "some_need_an_operator") == (is_under_way or state == "stuck")


def test_what_has_ended_takes_no_time_any_more() -> None:
    for code in ("posted", "rejected", "payout_completed", "payout_failed", "payout_contradictory"):
        assert verdict_of(OUTCOMES[code][0], later(NOW, 10**6)).concerns == ()


@pytest.mark.parametrize(("one", "other"), list(product(OUTCOMES, repeat=2)))
def test_of_several_requests_the_one_that_needs_most_decides(one: str, other: str) -> None:
    pair = (OUTCOMES[one][0], OUTCOMES[other][0])
    now = SOON if "hold_lapsed" in (one, other) else NOW
    remedies = {verdict_of(of, now).remedy for of in pair}
    found = verdict(NOTHING._replace(operations=pair), now)
    if remedies & {"ask_provider", "resolve_payout"}:
        assert found.code == "some_need_an_operator"
    elif remedies & {"wait", "end_hold"}:
        assert found.code == "some_unfinished"
    else:
        assert found.code == "all_done"
    assert found.what_happened.startswith("2 requests: ")


def test_where_nothing_is_recorded_it_may_be_sent() -> None:
    found = verdict(NOTHING, NOW)
    assert (found.code, found.remedy) == ("nothing_recorded", "send_again")
    assert "up to position 9 of 9" in found.what_happened


def test_events_without_a_key_are_no_requests() -> None:
    event = journal_event(("main/accounts/a", 1, "account.opened", b"{}", 4))
    found = verdict(NOTHING._replace(events=(event,)), NOW)
    assert (found.code, found.remedy) == ("recorded", "nothing")


def test_every_remedy_has_words() -> None:
    assert set(SAFE) == set(get_args(Remedy))
    assert all(words.endswith(".") for words in SAFE.values())


@pytest.mark.parametrize("beside", BESIDE)
def test_a_timeline_runs_by_time_and_ends_with_what_has_none(beside: str) -> None:
    moments = timeline(NOTHING._replace(operations=(posted(), waiting()), **BESIDE[beside][0]))
    times = [moment.time for moment in moments]
    known = [time for time in times if time is not None]
    assert times == sorted(known) + [None] * (len(times) - len(known))
    assert all(moment.subject and moment.words for moment in moments)


def test_attempts_are_told_with_how_they_ended() -> None:
    told: dict[str, list[str]] = {}
    for outcome in ("sent", "acknowledged", "failed", "suppressed"):
        told_of = NOTHING._replace(deliveries=(delivery(outcome, attempt(outcome)),))
        told[outcome] = [moment.kind for moment in timeline(told_of)]
    assert told == {
        "sent": ["delivery_sent"],
        "acknowledged": ["delivery_sent", "delivery_acknowledged"],
        "failed": ["delivery_sent", "delivery_failed", "delivery_failed"],
        "suppressed": ["delivery_suppressed"],
    }
    again = timeline(
        NOTHING._replace(deliveries=(delivery("acknowledged", attempt("acknowledged", duplicated=True)),))
    )
    assert [moment.kind for moment in again] == ["delivery_duplicated", "delivery_acknowledged"]
