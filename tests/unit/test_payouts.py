"""Decisions on payouts: accepted, submitted, in doubt, ended once, or stuck (api/README.md, Payouts)."""

from dataclasses import replace
from typing import Any

import pytest

from domain.model.accounts import AccountOpened, EntriesHeld, EntriesReleased, EntriesSettled
from domain.model.entries import PostedEntry
from domain.model.errors import (
    AccountClosed,
    AccountExists,
    AccountFrozen,
    AccountNotFound,
    AmountOverflow,
    BalanceLimitExceeded,
    HoldNotPending,
    HoldReserved,
    IdempotencyKeyReused,
    InsufficientFunds,
    InvalidRequest,
    LedgerNotFound,
    PayoutEnded,
    PayoutNotFound,
    RuleRefusal,
)
from domain.model.idempotency import operation_id
from domain.model.money import MAX_AMOUNT, Direction
from domain.model.payouts.attempts import FROZEN, RecordSilence, SubmitPayout
from domain.model.payouts.payout import (
    FIRST_INQUIRY_SECONDS,
    LONGEST_INQUIRY_SECONDS,
    Payout,
    PayoutAccepted,
    PayoutCompleted,
    PayoutContradicted,
    PayoutFailed,
    PayoutReconciliationRequested,
    PayoutRejected,
    PayoutReported,
    PayoutState,
    PayoutSubmitted,
    PayoutUnanswered,
    Source,
    Verdict,
)
from domain.model.payouts.reports import MAX_NOTED_CALLBACKS
from domain.model.payouts.resolutions import CompletePayout, FailPayout, ReconcilePayout
from domain.model.streams import account_stream, payout_stream, transaction_stream
from domain.model.times import Instant, later, moment
from domain.model.transactions import Settled, SettlementPosted, TransactionHeld, Voided, VoidRecorded
from tests.payouts import CLEARING, CONTEXT, PATIENCE_SECONDS, a_mark, a_report, a_request
from tests.unit.given_when_then import (
    NOW,
    Answer,
    Given,
    Happening,
    a_hold,
    a_ledger,
    a_posting,
    a_reversal,
    a_settlement,
    a_void,
    an_account,
    an_opening,
    credit,
    debit,
    given,
)

ID = operation_id("main", "payout")
STREAM = payout_stream("main", ID)
HOLD_STREAM = transaction_stream("main", ID)
ALICE, CLEARING_STREAM = account_stream("main", "alice"), account_stream("main", CLEARING)
FIRST = FIRST_INQUIRY_SECONDS
OPERATOR = CONTEXT._replace(actor="operator", correlation_id="conversation-2")
ASKED: dict[str, Any] = {
    "fingerprint": "fingerprint-1",
    "account": "alice",
    "asset": "USD/2",
    "amount": 40,
    "provider": "simulator",
    "destination": {"iban": "1"},
    "reference": "withdrawal",
    "metadata": {"till": "7"},
}


def books(*more: Happening, opening: AccountOpened | None = None) -> Given:
    """Alice has 100 and may not go below zero."""
    history = given(
        *a_ledger("USD/2"),
        an_account("alice", opening or an_opening(min_balance=0)),
        an_account("cash", an_opening(normal_side="debit")),
        *more,
    )
    history.when(a_posting(debit("cash", 100), credit("alice", 100), key="deposit"))
    return history


def payout(history: Given) -> Payout:
    state = history.journal.states[STREAM]
    assert isinstance(state, Payout)
    return state


def submission(history: Given) -> SubmitPayout:
    return SubmitPayout(CONTEXT, payout(history), a_mark(), PATIENCE_SECONDS)


def silence(history: Given) -> RecordSilence:
    return RecordSilence(CONTEXT, payout(history), a_mark(), "submission", "ReadTimeout")


def report(
    history: Given,
    verdict: Verdict,
    message: str | None = None,
    *,
    asked: bool = False,
    amount: int | None = None,
) -> Answer:
    """Let the provider report something, in a callback or when asked."""
    source: Source = "inquiry" if asked else "callback"
    return history.when(a_report(payout(history), verdict, source, message, amount=amount))


def in_state(state: PayoutState) -> Given:
    """A payout that reached this state in the shortest way."""
    history = books()
    history.when(a_request(amount=40 if state != "rejected" else 101))
    if state not in ("accepted", "rejected"):
        history.when(submission(history))
    if state == "in_doubt":
        history.when(silence(history))
    elif state in ("completed", "stuck"):
        report(history, "completed", "first")
    elif state == "failed":
        report(history, "failed", "first")
    if state == "stuck":
        report(history, "failed", "second")
    assert payout(history).state == state
    return history


def amounts(history: Given, address: str) -> tuple[int, int, int, int]:
    account = history.account(address)
    return account.posted_debits, account.posted_credits, account.pending_debits, account.pending_credits


def recorded(answer: Answer) -> list[str]:
    """The events recorded about the payout itself."""
    return [event.TOPIC for stream, event in answer.events if stream == STREAM]


HELD = ((0, 100, 40, 0), (0, 0, 0, 40))
PAID = ((40, 100, 0, 0), (0, 40, 0, 0))
RELEASED = ((0, 100, 0, 0), (0, 0, 0, 0))


def money(history: Given) -> tuple[tuple[int, int, int, int], tuple[int, int, int, int]]:
    return amounts(history, "alice"), amounts(history, CLEARING)


class TestAccepting:
    def test_the_amount_is_held_and_the_clearing_account_is_opened(self) -> None:
        history = books()
        answer = history.when(a_request())
        answer.then(
            (CLEARING_STREAM, an_opening(normal_side="debit")),
            (ALICE, EntriesHeld(transaction_id=ID, debits=40, credits=0)),
            (CLEARING_STREAM, EntriesHeld(transaction_id=ID, debits=0, credits=40)),
            (
                HOLD_STREAM,
                TransactionHeld(
                    fingerprint="fingerprint-1",
                    entries=(debit("alice", 40), credit(CLEARING, 40)),
                    effective_at=NOW,
                    expires_at=None,
                    reference="withdrawal",
                    description="",
                    metadata={"till": "7"},
                ),
            ),
            (STREAM, PayoutAccepted(provider_key=f"main.{ID}.nonce", **ASKED)),
        )
        made = payout(history)
        assert (made.state, made.due_at, made.version, made.position) == (
            "accepted",
            NOW,
            1,
            answer.outcome.position,
        )
        assert (made.idempotency_key, made.correlation_id, made.actor) == (
            "payout",
            "conversation-1",
            "alice",
        )
        assert made.traceparent == CONTEXT.traceparent
        assert [(step.state, step.event, step.at) for step in made.history] == [("accepted", "accepted", NOW)]
        assert money(history) == HELD

    def test_the_clearing_account_is_opened_once(self) -> None:
        history = books()
        history.when(a_request("one"))
        answer = history.when(a_request("two"))
        assert not any(isinstance(event, AccountOpened) for _, event in answer.events)
        assert amounts(history, CLEARING) == (0, 0, 0, 80)

    @pytest.mark.parametrize(
        ("opening", "amount", "error"),
        [
            (an_opening(min_balance=0), 101, InsufficientFunds),
            (an_opening(), MAX_AMOUNT, AmountOverflow),
        ],
    )
    def test_a_rule_refuses_it_and_that_is_recorded(
        self, opening: AccountOpened, amount: int, error: type[RuleRefusal]
    ) -> None:
        history = books(opening=opening)
        history.when(a_posting(debit("alice", 1), credit("cash", 1)))
        answer = history.when(a_request(amount=amount))
        made = answer.state
        assert isinstance(made, Payout)
        assert made.rejection is not None
        code, detail, details = made.rejection
        assert (code, details["pointer"], details["account"]) == (error.code, "/account", "alice")
        assert details["requested"] == amount
        assert (made.state, made.due_at, made.provider_key) == ("rejected", None, "")
        assert [stream for stream, _ in answer.events] == [CLEARING_STREAM, HOLD_STREAM, STREAM]
        assert answer.events[-1][1] == PayoutRejected(
            code=code, detail=detail, details=dict(details), **{**ASKED, "amount": amount}
        )
        hold = history.transaction("payout")
        assert hold.status == "rejected"
        assert hold.rejection == (code, detail, {**details, "pointer": "/entries/0"})
        assert answer.outcome.is_refused
        history.when(a_settlement("payout")).then_rejected(HoldNotPending)

    @pytest.mark.parametrize(("status", "error"), [("frozen", AccountFrozen), ("closed", AccountClosed)])
    @pytest.mark.parametrize("of", ["alice", CLEARING])
    def test_an_account_that_takes_part_in_nothing_refuses_it(
        self, status: str, error: type[RuleRefusal], of: str
    ) -> None:
        history = books(an_account(CLEARING, an_opening(normal_side="debit")))
        history.but(account_stream("main", of), status=status)
        rejection = history.when(a_request()).state.rejection
        pointer = "/account" if of == "alice" else "/provider"
        assert (rejection.code, rejection.details) == (
            error.code,
            {"pointer": pointer, "account": of, "asset": "USD/2"},
        )

    def test_a_provider_that_must_be_funded_first_pays_no_more_than_it_has(self) -> None:
        history = books(an_account(CLEARING, an_opening(normal_side="debit", min_balance=0)))
        history.when(a_posting(debit(CLEARING, 50), credit("cash", 50)))
        assert history.when(a_request("one")).state.state == "accepted"
        assert history.when(a_request("two")).state.rejection.code == InsufficientFunds.code

    def test_a_limit_of_the_account_that_is_worsened_by_nothing_is_no_matter(self) -> None:
        history = books(opening=an_opening(max_balance=100))
        assert history.when(a_request()).state.state == "accepted"
        assert BalanceLimitExceeded.code not in str(payout(history))

    @pytest.mark.parametrize("opening", [an_opening("EUR/2", "debit"), an_opening(normal_side="credit")])
    def test_a_clearing_account_that_was_opened_as_something_else_refuses_it(
        self, opening: AccountOpened
    ) -> None:
        history = books(an_account(CLEARING, opening))
        rejection = history.when(a_request()).state.rejection
        assert rejection.code == AccountExists.code
        assert (rejection.details["pointer"], rejection.details["account"]) == ("/provider", CLEARING)
        assert rejection.details["differs"] == (
            ["asset"] if opening.normal_side == "debit" else ["normal_side"]
        )
        assert amounts(history, CLEARING) == (0, 0, 0, 0)

    def test_what_can_never_be_is_refused_and_leaves_nothing(self) -> None:
        history = books()
        unknown = history.when(a_request(is_provider_known=False)).then_refused(InvalidRequest)
        assert isinstance(unknown, InvalidRequest)
        assert unknown.errors[0]["pointer"] == "/provider"
        history.when(a_request(account="nobody")).then_refused(AccountNotFound)
        debited = history.when(a_request(account="cash")).then_refused(InvalidRequest)
        assert isinstance(debited, InvalidRequest)
        assert debited.errors[0]["pointer"] == "/account"
        given().when(a_request()).then_refused(LedgerNotFound)


class TestTheKey:
    @pytest.mark.parametrize("state", ["accepted", "submitted", "in_doubt", "completed", "failed", "stuck"])
    def test_the_same_request_is_answered_as_it_was_first(self, state: PayoutState) -> None:
        history = books()
        first = history.when(a_request()).state
        history = in_state(state)
        answer = history.when(a_request()).then_nothing()
        assert answer.outcome.replayed
        assert answer.state == first
        assert answer.outcome.position == first.position

    def test_a_provider_that_is_gone_changes_no_replay(self) -> None:
        history = in_state("completed")
        assert history.when(a_request(is_provider_known=False)).outcome.replayed

    def test_a_refusal_is_final(self) -> None:
        history = books()
        first = history.when(a_request(amount=101)).state
        history.when(a_posting(debit("cash", 100), credit("alice", 100), key="more"))
        answer = history.when(a_request(amount=101)).then_nothing()
        assert (answer.outcome.replayed, answer.state) == (True, first)

    def test_one_key_is_one_request_whatever_it_asks_for(self) -> None:
        history = in_state("submitted")
        history.when(a_request(fingerprint="other")).then_refused(IdempotencyKeyReused)
        transfer = a_posting(debit("alice", 1), credit("cash", 1), key="payout", fingerprint="other")
        history.when(transfer).then_refused(IdempotencyKeyReused)
        history.when(a_request("deposit", fingerprint="other")).then_refused(IdempotencyKeyReused)

    def test_the_hold_is_no_clients_to_end(self) -> None:
        history = in_state("submitted")
        history.when(a_settlement("payout")).then_rejected(HoldReserved)
        history.when(a_void("payout")).then_rejected(HoldReserved)
        assert money(history) == HELD

    def test_another_hold_is(self) -> None:
        history = in_state("submitted")
        history.when(a_hold(debit("alice", 1), credit("cash", 1)))
        assert history.when(a_settlement()).state.status == "posted"


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
                        _posted("alice", "debit", "credit", 60, 40),
                        _posted(CLEARING, "credit", "debit", -40, 0),
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


def _posted(
    account: str, direction: Direction, normal_side: Direction, balance: int, debits: int
) -> PostedEntry:
    return PostedEntry(
        account=account,
        direction=direction,
        amount=40,
        asset="USD/2",
        normal_side=normal_side,
        balance_after=balance,
        debits_after=debits,
    )
