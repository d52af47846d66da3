"""Decisions on holds: made, settled, voided, expired (api/README.md, Accounts and Transactions)."""

from collections.abc import Callable
from itertools import combinations

import pytest
from msgspec.structs import asdict

from domain.model.accounts import EntriesHeld, EntriesPosted, EntriesReleased, EntriesSettled
from domain.model.commands import envelope_of
from domain.model.entries import Entry, PostedEntry
from domain.model.errors import (
    RULE_PRECEDENCE,
    AccountClosed,
    AccountFrozen,
    AccountNotFound,
    AmountExceedsHold,
    AmountOverflow,
    BalanceLimitExceeded,
    HoldExpired,
    HoldNotPending,
    IdempotencyKeyReused,
    InsufficientFunds,
    InvalidRequest,
    LedgerNotFound,
    RuleRefusal,
    TransactionNotFound,
    UnbalancedTransaction,
)
from domain.model.holds import ExpireHold, SettleHold, VoidHold
from domain.model.idempotency import operation_id
from domain.model.money import MAX_AMOUNT
from domain.model.streams import account_stream, transaction_stream
from domain.model.times import Instant
from domain.model.transactions import (
    Description,
    Expired,
    Related,
    Settled,
    SettlementPosted,
    TransactionHeld,
    Voided,
    VoidRecorded,
)
from tests.unit.given_when_then import (
    CONTEXT,
    LONG_AGO,
    NOW,
    Answer,
    Given,
    Happening,
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

JUST_BEFORE: Instant = "2026-11-23T20:59:59.999999Z"
EXPIRY: Instant = "2026-11-23T21:00:00.000000Z"
LATER: Instant = "2026-11-23T22:00:00.000000Z"
HOLD = operation_id("main", "hold")
HOLD_STREAM = transaction_stream("main", HOLD)
SETTLEMENT = operation_id("main", "settlement")
SETTLEMENT_STREAM = transaction_stream("main", SETTLEMENT)
VOID = operation_id("main", "void")
VOID_STREAM = transaction_stream("main", VOID)
HUNDRED = (debit("alice", 100), credit("bob", 100))
DESCRIPTION = Description(reference="order-1", description="two teas", metadata={"till": "7"})


def books(*accounts: Happening, assets: tuple[str, ...] = ("USD/2",)) -> Given:
    """A ledger with these accounts, or with two without limits."""
    return given(*a_ledger(*assets), *(accounts or map(an_account, ("alice", "bob"))))


def holding(*entries: Entry, expires_at: Instant | None = None) -> Given:
    """A hold of 100 from alice to bob, or of these entries."""
    history = books(*map(an_account, dict.fromkeys(entry.account for entry in entries or HUNDRED)))
    assert history.when(a_hold(*(entries or HUNDRED), expires_at=expires_at)).state.status == "pending"
    return history


def amounts(history: Given, address: str) -> tuple[tuple[int, int], tuple[int, int]]:
    """The (debits, credits) posted to an account, and the pending ones."""
    account = history.account(address)
    return (
        (account.posted_debits, account.posted_credits),
        (account.pending_debits, account.pending_credits),
    )


def frozen(history: Given, address: str) -> Given:
    return history.but(account_stream("main", address), status="frozen")


def expiry(hold: str = "hold") -> ExpireHold:
    return ExpireHold(CONTEXT, "main", operation_id("main", hold))


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


class TestSettling:
    def test_what_was_pending_is_posted(self) -> None:
        history = holding()
        answer = history.when(a_settlement(description=DESCRIPTION))

        def moved(debits: int, credits: int) -> EntriesSettled:
            return EntriesSettled(
                transaction_id=SETTLEMENT,
                hold_id=HOLD,
                held_debits=debits,
                held_credits=credits,
                debits=debits,
                credits=credits,
            )

        def entry(entry: Entry, balance: int, debits: int) -> PostedEntry:
            return PostedEntry(
                **asdict(entry),
                asset="USD/2",
                normal_side="credit",
                balance_after=balance,
                debits_after=debits,
            )

        answer.then(
            (account_stream("main", "alice"), moved(100, 0)),
            (account_stream("main", "bob"), moved(0, 100)),
            (HOLD_STREAM, Settled(settled_by=SETTLEMENT)),
            (
                SETTLEMENT_STREAM,
                SettlementPosted(
                    fingerprint="fingerprint-1",
                    settles=HOLD,
                    entries=(entry(HUNDRED[0], -100, 100), entry(HUNDRED[1], 100, 0)),
                    effective_at=NOW,
                    reference="order-1",
                    description="two teas",
                    metadata={"till": "7"},
                ),
            ),
        )
        assert amounts(history, "alice") == ((100, 0), (0, 0))
        assert amounts(history, "bob") == ((0, 100), (0, 0))

    def test_the_settlement_is_a_transaction_of_its_own(self) -> None:
        history = holding()
        answer = history.when(a_settlement(description=DESCRIPTION), now=LATER)
        settlement = answer.state
        assert (settlement.id, settlement.kind, settlement.status) == (SETTLEMENT, "settlement", "posted")
        assert settlement.related == Related(settles=HOLD)
        assert settlement.effective_at == settlement.recorded_at == LATER
        assert (settlement.reference, settlement.metadata) == ("order-1", {"till": "7"})
        assert (settlement.version, settlement.position) == (1, answer.outcome.position)

    def test_the_hold_names_its_settlement(self) -> None:
        history = holding()
        history.when(a_settlement())
        hold = history.transaction("hold")
        assert (hold.kind, hold.status, hold.version) == ("hold", "settled", 2)
        assert hold.related == Related(settled_by=SETTLEMENT) and hold.entries == HUNDRED

    @pytest.mark.parametrize("amount", [1, 99, 100])
    def test_an_amount_is_posted_and_the_rest_released(self, amount: int) -> None:
        history = holding()
        settlement = history.when(a_settlement(amount=amount)).state
        assert [entry.amount for entry in settlement.entries] == [amount, amount]
        assert [entry.balance_after for entry in settlement.entries] == [-amount, amount]
        assert amounts(history, "alice") == ((amount, 0), (0, 0))
        assert amounts(history, "bob") == ((0, amount), (0, 0))

    @pytest.mark.parametrize("amount", [101, MAX_AMOUNT])
    def test_no_more_than_was_held(self, amount: int) -> None:
        history = holding()
        settlement = history.when(a_settlement(amount=amount)).then_rejected(AmountExceedsHold)
        assert settlement.kind == "settlement" and settlement.related == Related(settles=HOLD)
        assert [entry.amount for entry in settlement.entries] == [amount, amount]
        assert history.transaction("hold").status == "pending"
        assert history.when(a_settlement(key="another")).state.status == "posted"

    @pytest.mark.parametrize("amount", [1, 10, 1000])
    def test_an_amount_needs_a_hold_of_two_entries(self, amount: int) -> None:
        history = holding(debit("alice", 10), credit("bob", 4), credit("carol", 6))
        refusal = history.when(a_settlement(amount=amount)).then_refused(InvalidRequest)
        assert isinstance(refusal, InvalidRequest) and refusal.errors[0]["pointer"] == "/amount"
        assert history.when(a_settlement()).state.status == "posted", "the key stayed free"

    def test_an_amount_of_a_hold_on_one_account(self) -> None:
        history = holding(debit("alice", 10), credit("alice", 10))
        assert history.when(a_settlement(amount=4)).state.status == "posted"
        assert amounts(history, "alice") == ((4, 4), (0, 0))

    def test_parts_are_posted_and_the_rest_released(self) -> None:
        history = holding(debit("alice", 10), credit("bob", 4), credit("carol", 6))
        parts = (debit("alice", 5), credit("carol", 5))
        answer = history.when(a_settlement(entries=parts))
        assert [(e.account, e.amount, e.balance_after) for e in answer.state.entries] == [
            ("alice", 5, -5),
            ("carol", 5, 5),
        ]
        assert [stream for stream, _ in answer.events] == [
            account_stream("main", "alice"),
            account_stream("main", "bob"),
            account_stream("main", "carol"),
            HOLD_STREAM,
            SETTLEMENT_STREAM,
        ]
        assert amounts(history, "alice") == ((5, 0), (0, 0))
        assert amounts(history, "bob") == ((0, 0), (0, 0))
        assert amounts(history, "carol") == ((0, 5), (0, 0))

    def test_parts_in_another_order_keep_their_order(self) -> None:
        history = holding()
        parts = (credit("bob", 7), debit("alice", 7))
        answer = history.when(a_settlement(entries=parts))
        assert [entry.account for entry in answer.state.entries] == ["bob", "alice"]

    def test_a_part_may_come_in_several_entries(self) -> None:
        history = holding()
        parts = (debit("alice", 60), debit("alice", 40), credit("bob", 100))
        answer = history.when(a_settlement(entries=parts))
        assert [entry.balance_after for entry in answer.state.entries] == [-60, -100, 100]

    def test_several_entries_of_one_side_exceed_the_hold_together(self) -> None:
        history = holding()
        parts = (debit("alice", 60), debit("alice", 41), credit("bob", 60), credit("bob", 41))
        history.when(a_settlement(entries=parts)).then_rejected(AmountExceedsHold)

    def test_each_side_of_an_account_has_its_own_hold(self) -> None:
        entries = (debit("alice", 30), credit("alice", 20), credit("bob", 10))
        answer = holding(*entries).when(a_settlement(entries=(debit("alice", 20), credit("alice", 20))))
        assert answer.state.status == "posted"
        too_much = (debit("alice", 31), credit("alice", 21), credit("bob", 10))
        holding(*entries).when(a_settlement(entries=too_much)).then_rejected(AmountExceedsHold)

    @pytest.mark.parametrize(
        ("parts", "pointer"),
        [
            ((debit("bob", 5), credit("alice", 5)), "/entries/0"),
            ((debit("alice", 5), credit("carol", 5)), "/entries/1"),
            ((debit("alice", 5), credit("bob", 2), credit("nobody", 3)), "/entries/2"),
            ((debit("alice", 500), credit("alice", 400)), "/entries/1"),
        ],
    )
    def test_entries_that_the_hold_does_not_have_are_pointed_at(
        self, parts: tuple[Entry, ...], pointer: str
    ) -> None:
        history = holding()
        history.journal.append([an_account("carol")], envelope_of(a_void(), NOW))
        refusal = history.when(a_settlement(entries=parts)).then_refused(InvalidRequest)
        assert isinstance(refusal, InvalidRequest) and refusal.errors[0]["pointer"] == pointer
        assert history.when(a_settlement()).state.status == "posted", "the key stayed free"

    @pytest.mark.parametrize(
        "parts",
        [
            (debit("alice", 5), credit("bob", 4)),
            (debit("alice", 5), debit("alice", 5)),
            (debit("alice", 101), credit("bob", 100)),
        ],
    )
    def test_parts_balance(self, parts: tuple[Entry, ...]) -> None:
        holding().when(a_settlement(entries=parts)).then_refused(UnbalancedTransaction)

    def test_parts_balance_in_each_asset(self) -> None:
        def exchange() -> Given:
            history = books(
                *(an_account(f"{who}:usd") for who in ("alice", "desk")),
                *(an_account(f"{who}:eur", an_opening(asset="EUR/2")) for who in ("alice", "desk")),
                assets=("USD/2", "EUR/2"),
            )
            history.when(
                a_hold(
                    debit("alice:usd", 110),
                    credit("desk:usd", 110),
                    debit("desk:eur", 100),
                    credit("alice:eur", 100),
                )
            )
            return history

        half = (
            debit("alice:usd", 55),
            credit("desk:usd", 55),
            debit("desk:eur", 50),
            credit("alice:eur", 50),
        )
        answer = exchange().when(a_settlement(entries=half))
        assert [entry.asset for entry in answer.state.entries] == ["USD/2", "USD/2", "EUR/2", "EUR/2"]
        dollars_only = exchange().when(a_settlement(entries=half[:2]))
        assert dollars_only.state.status == "posted"
        across = (debit("alice:usd", 50), credit("alice:eur", 50))
        exchange().when(a_settlement(entries=across)).then_refused(UnbalancedTransaction)
        history = exchange()
        history.when(a_settlement(amount=50)).then_refused(InvalidRequest)
        history.when(a_settlement())
        assert amounts(history, "alice:eur") == ((0, 100), (0, 0))

    def test_limits_are_not_judged_again(self) -> None:
        history = holding().but(account_stream("main", "alice"), min_balance=1000)
        history.but(account_stream("main", "bob"), max_balance=-1000)
        assert history.when(a_settlement()).state.status == "posted"

    @pytest.mark.parametrize("address", ["alice", "bob"])
    def test_a_frozen_account_refuses_it(self, address: str) -> None:
        history = frozen(holding(), address)
        history.when(a_settlement()).then_rejected(AccountFrozen)
        history.but(account_stream("main", address), status="open")
        history.when(a_settlement()).then_nothing()
        assert history.when(a_settlement(key="another")).state.status == "posted"

    def test_so_does_one_of_which_nothing_would_be_posted(self) -> None:
        history = frozen(holding(debit("alice", 10), credit("bob", 4), credit("carol", 6)), "bob")
        parts = (debit("alice", 5), credit("carol", 5))
        history.when(a_settlement(entries=parts)).then_rejected(AccountFrozen)

    def test_once_only(self) -> None:
        history = holding()
        history.when(a_settlement(amount=10))
        history.when(a_settlement(amount=10, key="another")).then_rejected(HoldNotPending)
        history.when(a_void()).then_rejected(HoldNotPending)
        assert amounts(history, "alice") == ((10, 0), (0, 0))

    def test_later_settlements_run_on_from_earlier_ones(self) -> None:
        history = holding()
        history.when(a_hold(*HUNDRED, key="second"))
        history.when(a_settlement(amount=30))
        settlement = history.when(a_settlement("second", key="settlement of the second")).state
        assert [(e.balance_after, e.debits_after) for e in settlement.entries] == [(-130, 130), (130, 0)]


class TestVoiding:
    def test_what_was_pending_is_released(self) -> None:
        history = holding()
        answer = history.when(a_void(description=DESCRIPTION))
        answer.then(
            (account_stream("main", "alice"), EntriesReleased(hold_id=HOLD, debits=100, credits=0)),
            (account_stream("main", "bob"), EntriesReleased(hold_id=HOLD, debits=0, credits=100)),
            (HOLD_STREAM, Voided(voided_by=VOID)),
            (
                VOID_STREAM,
                VoidRecorded(
                    fingerprint="fingerprint-1",
                    voids=HOLD,
                    entries=HUNDRED,
                    effective_at=NOW,
                    reference="order-1",
                    description="two teas",
                    metadata={"till": "7"},
                ),
            ),
        )
        assert amounts(history, "alice") == amounts(history, "bob") == ((0, 0), (0, 0))

    def test_the_void_is_a_transaction_of_its_own(self) -> None:
        history = holding()
        void = history.when(a_void()).state
        assert (void.id, void.kind, void.status, void.entries) == (VOID, "void", "posted", HUNDRED)
        assert void.related == Related(voids=HOLD) and void.rejection is None
        hold = history.transaction("hold")
        assert (hold.status, hold.version, hold.related) == ("voided", 2, Related(voided_by=VOID))

    @pytest.mark.parametrize("address", ["alice", "bob"])
    def test_a_frozen_account_allows_it(self, address: str) -> None:
        assert frozen(holding(), address).when(a_void()).state.status == "posted"

    def test_limits_do_not_matter(self) -> None:
        history = holding().but(account_stream("main", "alice"), min_balance=1000)
        assert history.when(a_void()).state.status == "posted"

    def test_once_only(self) -> None:
        history = holding()
        history.when(a_void())
        void = history.when(a_void(key="another")).then_rejected(HoldNotPending)
        assert (void.kind, void.related, void.entries) == ("void", Related(voids=HOLD), HUNDRED)
        history.when(a_settlement()).then_rejected(HoldNotPending)
        assert amounts(history, "alice") == ((0, 0), (0, 0))

    def test_of_an_account_on_both_sides(self) -> None:
        history = holding(debit("alice", 30), credit("alice", 20), credit("bob", 10))
        history.when(a_void())
        assert amounts(history, "alice") == ((0, 0), (0, 0))


@pytest.mark.parametrize("request_", [a_settlement(), a_void()], ids=["settle", "void"])
class TestWhatCanBeSettledOrVoided:
    """Conditions on the named transaction that settling and voiding share."""

    def test_it_must_be_there(self, request_: SettleHold | VoidHold) -> None:
        given().when(request_).then_refused(LedgerNotFound)
        books().when(request_).then_refused(TransactionNotFound)

    def test_a_posting_is_no_hold(self, request_: SettleHold | VoidHold) -> None:
        history = books()
        history.when(a_posting(*HUNDRED, key="hold"))
        refused = history.when(request_).then_rejected(HoldNotPending)
        assert refused.entries == HUNDRED

    def test_a_rejected_hold_is_not_pending(self, request_: SettleHold | VoidHold) -> None:
        history = frozen(books(), "alice")
        history.when(a_hold(*HUNDRED, expires_at=EXPIRY))
        history.when(request_, now=LATER).then_rejected(HoldNotPending)

    @pytest.mark.parametrize("kind", ["settlement", "void"])
    def test_nor_is_what_was_done_to_one(self, request_: SettleHold | VoidHold, kind: str) -> None:
        history = books()
        history.when(a_hold(*HUNDRED, key="earlier"))
        request = (a_settlement if kind == "settlement" else a_void)("earlier", key="hold")
        assert history.when(request).state.kind == kind
        history.when(request_).then_rejected(HoldNotPending)

    def test_it_is_judged_before_the_accounts(self, request_: SettleHold | VoidHold) -> None:
        history = holding()
        history.when(a_void(key="first"))
        history.but(account_stream("main", "alice"), status="closed")
        history.when(request_).then_rejected(HoldNotPending)

    def test_until_it_expires(self, request_: SettleHold | VoidHold) -> None:
        assert holding(expires_at=EXPIRY).when(request_, now=JUST_BEFORE).state.status == "posted"

    @pytest.mark.parametrize("now", [EXPIRY, LATER])
    @pytest.mark.parametrize("is_released", [False, True])
    def test_not_from_that_moment_on(
        self, request_: SettleHold | VoidHold, now: Instant, is_released: bool
    ) -> None:
        history = holding(expires_at=EXPIRY)
        if is_released:
            history.when(expiry(), now=EXPIRY)
        history.when(request_, now=now).then_rejected(HoldExpired)
        if not is_released:
            assert history.transaction("hold").status == "pending", "released by its expiry, not by this"

    @pytest.mark.parametrize("first", [a_settlement(key="first"), a_void(key="first")])
    def test_a_hold_that_was_settled_or_voided_in_time_never_expires(
        self, request_: SettleHold | VoidHold, first: SettleHold | VoidHold
    ) -> None:
        history = holding(expires_at=EXPIRY)
        history.when(first, now=JUST_BEFORE)
        history.when(request_, now=LATER).then_rejected(HoldNotPending)
        history.when(expiry(), now=LATER).then_nothing()

    def test_a_released_hold_is_expired_whatever_the_clock_says(
        self, request_: SettleHold | VoidHold
    ) -> None:
        history = holding(expires_at=EXPIRY)
        history.when(expiry(), now=EXPIRY)
        history.when(request_, now=NOW).then_rejected(HoldExpired)

    def test_the_key_of_the_hold_itself_is_in_use(self, request_: SettleHold | VoidHold) -> None:
        history = holding()
        same_key = (a_settlement if isinstance(request_, SettleHold) else a_void)(
            key="hold", fingerprint="fingerprint-2"
        )
        history.when(same_key).then_refused(IdempotencyKeyReused)


class TestPrecedenceOfSettling:
    """Of several refusals, the first in the table of api/README.md, Problems."""

    def refused(self, *rules: type[RuleRefusal]) -> Answer:
        """Settle a hold that breaks all of these rules."""
        history = holding(expires_at=EXPIRY)
        if HoldNotPending in rules:
            history.when(a_void(key="first"))
        for rule, address in ((AccountClosed, "alice"), (AccountFrozen, "bob")):
            if rule in rules:
                status = "closed" if rule is AccountClosed else "frozen"
                history.but(account_stream("main", address), status=status)
        amount = 101 if AmountExceedsHold in rules else None
        return history.when(a_settlement(amount=amount), now=LATER if HoldExpired in rules else NOW)

    RULES = (HoldNotPending, AccountClosed, AccountFrozen, AmountExceedsHold)

    @pytest.mark.parametrize("rule", [HoldExpired, *RULES])
    def test_each_refuses_by_itself(self, rule: type[RuleRefusal]) -> None:
        self.refused(rule).then_rejected(rule)

    @pytest.mark.parametrize(("earlier", "later"), list(combinations(RULES, 2)))
    def test_the_earlier_is_given(self, earlier: type[RuleRefusal], later: type[RuleRefusal]) -> None:
        assert RULE_PRECEDENCE.index(earlier) < RULE_PRECEDENCE.index(later)
        self.refused(earlier, later).then_rejected(earlier)

    def test_expiry_comes_first(self) -> None:
        self.refused(HoldExpired, AccountClosed, AccountFrozen, AmountExceedsHold).then_rejected(HoldExpired)

    @pytest.mark.parametrize(
        ("parts", "refusal"),
        [
            ((debit("alice", 5), credit("carol", 4)), InvalidRequest),
            ((debit("alice", 500), credit("bob", 4)), UnbalancedTransaction),
        ],
    )
    def test_shape_and_balance_come_before_the_rules(
        self, parts: tuple[Entry, ...], refusal: type[InvalidRequest]
    ) -> None:
        history = frozen(holding(expires_at=EXPIRY), "alice")
        history.when(a_settlement(entries=parts), now=LATER).then_refused(refusal)


class TestExpiring:
    def test_what_was_pending_is_released(self) -> None:
        history = holding(expires_at=EXPIRY)
        answer = history.when(expiry(), now=EXPIRY)
        answer.then(
            (account_stream("main", "alice"), EntriesReleased(hold_id=HOLD, debits=100, credits=0)),
            (account_stream("main", "bob"), EntriesReleased(hold_id=HOLD, debits=0, credits=100)),
            (HOLD_STREAM, Expired()),
        )
        hold = answer.state
        assert (hold.kind, hold.status, hold.version, hold.related) == ("hold", "expired", 2, Related())
        assert amounts(history, "alice") == amounts(history, "bob") == ((0, 0), (0, 0))

    def test_not_before_its_time(self) -> None:
        history = holding(expires_at=EXPIRY)
        history.when(expiry(), now=JUST_BEFORE).then_nothing()
        assert history.transaction("hold").status == "pending"

    def test_once(self) -> None:
        history = holding(expires_at=EXPIRY)
        history.when(expiry(), now=EXPIRY)
        history.when(expiry(), now=LATER).then_nothing()

    @pytest.mark.parametrize("status", ["frozen", "closed"])
    def test_whatever_became_of_its_accounts(self, status: str) -> None:
        history = holding(expires_at=EXPIRY).but(account_stream("main", "alice"), status=status)
        assert history.when(expiry(), now=EXPIRY).state.status == "expired"

    @pytest.mark.parametrize("request_", [a_settlement(), a_void()])
    def test_not_what_was_settled_or_voided_in_time(self, request_: SettleHold | VoidHold) -> None:
        history = holding(expires_at=EXPIRY)
        history.when(request_)
        history.when(expiry(), now=LATER).then_nothing()
        assert history.transaction("hold").status in ("settled", "voided")

    def test_only_holds(self) -> None:
        books().when(expiry()).then_refused(TransactionNotFound)
        history = books()
        history.when(a_posting(*HUNDRED, key="hold"))
        history.when(expiry(), now=LATER).then_nothing()
        history = frozen(books(), "alice")
        history.when(a_hold(*HUNDRED, expires_at=EXPIRY))
        history.when(expiry(), now=LATER).then_nothing()

    def test_it_is_no_keyed_request(self) -> None:
        envelope = envelope_of(expiry(), NOW)
        assert envelope.idempotency_key is None and envelope.causation_id == CONTEXT.correlation_id


class TestReplay:
    @pytest.mark.parametrize("request_", [a_settlement(key="end"), a_void(key="end"), expiry()])
    def test_a_hold_is_answered_as_the_pending_one_it_was(
        self, request_: SettleHold | VoidHold | ExpireHold
    ) -> None:
        history = books()
        hold = a_hold(*HUNDRED, expires_at=EXPIRY)
        first = history.when(hold)
        history.when(request_, now=EXPIRY if isinstance(request_, ExpireHold) else NOW)
        assert history.transaction("hold").status != "pending"
        again = history.when(hold, now=LATER)
        again.then_nothing()
        assert again.outcome == first.outcome._replace(recorded=False, replayed=True)

    @pytest.mark.parametrize("request_", [a_settlement(), a_settlement(amount=7), a_void()])
    def test_what_was_done_stays_done(self, request_: SettleHold | VoidHold) -> None:
        history = holding(expires_at=EXPIRY)
        first = history.when(request_)
        history.but(account_stream("main", "alice"), status="closed")
        again = history.when(request_, now=LATER)
        again.then_nothing()
        assert again.outcome == first.outcome._replace(recorded=False, replayed=True)

    @pytest.mark.parametrize("request_", [a_settlement(amount=101), a_void()])
    def test_what_was_refused_stays_refused(self, request_: SettleHold | VoidHold) -> None:
        history = holding(expires_at=EXPIRY)
        first = history.when(request_, now=LATER)
        assert first.state.rejection.code == "hold_expired"
        again = history.when(request_, now=NOW)
        again.then_nothing()
        assert again.outcome == first.outcome._replace(recorded=False, replayed=True)

    def test_a_settlement_that_was_refused_by_a_frozen_account_stays_refused(self) -> None:
        history = frozen(holding(), "alice")
        first = history.when(a_settlement())
        history.but(account_stream("main", "alice"), status="open")
        assert history.when(a_settlement()).state == first.state

    @pytest.mark.parametrize("first", [a_settlement(key="k"), a_void(key="k")])
    @pytest.mark.parametrize("make", [a_settlement, a_void])
    def test_another_request_with_the_key_is_refused(
        self, first: SettleHold | VoidHold, make: Callable[..., SettleHold | VoidHold]
    ) -> None:
        history = holding()
        history.when(first)
        history.when(make("unknown", key="k", fingerprint="fingerprint-2")).then_refused(IdempotencyKeyReused)

    def test_a_replay_needs_nothing_of_what_it_named(self) -> None:
        history = holding()
        first = history.when(a_settlement())
        del history.journal.states[HOLD_STREAM]
        assert history.when(a_settlement()).state == first.state


class TestTotalsOfEvents:
    """What the events of holds do to an account, event by event."""

    def test_held_settled_and_released_add_up(self) -> None:
        stream = account_stream("main", "alice")
        history = given(
            an_account("alice"),
            (stream, EntriesPosted(transaction_id="t", debits=1, credits=2)),
            (stream, EntriesHeld(transaction_id="h1", debits=10, credits=20)),
            (stream, EntriesHeld(transaction_id="h2", debits=100, credits=200)),
        )
        assert amounts(history, "alice") == ((1, 2), (110, 220))
        settled = EntriesSettled(
            transaction_id="s", hold_id="h1", held_debits=10, held_credits=20, debits=4, credits=5
        )
        history.journal.append([(stream, settled)], envelope_of(a_void(), NOW))
        assert amounts(history, "alice") == ((5, 7), (100, 200))
        released = EntriesReleased(hold_id="h2", debits=100, credits=200)
        history.journal.append([(stream, released)], envelope_of(a_void(), NOW))
        assert amounts(history, "alice") == ((5, 7), (0, 0))
        account = history.account("alice")
        assert (account.version, account.position, account.opened_at) == (6, 6, LONG_AGO)
        assert (account.status, account.asset, account.opening) == ("open", "USD/2", an_opening())
