"""Payouts completed, failed and reconciled by operators (api/README.md, Payouts)."""

import pytest
from msgspec.structs import replace

from domain.model.errors import InsufficientFunds, InvalidRequest, PayoutEnded, PayoutNotFound
from domain.model.payouts.payout import PayoutReconciliationRequested, PayoutReported, PayoutState, Verdict
from domain.model.payouts.resolutions import CompletePayout, FailPayout, ReconcilePayout
from domain.model.streams import transaction_stream
from domain.model.times import Instant, later
from tests.payouts import a_mark
from tests.unit.given_when_then import NOW, a_posting, a_reversal, credit, debit
from tests.unit.payouts.history import (
    FIRST,
    HELD,
    OPERATOR,
    PAID,
    RELEASED,
    STREAM,
    books,
    in_state,
    money,
    payout,
    recorded,
    report,
    silence,
)


class TestOperators:
    @pytest.mark.parametrize("state", ["accepted", "submitted", "in_doubt", "stuck"])
    def test_what_has_not_ended_is_completed(self, state: PayoutState) -> None:
        history = in_state(state)
        answer = history.when(CompletePayout(OPERATOR, payout(history), a_mark(), "seen on the statement"))
        assert recorded(answer) == ["payout.completed"]
        step = payout(history).history[-1]
        assert (step.source, step.detail, step.actor) == ("operator", "seen on the statement", "operator")
        assert (payout(history).state, money(history)) == ("completed", PAID)
        history.when(CompletePayout(OPERATOR, payout(history), a_mark(), "again")).then_nothing()
        history.when(FailPayout(OPERATOR, payout(history), a_mark(), "no")).then_refused(PayoutEnded)

    @pytest.mark.parametrize("state", ["accepted", "submitted", "in_doubt"])
    def test_what_has_not_ended_is_failed(self, state: PayoutState) -> None:
        history = in_state(state)
        confirmed = state != "accepted"
        answer = history.when(FailPayout(OPERATOR, payout(history), a_mark(), "never arrived", confirmed))
        assert recorded(answer) == ["payout.failed"]
        assert (payout(history).state, money(history)) == ("failed", RELEASED)
        history.when(FailPayout(OPERATOR, payout(history), a_mark(), "again")).then_nothing()
        history.when(CompletePayout(OPERATOR, payout(history), a_mark(), "no")).then_refused(PayoutEnded)

    def test_what_was_paid_and_came_back_is_reversed_when_it_is_failed(self) -> None:
        history = in_state("stuck")
        paid = payout(history).booked_by
        history.when(FailPayout(OPERATOR, payout(history), a_mark(), "it came back"))
        assert money(history) == ((40, 140, 0, 0), (40, 40, 0, 0))
        assert history.journal.states[transaction_stream("main", paid)].reversible_amount == 0
        assert payout(history).booked_by != paid

    def test_what_was_released_and_had_left_is_posted_when_it_is_completed(self) -> None:
        history = in_state("failed")
        report(history, "completed", "late")
        assert (payout(history).state, money(history)) == ("stuck", RELEASED)
        history.when(CompletePayout(OPERATOR, payout(history), a_mark(), "it had left"))
        assert (payout(history).state, money(history)) == ("completed", PAID)
        report(history, "failed", "later still")
        history.when(FailPayout(OPERATOR, payout(history), a_mark(), "it came back"))
        report(history, "completed", "and later")
        history.when(CompletePayout(OPERATOR, payout(history), a_mark(), "it left again"))
        assert money(history) == ((80, 140, 0, 0), (40, 80, 0, 0))

    def test_what_was_spent_meanwhile_cannot_be_posted_and_stays_stuck(self) -> None:
        history = in_state("failed")
        history.when(a_posting(debit("alice", 100), credit("cash", 100)))
        report(history, "completed", "late")
        refusal = history.when(CompletePayout(OPERATOR, payout(history), a_mark(), "it left")).then_refused(
            InsufficientFunds
        )
        # The refusal concerns the transaction that would book it, so no pointer leads into the operator's request.
        assert refusal.details["account"] == "alice" and "pointer" not in refusal.details
        assert refusal.details["shortfall"] == 40
        assert payout(history).state == "stuck"
        history.when(a_posting(debit("cash", 40), credit("alice", 40), key="loss"))
        history.when(CompletePayout(OPERATOR, payout(history), a_mark(), "it left"))
        assert payout(history).state == "completed"

    def test_what_was_reversed_otherwise_cannot_be_reversed_again(self) -> None:
        history = in_state("stuck")
        history.when(replace(a_reversal(), named_id=payout(history).booked_by))
        refusal = history.when(FailPayout(OPERATOR, payout(history), a_mark(), "it came back")).refusal
        assert refusal is not None
        assert refusal.code == "not_reversible"
        assert payout(history).state == "stuck"

    @pytest.mark.parametrize("state", ["submitted", "in_doubt"])
    def test_what_may_have_left_is_not_failed_before_it_is_confirmed(self, state: PayoutState) -> None:
        history = in_state(state)
        before = money(history)
        refused = history.when(FailPayout(OPERATOR, payout(history), a_mark(), "never arrived"))
        assert isinstance(refused.refusal, InvalidRequest)
        assert refused.refusal.errors[0]["pointer"] == "/confirm"
        assert f"is {state}, so that its money may have left" in refused.refusal.errors[0]["detail"]
        assert (payout(history).state, money(history)) == (state, before)

    def test_what_was_rejected_is_no_matter_for_them(self) -> None:
        history = in_state("rejected")
        for command in (CompletePayout, FailPayout, ReconcilePayout):
            history.when(command(OPERATOR, payout(history), a_mark(), "x")).then_refused(PayoutEnded)

    @pytest.mark.parametrize("state", ["submitted", "in_doubt", "completed", "failed", "stuck"])
    def test_reconciling_has_the_provider_asked_now(self, state: PayoutState) -> None:
        history = in_state(state)
        now: Instant = "2026-11-23T21:00:00.000000Z"
        answer = history.when(ReconcilePayout(OPERATOR, payout(history), a_mark(), "please"), now)
        answer.then((STREAM, PayoutReconciliationRequested(reason="please")))
        made = payout(history)
        assert (made.state, made.due_at, made.is_to_be_submitted) == (state, now, False)
        history.when(silence(history), now)
        assert payout(history).due_at == later(now, FIRST)
        assert payout(history).state == ("in_doubt" if state == "submitted" else state)

    def test_what_is_not_sent_yet_need_not_be_asked_for(self) -> None:
        history = in_state("accepted")
        history.when(ReconcilePayout(OPERATOR, payout(history), a_mark(), "please")).then_nothing()

    @pytest.mark.parametrize(
        ("said", "then"), [("completed", "completed"), ("failed", "stuck"), ("processing", "stuck")]
    )
    def test_asked_for_what_is_stuck_an_answer_that_agrees_with_the_books_resolves_it(
        self, said: Verdict, then: PayoutState
    ) -> None:
        history = in_state("stuck")
        history.when(ReconcilePayout(OPERATOR, payout(history), a_mark(), "please"))
        report(history, said, asked=True)
        assert (payout(history).state, money(history)) == (then, PAID)
        assert payout(history).due_at is None

    @pytest.mark.parametrize(
        ("said", "then", "left"), [("completed", "completed", PAID), ("failed", "failed", RELEASED)]
    )
    def test_and_what_is_still_held_ends_as_the_answer_says(
        self, said: Verdict, then: PayoutState, left: object
    ) -> None:
        history = in_state("submitted")
        report(history, "completed", "msg", amount=41)
        history.when(ReconcilePayout(OPERATOR, payout(history), a_mark(), "please"))
        report(history, said, asked=True, amount=40)
        assert (payout(history).state, money(history)) == (then, left)

    def test_an_amount_that_still_differs_does_not(self) -> None:
        history = in_state("submitted")
        report(history, "completed", "msg", amount=41)
        history.when(ReconcilePayout(OPERATOR, payout(history), a_mark(), "please"))
        report(history, "completed", asked=True, amount=41)
        assert (payout(history).state, money(history)) == ("stuck", HELD)
        assert isinstance(history.journal.recorded[-1].event, PayoutReported)

    def test_a_callback_leaves_the_inquiry_due(self) -> None:
        history = in_state("completed")
        history.when(ReconcilePayout(OPERATOR, payout(history), a_mark(), "please"))
        report(history, "completed", "msg")
        assert payout(history).due_at == NOW
        report(history, "completed", asked=True)
        assert payout(history).due_at is None

    def test_a_payout_that_is_not_there_is_not_found(self) -> None:
        seen = payout(in_state("submitted"))
        for command in (CompletePayout, FailPayout, ReconcilePayout):
            books().when(command(OPERATOR, seen, a_mark(), "x")).then_refused(PayoutNotFound)
