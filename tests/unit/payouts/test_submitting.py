"""Submitting payouts to the provider, and its silence (api/README.md, Payouts)."""

import pytest

from domain.model.accounts import EntriesReleased
from domain.model.payouts.attempts import FROZEN
from domain.model.payouts.payout import (
    LONGEST_INQUIRY_SECONDS,
    LONGEST_SILENT_SECONDS,
    PayoutFailed,
    PayoutState,
    PayoutSubmitted,
    PayoutUnanswered,
)
from domain.model.streams import transaction_stream
from domain.model.times import later, moment
from domain.model.transactions import Voided, VoidRecorded
from tests.payouts import CLEARING, PATIENCE_SECONDS, a_report
from tests.unit.given_when_then import NOW, credit, debit
from tests.unit.payouts.history import (
    ALICE,
    CLEARING_STREAM,
    FIRST,
    HELD,
    HOLD_STREAM,
    ID,
    RELEASED,
    STREAM,
    in_state,
    money,
    payout,
    recorded,
    report,
    silence,
    submission,
)


class TestSubmitting:
    def test_the_attempt_is_recorded_before_it_is_made(self) -> None:
        history = in_state("accepted")
        ask_at = later(NOW, PATIENCE_SECONDS)
        history.when(submission(history)).then((STREAM, PayoutSubmitted(attempt=1, ask_at=ask_at)))
        assert (payout(history).state, payout(history).attempts, payout(history).due_at) == (
            "submitted",
            1,
            ask_at,
        )

    def test_only_one_can_record_it(self) -> None:
        history = in_state("accepted")
        both = [submission(history), submission(history)]
        assert [recorded(history.when(one)) for one in both] == [["payout.submitted"], []]

    @pytest.mark.parametrize("state", ["submitted", "in_doubt", "completed", "failed", "stuck", "rejected"])
    def test_what_may_have_been_sent_is_not_sent_again(self, state: PayoutState) -> None:
        history = in_state(state)
        history.when(submission(history)).then_nothing()

    def test_what_the_provider_never_heard_of_is_sent_again(self) -> None:
        history = in_state("in_doubt")
        report(history, "unknown", asked=True)
        assert payout(history).due_at == NOW
        answer = history.when(submission(history))
        answer.then((STREAM, PayoutSubmitted(attempt=2, ask_at=later(NOW, PATIENCE_SECONDS))))
        history.when(submission(history)).then_nothing()

    def test_nothing_leaves_an_account_that_was_frozen_before(self) -> None:
        history = in_state("accepted").but(ALICE, status="frozen")
        command = submission(history)
        void = command.operation.id
        history.when(command).then(
            (ALICE, EntriesReleased(hold_id=ID, debits=40, credits=0)),
            (CLEARING_STREAM, EntriesReleased(hold_id=ID, debits=0, credits=40)),
            (HOLD_STREAM, Voided(voided_by=void)),
            (
                transaction_stream("main", void),
                VoidRecorded(
                    voids=ID,
                    entries=(debit("alice", 40), credit(CLEARING, 40)),
                    effective_at=NOW,
                    fingerprint="fingerprint-1",
                    reference="withdrawal",
                    description="",
                    metadata={"till": "7"},
                ),
            ),
            (
                STREAM,
                PayoutFailed(
                    source="ledger", detail=FROZEN, provider_reference="", message_id=None, booked_by=void
                ),
            ),
        )
        assert money(history) == RELEASED

    def test_what_was_sent_before_it_was_frozen_is_pursued(self) -> None:
        history = in_state("in_doubt").but(ALICE, status="frozen")
        report(history, "unknown", asked=True)
        assert recorded(history.when(submission(history))) == ["payout.submitted"]
        report(history, "failed")
        assert money(history) == RELEASED


class TestSilence:
    def test_it_leaves_the_payout_in_doubt(self) -> None:
        history = in_state("submitted")
        expected = PayoutUnanswered(source="submission", detail="ReadTimeout", ask_at=later(NOW, FIRST))
        history.when(silence(history)).then((STREAM, expected))
        assert (payout(history).state, payout(history).due_at) == ("in_doubt", later(NOW, FIRST))
        assert money(history) == HELD

    def test_it_is_asked_later_each_time_up_to_a_limit(self) -> None:
        history = in_state("submitted")
        waits = []
        for _ in range(40):
            history.when(silence(history))
            waits.append((moment(payout(history).due_at or "") - moment(NOW)).total_seconds())
        assert waits[:4] == [FIRST, 2 * FIRST, 4 * FIRST, 8 * FIRST]
        assert waits == sorted(waits)
        assert waits[-1] == LONGEST_INQUIRY_SECONDS

    def test_a_day_of_a_provider_that_answers_nobody_records_little(self) -> None:
        history, now = in_state("submitted"), NOW
        waits: list[float] = []
        while sum(waits) < 86_400:
            history.when(silence(history, is_silent=True), now)
            due_at = payout(history).due_at or ""
            waits.append((moment(due_at) - moment(now)).total_seconds())
            now = due_at
        assert waits[:2] == [512 * FIRST, 1024 * FIRST] and waits == sorted(waits)
        assert waits[-1] == LONGEST_SILENT_SECONDS
        assert len(waits) < 30

    def test_the_waits_begin_anew_once_the_provider_answers_again(self) -> None:
        history = in_state("submitted")

        def waited() -> float:
            return (moment(payout(history).due_at or "") - moment(NOW)).total_seconds()

        for _ in range(8):
            history.when(silence(history))
        assert waited() == 128 * FIRST
        waits = []
        for _ in range(3):
            report(history, "processing", asked=True)
            waits.append(waited())
        history.when(silence(history))
        waits.append(waited())
        assert waits == [FIRST, 2 * FIRST, 4 * FIRST, FIRST]

    def test_what_is_never_taken_is_submitted_ever_more_rarely(self) -> None:
        """A provider that answers inquiries and takes no submission is not asked twice a second for ever."""
        history = in_state("submitted")
        waits = []
        for _ in range(12):
            history.when(silence(history))
            waits.append((moment(payout(history).due_at or "") - moment(NOW)).total_seconds())
            report(history, "unknown", asked=True)
            history.when(submission(history))
        assert waits == sorted(waits) and waits[-1] == LONGEST_INQUIRY_SECONDS

    def test_a_long_history_makes_no_inquiry_slower_or_later(self) -> None:
        history = in_state("submitted")
        for n in range(80):
            history.when(a_report(payout(history), "processing", "callback", f"msg-{n}"))
        report(history, "processing", asked=True)
        assert payout(history).due_at == later(NOW, FIRST)

    def test_what_was_recorded_meanwhile_knows_more(self) -> None:
        history = in_state("submitted")
        late = silence(history)
        report(history, "completed")
        history.when(late).then_nothing()
