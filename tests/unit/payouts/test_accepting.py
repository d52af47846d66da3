"""Accepting payouts, and their keys (api/README.md, Payouts)."""

import pytest
from msgspec.structs import replace

from domain.model.accounts import AccountOpened, EntriesHeld
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
    RuleRefusal,
)
from domain.model.money import MAX_AMOUNT
from domain.model.payouts.payout import Payout, PayoutAccepted, PayoutRejected, PayoutState
from domain.model.streams import account_stream
from domain.model.transactions import TransactionHeld
from tests.payouts import CLEARING, CONTEXT, UNKNOWN_PROVIDER, a_request
from tests.unit.given_when_then import (
    HISTORY,
    NOW,
    a_hold,
    a_ledger,
    a_posting,
    a_settlement,
    a_void,
    an_account,
    an_opening,
    credit,
    debit,
    given,
)
from tests.unit.payouts.history import (
    ALICE,
    ASKED,
    CLEARING_STREAM,
    HELD,
    HOLD_STREAM,
    ID,
    STREAM,
    amounts,
    books,
    in_state,
    money,
    payout,
)


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
            (STREAM, PayoutAccepted(provider_key=f"main.{ID}.d309ea6d25cb", **ASKED)),
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

    def test_the_provider_s_key_is_the_same_whenever_the_ledger_decides_and_another_ledger_has_another(
        self,
    ) -> None:
        """A ledger that lost a payout with a restore must not pay again when the client repeats its request."""
        first, again = books(), books()
        first.when(a_request())
        again.when(a_request("another"), "2026-11-29T00:00:00.000000Z")
        again.when(a_request(), "2026-11-30T00:00:00.000000Z")
        assert payout(first).provider_key == payout(again).provider_key
        opened_later = given()
        opened_later.journal.append(
            [*a_ledger("USD/2"), an_account("alice")], replace(HISTORY, recorded_at=NOW)
        )
        opened_later.when(a_request())
        assert payout(opened_later).provider_key != payout(first).provider_key

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
        unknown = history.when(a_request(objection=UNKNOWN_PROVIDER)).then_refused(InvalidRequest)
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
        assert history.when(a_request(objection=UNKNOWN_PROVIDER)).outcome.replayed

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
