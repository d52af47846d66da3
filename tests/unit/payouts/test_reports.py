"""Reports of the provider about payouts (api/README.md, Payouts)."""

import pytest

from domain.model.accounts import EntriesSettled
from domain.model.errors import AccountFrozen, PayoutNotFound
from domain.model.payouts.payout import PayoutCompleted, PayoutContradicted, PayoutState, Verdict
from domain.model.payouts.reports import MAX_NOTED_CALLBACKS
from domain.model.payouts.resolutions import CompletePayout, FailPayout
from domain.model.streams import transaction_stream
from domain.model.times import later
from domain.model.transactions import Settled, SettlementPosted
from tests.payouts import CLEARING, a_mark, a_report
from tests.unit.given_when_then import NOW
from tests.unit.payouts.history import (
    ALICE,
    CLEARING_STREAM,
    FIRST,
    HELD,
    HOLD_STREAM,
    ID,
    OPERATOR,
    PAID,
    RELEASED,
    STREAM,
    books,
    in_state,
    money,
    payout,
    posted,
    recorded,
    report,
    submission,
)


class TestReports:
    def test_callbacks_that_end_nothing_are_recorded_up_to_a_number(self) -> None:
        history = in_state("submitted")
        for n in range(MAX_NOTED_CALLBACKS):
            told = history.when(a_report(payout(history), "processing", "callback", f"msg-{n}"))
            assert recorded(told) == ["payout.reported"]
        for id in ("msg-0", "another"):
            history.when(a_report(payout(history), "processing", "callback", id)).then_nothing()
        ended = history.when(a_report(payout(history), "completed", "callback", "end"))
        assert recorded(ended) == ["payout.completed"]
        history.when(a_report(payout(history), "completed", "callback", "again")).then_nothing()
        told = history.when(a_report(payout(history), "failed", "callback", "contradiction"))
        assert recorded(told) == ["payout.contradicted"]

    def test_completed_settles_the_hold(self) -> None:
        history = in_state("submitted")
        command = a_report(payout(history), "completed", "callback", "msg")
        id = command.operation.id
        history.when(command).then(
            (
                ALICE,
                EntriesSettled(
                    transaction_id=id, hold_id=ID, held_debits=40, held_credits=0, debits=40, credits=0
                ),
            ),
            (
                CLEARING_STREAM,
                EntriesSettled(
                    transaction_id=id, hold_id=ID, held_debits=0, held_credits=40, debits=0, credits=40
                ),
            ),
            (HOLD_STREAM, Settled(settled_by=id)),
            (
                transaction_stream("main", id),
                SettlementPosted(
                    settles=ID,
                    entries=(
                        posted("alice", "debit", "credit", 60, 40),
                        posted(CLEARING, "credit", "debit", -40, 0),
                    ),
                    effective_at=NOW,
                    fingerprint="fingerprint-1",
                    reference="withdrawal",
                    description="",
                    metadata={"till": "7"},
                ),
            ),
            (
                STREAM,
                PayoutCompleted(
                    source="callback",
                    detail="words",
                    provider_reference="tx-1",
                    message_id="msg",
                    booked_by=id,
                ),
            ),
        )
        made = payout(history)
        assert (made.state, made.due_at, made.booked_by, made.money) == ("completed", None, id, "paid")
        assert made.provider_reference == "tx-1"
        assert made.ended_at == NOW
        assert money(history) == PAID
        envelope = history.journal.recorded[-1].envelope
        assert (envelope.idempotency_key, envelope.causation_id) == (f"payout/{command.mark}", id)
        assert envelope.actor == "provider:simulator"

    def test_failed_voids_it(self) -> None:
        history = in_state("in_doubt")
        assert recorded(report(history, "failed")) == ["payout.failed"]
        assert (payout(history).state, payout(history).money) == ("failed", "released")
        assert money(history) == RELEASED
        assert history.transaction("payout").status == "voided"

    def test_processing_ends_the_doubt_and_is_asked_for_later(self) -> None:
        history = in_state("in_doubt")
        assert recorded(report(history, "processing", "msg")) == ["payout.reported"]
        assert (payout(history).state, payout(history).due_at) == ("submitted", later(NOW, FIRST))
        assert payout(history).is_acknowledged

    @pytest.mark.parametrize(
        ("state", "verdict", "then", "topic"),
        [
            ("accepted", "processing", "stuck", "payout.contradicted"),
            ("accepted", "completed", "stuck", "payout.contradicted"),
            ("accepted", "failed", "stuck", "payout.contradicted"),
            ("submitted", "processing", "submitted", "payout.reported"),
            ("submitted", "completed", "completed", "payout.completed"),
            ("submitted", "failed", "failed", "payout.failed"),
            ("submitted", "unknown", "in_doubt", "payout.reported"),
            ("in_doubt", "processing", "submitted", "payout.reported"),
            ("in_doubt", "completed", "completed", "payout.completed"),
            ("in_doubt", "failed", "failed", "payout.failed"),
            ("in_doubt", "unknown", "in_doubt", "payout.reported"),
            ("completed", "processing", "completed", "payout.reported"),
            ("completed", "completed", "completed", "payout.reported"),
            ("completed", "failed", "stuck", "payout.contradicted"),
            ("completed", "unknown", "stuck", "payout.contradicted"),
            ("failed", "processing", "failed", "payout.reported"),
            ("failed", "completed", "stuck", "payout.contradicted"),
            ("failed", "failed", "failed", "payout.reported"),
            ("failed", "unknown", "failed", "payout.reported"),
            ("stuck", "processing", "stuck", "payout.reported"),
            ("stuck", "completed", "stuck", "payout.reported"),
            ("stuck", "failed", "stuck", "payout.reported"),
        ],
    )
    def test_each_verdict_in_each_state(
        self, state: PayoutState, verdict: Verdict, then: PayoutState, topic: str
    ) -> None:
        history = in_state(state)
        before = money(history)
        assert recorded(report(history, verdict, "new")) == [topic]
        assert payout(history).state == then
        if topic in ("payout.reported", "payout.contradicted"):
            assert money(history) == before

    @pytest.mark.parametrize("of", [ALICE, CLEARING_STREAM])
    def test_what_was_paid_from_a_frozen_account_is_booked_once_it_is_not(self, of: str) -> None:
        history = in_state("submitted").but(of, status="frozen")
        assert recorded(report(history, "completed", "msg")) == ["payout.reported"]
        assert "frozen" in payout(history).history[-1].detail
        assert (payout(history).state, payout(history).due_at) == ("submitted", later(NOW, FIRST))
        history.when(CompletePayout(OPERATOR, payout(history), a_mark(), "it left")).then_refused(
            AccountFrozen
        )
        assert recorded(report(history, "completed", asked=True)) == ["payout.reported"]
        assert (payout(history).due_at, money(history)) == (later(NOW, FIRST), HELD)
        history.but(of, status="open")
        assert recorded(report(history, "completed", asked=True)) == ["payout.completed"]
        assert money(history) == PAID

    @pytest.mark.parametrize("verdict", ["processing", "completed", "failed"])
    @pytest.mark.parametrize("state", ["submitted", "in_doubt", "completed", "failed", "stuck"])
    def test_the_same_message_counts_once(self, state: PayoutState, verdict: Verdict) -> None:
        history = in_state(state)
        report(history, verdict, "new")
        for _ in range(2):
            report(history, verdict, "new").then_nothing()

    def test_a_message_counts_once_whatever_happened_since(self) -> None:
        history = in_state("completed")
        report(history, "completed", "again")
        report(history, "failed", "otherwise")
        history.when(FailPayout(OPERATOR, payout(history), a_mark(), "it came back"))
        report(history, "completed", "again").then_nothing()
        assert payout(history).state == "failed"

    @pytest.mark.parametrize("verdict", ["processing", "completed", "failed"])
    @pytest.mark.parametrize("state", ["submitted", "in_doubt", "completed"])
    def test_another_amount_is_a_contradiction(self, state: PayoutState, verdict: Verdict) -> None:
        history = in_state(state)
        before = money(history)
        report(history, verdict, "new", amount=40)
        history = in_state(state)
        answer = report(history, verdict, "new", amount=41)
        assert recorded(answer) == ["payout.contradicted"]
        event = answer.events[0][1]
        assert isinstance(event, PayoutContradicted)
        assert (event.amount, event.verdict) == (41, verdict)
        assert "amount" in event.detail
        assert (payout(history).state, money(history)) == ("stuck", before)

    def test_another_asset_is_a_contradiction(self) -> None:
        history = in_state("submitted")
        history.when(a_report(payout(history), "completed", asset="EUR/2"))
        assert (payout(history).state, money(history)) == ("stuck", HELD)

    def test_a_provider_that_forgets_what_it_acknowledged_contradicts_itself(self) -> None:
        history = in_state("submitted")
        report(history, "processing", "msg")
        report(history, "unknown", asked=True)
        assert payout(history).state == "stuck"
        history.when(submission(history)).then_nothing()

    def test_an_answer_that_ends_nothing_gives_way_to_what_was_recorded_meanwhile(self) -> None:
        history = in_state("in_doubt")
        late = a_report(payout(history), "unknown", "inquiry")
        report(history, "processing", "msg")
        history.when(late).then_nothing()
        assert payout(history).state == "submitted"

    def test_an_answer_that_ends_it_does_not(self) -> None:
        history = in_state("submitted")
        late = a_report(payout(history), "completed", "submission")
        report(history, "processing", "msg")
        assert recorded(history.when(late)) == ["payout.completed"]

    def test_a_payout_that_is_not_there_is_not_found(self) -> None:
        other = a_report(payout(in_state("submitted")), "completed")
        books().when(other).then_refused(PayoutNotFound)
