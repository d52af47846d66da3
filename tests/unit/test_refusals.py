"""What refusals name: the entry, the account, the asset, the amounts (api/README.md, Problems)."""

from typing import Any

import pytest

from domain.model.accounts import AccountOpened, OpenAccount
from domain.model.entries import Entry
from domain.model.errors import (
    AccountClosed,
    AccountExists,
    AccountFrozen,
    AccountNotFound,
    AmountExceedsHold,
    AmountExceedsReversible,
    AmountOverflow,
    BalanceLimitExceeded,
    HoldExpired,
    HoldNotPending,
    InsufficientFunds,
    LedgerError,
    NotReversible,
    TransactionNotFound,
    UnbalancedTransaction,
)
from domain.model.idempotency import operation_id
from domain.model.money import MAX_AMOUNT
from domain.model.refusals import account_not_found, transaction_not_found
from domain.model.streams import account_stream
from tests.unit.given_when_then import (
    CONTEXT,
    Given,
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

HOLD = operation_id("main", "hold")


def books(**openings: AccountOpened) -> Given:
    """Accounts in dollars: a, b and c, without limits unless opened with others."""
    accounts = {name: an_opening() for name in "abc"} | openings
    return given(*a_ledger("USD/2", "EUR/2"), *(an_account(name, of) for name, of in accounts.items()))


def of(account: str, pointer: str | None, **amounts: Any) -> dict[str, Any]:
    pointed = {} if pointer is None else {"pointer": pointer}
    return {**pointed, "account": account, "asset": "USD/2", **amounts}


class TestFunds:
    def test_the_shortfall_is_counted_from_the_minimum(self) -> None:
        history = books(a=an_opening(min_balance=-10))
        history.when(a_posting(debit("b", 30), credit("a", 30), key="in"))
        history.when(a_hold(debit("a", 5), credit("b", 5)))
        asked = a_posting(debit("b", 1), debit("a", 40), credit("c", 41))
        amounts = {"available": 25, "min_balance": -10, "requested": 40, "shortfall": 5}
        history.when(asked).then_rejected(InsufficientFunds, **of("a", "/entries/1", **amounts))

    def test_the_net_of_a_posting_and_all_of_a_hold_is_requested(self) -> None:
        entries = (credit("a", 3), debit("b", 3), debit("a", 10), credit("b", 10))
        for request, requested in ((a_posting(*entries), 7), (a_hold(*entries), 10)):
            amounts = {"available": 0, "min_balance": 0, "requested": requested, "shortfall": requested}
            rejected = books(a=an_opening(min_balance=0)).when(request)
            rejected.then_rejected(InsufficientFunds, **of("a", "/entries/2", **amounts))

    def test_of_several_accounts_the_one_is_named_whose_entry_comes_first(self) -> None:
        history = books(a=an_opening(min_balance=0), b=an_opening(min_balance=0))
        # a comes first, but with an entry that breaks no rule.
        entries = (credit("a", 1), debit("b", 5), debit("a", 6), credit("c", 10))
        rejection = history.when(a_posting(*entries)).then_rejected(InsufficientFunds).rejection
        assert rejection is not None
        assert (rejection.details["account"], rejection.details["pointer"]) == ("b", "/entries/1")

    def test_a_debit_normal_account_pays_by_credits(self) -> None:
        history = books(a=an_opening(normal_side="debit", min_balance=0))
        amounts = {"available": 0, "min_balance": 0, "requested": 5, "shortfall": 5}
        history.when(a_posting(debit("b", 5), credit("a", 5))).then_rejected(
            InsufficientFunds, **of("a", "/entries/1", **amounts)
        )

    def test_what_is_not_exact_in_every_client_is_left_out(self) -> None:
        history = books().but(account_stream("main", "a"), min_balance=MAX_AMOUNT)
        amounts = {"available": 0, "min_balance": MAX_AMOUNT, "requested": 5}
        rejected = history.when(a_posting(debit("a", 5), credit("b", 5)))
        transaction = rejected.then_rejected(InsufficientFunds, **of("a", "/entries/0", **amounts))
        assert transaction.rejection is not None
        assert f"{MAX_AMOUNT + 5} too much" in transaction.rejection.detail


class TestLimits:
    def test_the_excess_counts_what_is_pending_in_favour(self) -> None:
        history = books(a=an_opening(max_balance=100))
        history.when(a_posting(debit("b", 30), credit("a", 30), key="in"))
        history.when(a_hold(debit("b", 20), credit("a", 20)))
        amounts = {
            "balance": 30,
            "pending_inflow": 20,
            "max_balance": 100,
            "requested": 60,
            "excess": 10,
        }
        history.when(a_posting(debit("b", 60), credit("a", 60))).then_rejected(
            BalanceLimitExceeded, **of("a", "/entries/1", **amounts)
        )

    @pytest.mark.parametrize("side", ["debit", "credit"])
    def test_an_overflow_names_the_side(self, side: str) -> None:
        history = books().but(account_stream("main", "a"), **{f"posted_{side}s": MAX_AMOUNT - 1})
        entries = [debit("a", 3), credit("b", 3)] if side == "debit" else [debit("b", 3), credit("a", 3)]
        pointer = "/entries/0" if side == "debit" else "/entries/1"
        amounts = {"total": MAX_AMOUNT - 1, "max_total": MAX_AMOUNT, "requested": 3, "excess": 2}
        history.when(a_posting(*entries)).then_rejected(
            AmountOverflow, **of("a", pointer, direction=side, **amounts)
        )

    def test_sums_that_are_not_exact_are_left_out(self) -> None:
        most = MAX_AMOUNT
        entries = (debit("a", most), debit("a", most), credit("b", most), credit("c", most))
        amounts = {"total": 0, "max_total": MAX_AMOUNT, "excess": MAX_AMOUNT}
        books().when(a_posting(*entries)).then_rejected(
            AmountOverflow, **of("a", "/entries/0", direction="debit", **amounts)
        )

    @pytest.mark.parametrize(("status", "error"), [("frozen", AccountFrozen), ("closed", AccountClosed)])
    def test_an_account_that_is_not_open_is_named_by_its_first_entry(
        self, status: str, error: type[LedgerError]
    ) -> None:
        history = books().but(account_stream("main", "c"), status=status)
        entries = (debit("a", 5), credit("c", 5), debit("c", 5), credit("b", 5))
        history.when(a_posting(*entries)).then_rejected(error, **of("c", "/entries/1"))


class TestWhatIsNotThere:
    def test_an_account_is_named_with_its_entry(self) -> None:
        asked = a_posting(debit("a", 5), credit("nobody", 3), credit("nobody", 2))
        refusal = books().when(asked).then_refused(AccountNotFound)
        assert refusal.details == {"pointer": "/entries/1", "account": "nobody"}

    def test_a_transaction_is_named_by_its_id(self) -> None:
        refusal = books().when(a_void("nothing")).then_refused(TransactionNotFound)
        assert refusal.details == {"transaction_id": operation_id("main", "nothing")}

    @pytest.mark.parametrize("text", ["", "a b", "<script>", "x" * 300, "é"])
    def test_what_is_ill_formed_is_not_echoed(self, text: str) -> None:
        for refusal in (account_not_found("main", text), transaction_not_found(text)):
            assert refusal.details == {}
            assert refusal.detail == refusal.explanation()


def test_imbalances_are_the_sums_of_the_assets_that_differ_as_digits() -> None:
    history = books(e=an_opening("EUR/2"), f=an_opening("EUR/2"))
    balanced = (debit("e", 5), credit("f", 5))
    asked = a_posting(*balanced, debit("a", MAX_AMOUNT), debit("b", MAX_AMOUNT), credit("c", 1))
    refusal = history.when(asked).then_refused(UnbalancedTransaction)
    assert refusal.details == {
        "imbalances": [{"asset": "USD/2", "debits": str(2 * MAX_AMOUNT), "credits": "1"}]
    }


def test_an_account_that_exists_is_named_with_what_differs() -> None:
    opening = an_opening(min_balance=3, metadata={"k": "v"})
    refusal = books().when(OpenAccount(CONTEXT, "main", "a", opening)).then_refused(AccountExists)
    assert refusal.details == of("a", None, differs=["min_balance", "metadata"])


class TestHolds:
    def held(self, *entries: Entry) -> Given:
        history = books()
        history.when(a_hold(*(entries or (debit("a", 10), credit("b", 10)))))
        return history

    def test_more_than_is_held_is_named_at_the_amount(self) -> None:
        amounts = {"hold_id": HOLD, "held": 10, "requested": 11}
        self.held().when(a_settlement(amount=11)).then_rejected(
            AmountExceedsHold, **of("a", "/amount", **amounts)
        )

    def test_more_than_is_held_is_named_at_the_first_entry_of_it(self) -> None:
        history = self.held(debit("a", 10), credit("b", 4), credit("c", 6))
        parts = (debit("a", 10), credit("c", 5), credit("b", 3), credit("b", 2))
        amounts = {"hold_id": HOLD, "held": 4, "requested": 5}
        history.when(a_settlement(entries=parts)).then_rejected(
            AmountExceedsHold, **of("b", "/entries/2", **amounts)
        )

    def test_an_account_of_which_nothing_is_settled_is_named_without_an_entry(self) -> None:
        history = self.held(debit("a", 10), credit("b", 4), credit("c", 6))
        history.but(account_stream("main", "c"), status="frozen")
        parts = (debit("a", 4), credit("b", 4))
        history.when(a_settlement(entries=parts)).then_rejected(AccountFrozen, **of("c", None))

    def test_what_ended_a_hold_is_named(self) -> None:
        history = self.held()
        history.when(a_settlement(key="first"))
        named = {
            "hold_id": HOLD,
            "hold_status": "settled",
            "ended_by": operation_id("main", "first"),
        }
        history.when(a_void()).then_rejected(HoldNotPending, **named)
        history.when(a_posting(debit("a", 1), credit("b", 1)))
        named = {"hold_id": operation_id("main", "key-1"), "hold_status": "posted"}
        history.when(a_void("key-1", key="other")).then_rejected(HoldNotPending, **named)

    def test_when_a_hold_expired_is_named(self) -> None:
        history = books()
        expires_at = "2026-11-23T20:00:00.000001Z"
        history.when(a_hold(debit("a", 1), credit("b", 1), expires_at=expires_at))
        history.when(a_void(), now="2026-11-23T20:00:01.000000Z").then_rejected(
            HoldExpired, hold_id=HOLD, expires_at=expires_at
        )


class TestReversals:
    def test_more_than_is_left_is_named_at_the_amount(self) -> None:
        history = books()
        history.when(a_posting(debit("a", 10), credit("b", 10)))
        history.when(a_reversal(amount=4, key="first"))
        amounts = {"original_id": operation_id("main", "key-1"), "reversible": 6, "requested": 7}
        history.when(a_reversal(amount=7)).then_rejected(
            AmountExceedsReversible, **of("a", "/amount", **amounts)
        )

    def test_what_cannot_be_reversed_is_named_with_why(self) -> None:
        history = books()
        history.when(a_posting(debit("a", 10), credit("b", 10)))
        history.when(a_reversal(key="first"))
        named = {"original_id": operation_id("main", "key-1"), "original_kind": "posting"}
        history.when(a_reversal()).then_rejected(NotReversible, **named, original_status="posted")
        named = {"original_id": operation_id("main", "first"), "original_kind": "reversal"}
        history.when(a_reversal("first", key="second")).then_rejected(
            NotReversible, **named, original_status="posted"
        )

    def test_limits_are_named_at_the_entries_of_the_mirror(self) -> None:
        history = books(b=an_opening(min_balance=0))
        history.when(a_posting(debit("a", 10), credit("b", 10)))
        history.when(a_posting(debit("b", 8), credit("c", 8), key="spent"))
        amounts = {"available": 2, "min_balance": 0, "requested": 10, "shortfall": 8}
        history.when(a_reversal()).then_rejected(InsufficientFunds, **of("b", "/entries/1", **amounts))


def test_a_replay_names_what_was_named_first_whatever_has_changed() -> None:
    history = books(a=an_opening(min_balance=0))
    asked = a_posting(debit("a", 5), credit("b", 5))
    first = history.when(asked).then_rejected(InsufficientFunds)
    history.when(a_posting(debit("b", 50), credit("a", 50), key="in"))
    again = history.when(asked)
    assert again.outcome.replayed and again.events == []
    assert again.state.rejection == first.rejection


def test_who_may_not_read_accounts_is_told_what_the_code_means() -> None:
    refusal = account_not_found("main", "alice", "/entries/0")
    refusal.position = 7
    told = refusal.withheld()
    assert (type(told), told.detail, told.details, told.position) == (
        AccountNotFound,
        AccountNotFound.explanation(),
        {},
        7,
    )
    about_none = transaction_not_found(HOLD)
    assert about_none.withheld() is about_none
