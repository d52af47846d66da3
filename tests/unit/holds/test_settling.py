"""Settling holds, in whole or in part (api/README.md, Transactions)."""

import pytest
from msgspec.structs import asdict

from domain.model.accounts import EntriesSettled
from domain.model.commands import envelope_of
from domain.model.entries import Entry, PostedEntry
from domain.model.errors import (
    AccountFrozen,
    AmountExceedsHold,
    HoldNotPending,
    InvalidRequest,
    UnbalancedTransaction,
)
from domain.model.money import MAX_AMOUNT
from domain.model.streams import account_stream
from domain.model.transactions import Related, Settled, SettlementPosted
from tests.unit.given_when_then import (
    NOW,
    Given,
    a_hold,
    a_settlement,
    a_void,
    an_account,
    an_opening,
    credit,
    debit,
)
from tests.unit.holds.history import (
    DESCRIPTION,
    HOLD,
    HOLD_STREAM,
    HUNDRED,
    LATER,
    SETTLEMENT,
    SETTLEMENT_STREAM,
    amounts,
    books,
    frozen,
    holding,
)


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
