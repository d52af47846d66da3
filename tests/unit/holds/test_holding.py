"""Making holds, and the funds they need (api/README.md, Accounts and Transactions)."""

from collections.abc import Callable

import pytest

from domain.model.accounts import EntriesHeld
from domain.model.entries import Entry
from domain.model.errors import (
    AccountClosed,
    AccountFrozen,
    AccountNotFound,
    AmountOverflow,
    BalanceLimitExceeded,
    InsufficientFunds,
    InvalidRequest,
    LedgerNotFound,
    RuleRefusal,
    UnbalancedTransaction,
)
from domain.model.money import MAX_AMOUNT
from domain.model.streams import account_stream
from domain.model.times import Instant
from domain.model.transactions import Description, Related, TransactionHeld
from tests.unit.given_when_then import (
    LONG_AGO,
    NOW,
    Given,
    a_hold,
    a_posting,
    a_settlement,
    a_void,
    an_account,
    an_opening,
    credit,
    debit,
    given,
)
from tests.unit.holds.history import (
    EXPIRY,
    HOLD,
    HOLD_STREAM,
    HUNDRED,
    LATER,
    amounts,
    books,
    expiry,
    frozen,
    holding,
)


class TestHolding:
    def test_the_amounts_become_pending_and_nothing_is_posted(self) -> None:
        history = books()
        answer = history.when(a_hold(*HUNDRED, expires_at=EXPIRY))
        answer.then(
            (account_stream("main", "alice"), EntriesHeld(transaction_id=HOLD, debits=100, credits=0)),
            (account_stream("main", "bob"), EntriesHeld(transaction_id=HOLD, debits=0, credits=100)),
            (
                HOLD_STREAM,
                TransactionHeld(
                    fingerprint="fingerprint-1",
                    entries=HUNDRED,
                    effective_at=NOW,
                    expires_at=EXPIRY,
                    **Description()._asdict(),
                ),
            ),
        )
        assert amounts(history, "alice") == ((0, 0), (100, 0))
        assert amounts(history, "bob") == ((0, 0), (0, 100))
        assert (history.account("alice").balance, history.account("alice").available) == (0, -100)
        assert (history.account("bob").balance, history.account("bob").available) == (0, 0)

    def test_it_is_answered_as_a_pending_hold(self) -> None:
        hold = books().when(a_hold(*HUNDRED, expires_at=EXPIRY)).state
        assert (hold.id, hold.kind, hold.status, hold.entries) == (HOLD, "hold", "pending", HUNDRED)
        assert (hold.expires_at, hold.effective_at, hold.related) == (EXPIRY, NOW, Related())
        assert (hold.version, hold.position) == (1, 7)

    def test_it_need_not_expire(self) -> None:
        history = holding()
        assert history.transaction("hold").expires_at is None
        history.when(expiry(), now="9999-12-31T23:59:59.999999Z").then_nothing()
        assert history.when(a_settlement(), now="9999-12-31T23:59:59.999999Z").state.status == "posted"

    @pytest.mark.parametrize("expires_at", [LONG_AGO, NOW])
    def test_it_must_expire_in_the_future(self, expires_at: Instant) -> None:
        refusal = books().when(a_hold(*HUNDRED, expires_at=expires_at)).then_refused(InvalidRequest)
        assert isinstance(refusal, InvalidRequest)
        assert [error["pointer"] for error in refusal.errors] == ["/expires_at"]

    def test_the_future_begins_in_a_microsecond(self) -> None:
        answer = books().when(a_hold(*HUNDRED, expires_at="2026-11-23T20:00:00.000001Z"))
        assert answer.state.status == "pending"

    def test_shape_is_judged_before_names_and_balance(self) -> None:
        request = a_hold(debit("nobody", 5), credit("bob", 4), expires_at=LONG_AGO)
        books().when(request).then_refused(InvalidRequest)
        given().when(request).then_refused(LedgerNotFound)

    def test_names_and_balance_are_judged_as_those_of_postings(self) -> None:
        books().when(a_hold(debit("nobody", 5), credit("bob", 4))).then_refused(AccountNotFound)
        frozen(books(), "bob").when(a_hold(debit("alice", 5), credit("bob", 4))).then_refused(
            UnbalancedTransaction
        )

    def test_a_refusal_shows_what_was_asked(self) -> None:
        request = a_hold(*HUNDRED, expires_at=EXPIRY, effective_at=LATER)
        hold = frozen(books(), "bob").when(request).then_rejected(AccountFrozen)
        assert (hold.kind, hold.entries, hold.expires_at, hold.effective_at) == (
            "hold",
            HUNDRED,
            EXPIRY,
            LATER,
        )
        assert hold.related == Related()

    @pytest.mark.parametrize(("status", "refusal"), [("frozen", AccountFrozen), ("closed", AccountClosed)])
    @pytest.mark.parametrize("address", ["alice", "bob"])
    def test_only_open_accounts_are_held(self, address: str, status: str, refusal: type[RuleRefusal]) -> None:
        history = books().but(account_stream("main", address), status=status)
        history.when(a_hold(*HUNDRED)).then_rejected(refusal)

    def test_closed_is_given_before_frozen_whichever_comes_first(self) -> None:
        history = frozen(books(), "alice").but(account_stream("main", "bob"), status="closed")
        history.when(a_hold(*HUNDRED)).then_rejected(AccountClosed)

    def test_the_same_account_may_be_on_both_sides(self) -> None:
        history = holding(debit("alice", 30), credit("alice", 20), credit("bob", 10))
        assert amounts(history, "alice") == ((0, 0), (30, 20))
        assert history.account("alice").available == -30


class TestFundsOfHolds:
    """`available` = balance − pending outflow. The maximum limits balance + pending inflow."""

    @staticmethod
    def sides(side: str) -> tuple[Callable[[str, int], Entry], Callable[[str, int], Entry]]:
        """The directions that let money flow out of and into an account of a normal side."""
        return (debit, credit) if side == "credit" else (credit, debit)

    def limited(self, side: str, minimum: int | None = None, maximum: int | None = None) -> Given:
        opening = an_opening(normal_side=side, min_balance=minimum, max_balance=maximum)  # type: ignore[arg-type]
        return books(an_account("it", opening), an_account("bank"))

    def out(self, side: str, amount: int) -> tuple[Entry, Entry]:
        outflow, inflow = self.sides(side)
        return outflow("it", amount), inflow("bank", amount)

    def into(self, side: str, amount: int) -> tuple[Entry, Entry]:
        outflow, inflow = self.sides(side)
        return inflow("it", amount), outflow("bank", amount)

    @pytest.mark.parametrize("side", ["credit", "debit"])
    def test_a_hold_takes_available_down_to_the_minimum_and_no_further(self, side: str) -> None:
        for more, status in ((0, "pending"), (1, "rejected")):
            history = self.limited(side, minimum=-10)
            history.when(a_posting(*self.into(side, 50)))
            assert history.when(a_hold(*self.out(side, 40), key="h1")).state.status == "pending"
            answer = history.when(a_hold(*self.out(side, 20 + more), key="h2"))
            assert answer.state.status == status
            if more:
                answer.then_rejected(InsufficientFunds)

    @pytest.mark.parametrize("side", ["credit", "debit"])
    def test_what_is_held_in_its_favour_cannot_be_spent(self, side: str) -> None:
        history = self.limited(side, minimum=0)
        history.when(a_hold(*self.into(side, 50), key="in"))
        history.when(a_hold(*self.out(side, 1), key="out")).then_rejected(InsufficientFunds)
        history.when(a_posting(*self.out(side, 1))).then_rejected(InsufficientFunds)

    @pytest.mark.parametrize("side", ["credit", "debit"])
    def test_what_is_held_in_its_favour_counts_towards_the_maximum(self, side: str) -> None:
        history = self.limited(side, maximum=100)
        history.when(a_posting(*self.into(side, 30)))
        assert history.when(a_hold(*self.into(side, 70), key="in")).state.status == "pending"
        history.when(a_hold(*self.into(side, 1), key="more")).then_rejected(BalanceLimitExceeded)
        history.when(a_posting(*self.into(side, 1), key="key-2")).then_rejected(BalanceLimitExceeded)

    @pytest.mark.parametrize("side", ["credit", "debit"])
    def test_what_is_held_against_it_makes_no_room_below_the_maximum(self, side: str) -> None:
        history = self.limited(side, maximum=100)
        history.when(a_posting(*self.into(side, 100)))
        assert history.when(a_hold(*self.out(side, 60), key="out")).state.status == "pending"
        history.when(a_hold(*self.into(side, 1), key="in")).then_rejected(BalanceLimitExceeded)

    @pytest.mark.parametrize("side", ["credit", "debit"])
    def test_each_limit_is_blind_to_the_other_direction(self, side: str) -> None:
        history = self.limited(side, minimum=10, maximum=10)
        assert history.when(a_hold(*self.into(side, 10), key="in")).state.status == "pending"
        history.when(a_hold(*self.out(side, 1), key="out")).then_rejected(InsufficientFunds)

    @pytest.mark.parametrize("side", ["credit", "debit"])
    def test_what_is_released_can_be_held_again(self, side: str) -> None:
        history = self.limited(side, minimum=-50)
        history.when(a_hold(*self.out(side, 50)))
        history.when(a_hold(*self.out(side, 50), key="next")).then_rejected(InsufficientFunds)
        history.when(a_void())
        assert history.when(a_hold(*self.out(side, 50), key="again")).state.status == "pending"

    @pytest.mark.parametrize("side", ["credit", "debit"])
    def test_the_rest_of_a_settled_hold_can_be_spent(self, side: str) -> None:
        history = self.limited(side, minimum=-50)
        history.when(a_hold(*self.out(side, 50)))
        history.when(a_settlement(amount=20))
        history.when(a_posting(*self.out(side, 31))).then_rejected(InsufficientFunds)
        assert history.when(a_posting(*self.out(side, 30), key="key-2")).state.status == "posted"

    def test_the_whole_hold_is_judged_and_not_its_entries(self) -> None:
        history = books(an_account("alice", an_opening(min_balance=-10)), an_account("bob"))
        entries = (debit("alice", 6), credit("bob", 6), debit("alice", 5), credit("bob", 5))
        history.when(a_hold(*entries)).then_rejected(InsufficientFunds)

    def test_of_several_refusals_the_first_of_the_contract_is_given(self) -> None:
        history = books(
            an_account("rich", an_opening(max_balance=0)),
            an_account("poor", an_opening(min_balance=0)),
            an_account("full"),
        ).but(account_stream("main", "full"), posted_debits=MAX_AMOUNT)
        entries = (credit("rich", 9), debit("poor", 4), debit("full", 5))
        history.when(a_hold(*entries, key="1")).then_rejected(AmountOverflow)
        history.when(a_hold(credit("rich", 4), debit("poor", 4), key="2")).then_rejected(InsufficientFunds)

    def test_pending_and_posted_together_stay_within_the_range(self) -> None:
        history = books()
        top = MAX_AMOUNT
        assert history.when(a_hold(debit("alice", top - 1), credit("bob", top - 1))).state.status == "pending"
        assert history.when(a_posting(debit("alice", 1), credit("bob", 1))).state.status == "posted"
        history.when(a_posting(debit("alice", 1), credit("bob", 1), key="key-2")).then_rejected(
            AmountOverflow
        )
        history.when(a_hold(debit("alice", 1), credit("bob", 1), key="more")).then_rejected(AmountOverflow)
        history.when(a_settlement())
        assert history.account("alice").balance == -top and history.account("bob").balance == top

    def test_one_hold_may_take_the_whole_range_and_its_other_side_too(self) -> None:
        history = books()
        top = MAX_AMOUNT
        history.when(a_hold(debit("alice", top), credit("alice", top)))
        assert history.account("alice").available == -top
        history.when(a_settlement())
        assert amounts(history, "alice") == ((top, top), (0, 0))

    @pytest.mark.parametrize("side", ["credit", "debit"])
    def test_a_limit_that_is_broken_already_may_be_mended_but_not_worsened(self, side: str) -> None:
        history = self.limited(side)
        history.when(a_posting(*self.out(side, 50)))
        history.but(account_stream("main", "it"), min_balance=0)
        assert history.when(a_hold(*self.into(side, 5), key="in")).state.status == "pending"
        history.when(a_hold(*self.out(side, 1), key="out")).then_rejected(InsufficientFunds)
