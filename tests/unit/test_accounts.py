"""Decisions on accounts, and the limits that apply to postings."""

from types import EllipsisType
from typing import Any, get_args

import pytest
from msgspec.structs import replace

from domain.model.accounts import (
    Account,
    AccountOpened,
    ChangeAccount,
    EntriesPosted,
    LimitsChanged,
    MetadataChanged,
    OpenAccount,
    Status,
    existing_account,
    posting_refusal,
)
from domain.model.commands import envelope_of
from domain.model.errors import (
    AccountClosed,
    AccountExists,
    AccountFrozen,
    AccountNotFound,
    AmountOverflow,
    AssetScaleConflict,
    BalanceLimitExceeded,
    InsufficientFunds,
    InvalidRequest,
    LedgerNotFound,
    RuleRefusal,
    VersionMismatch,
)
from domain.model.ledgers import AssetRegistered
from domain.model.money import MAX_AMOUNT, Direction
from tests.unit.given_when_then import (
    CONTEXT,
    LONG_AGO,
    NOW,
    Answer,
    a_ledger,
    an_account,
    an_opening,
    given,
)

ALICE = "main/accounts/alice"


def opened(address: str = "alice", opening: AccountOpened | None = None) -> OpenAccount:
    return OpenAccount(CONTEXT, "main", address, opening or an_opening())


class TestOpening:
    def test_the_first_account_of_an_asset_registers_it(self) -> None:
        answer = given(*a_ledger()).when(opened())
        answer.then(("main/ledger", AssetRegistered(code="USD", scale=2)), (ALICE, an_opening()))
        account = answer.state
        assert (account.ledger, account.address, account.asset, account.status) == (
            "main",
            "alice",
            "USD/2",
            "open",
        )
        assert (account.balance, account.available, account.opened_at) == (0, 0, NOW)
        assert (account.version, account.position) == (1, answer.outcome.position) == (1, 3)

    def test_the_second_does_not(self) -> None:
        given(*a_ledger("USD/2")).when(opened()).then((ALICE, an_opening()))

    def test_an_address_may_have_segments(self) -> None:
        answer = given(*a_ledger("USD/2")).when(opened("users:alice:wallet"))
        answer.then(("main/accounts/users:alice:wallet", an_opening()))
        assert answer.state.address == "users:alice:wallet"

    def test_opening_it_again_shows_it_as_it_is_now(self) -> None:
        answer = given(
            *a_ledger("USD/2"),
            an_account("alice"),
            (ALICE, LimitsChanged(min_balance=0, max_balance=9)),
            (ALICE, MetadataChanged(metadata={"customer": "42"})),
            (ALICE, EntriesPosted(transaction_id="t", debits=0, credits=5)),
        ).when(opened())
        answer.then_nothing()
        account = answer.state
        assert (account.min_balance, account.max_balance, account.balance) == (0, 9, 5)
        assert account.metadata == {"customer": "42"}
        assert account.opened_at == LONG_AGO

    @pytest.mark.parametrize(
        "other",
        [
            an_opening(asset="EUR/2"),
            an_opening(asset="USD/3"),  # the account is checked before the asset
            an_opening(normal_side="debit"),
            an_opening(min_balance=0),
            an_opening(max_balance=0),
            an_opening(metadata={"customer": "42"}),
        ],
    )
    def test_opening_it_with_other_attributes_is_refused(self, other: AccountOpened) -> None:
        history = given(*a_ledger("USD/2"), an_account("alice"))
        history.when(opened(opening=other)).then_refused(AccountExists)

    def test_the_attributes_it_has_now_are_not_those_it_was_opened_with(self) -> None:
        history = given(
            *a_ledger("USD/2"), an_account("alice"), (ALICE, LimitsChanged(min_balance=0, max_balance=None))
        )
        history.when(opened(opening=an_opening(min_balance=0))).then_refused(AccountExists)

    def test_a_code_keeps_its_scale(self) -> None:
        given(*a_ledger("USD/2")).when(opened(opening=an_opening(asset="USD/3"))).then_refused(
            AssetScaleConflict
        )

    def test_it_needs_its_ledger(self) -> None:
        given(*a_ledger(name="other")).when(opened()).then_refused(LedgerNotFound)

    def test_it_needs_no_key_and_is_caused_by_the_conversation(self) -> None:
        envelope = envelope_of(opened(), NOW)
        assert envelope.idempotency_key is None
        assert envelope.causation_id == CONTEXT.correlation_id


class TestChanging:
    def change(self, opening: AccountOpened | None = None, **what: Any) -> Answer:
        history = given(*a_ledger("USD/2"), an_account("alice", opening))
        return history.when(ChangeAccount(CONTEXT, "main", "alice", **what))

    def test_what_is_left_out_stays(self) -> None:
        opening = an_opening(min_balance=0, max_balance=10, metadata={"a": "1"})
        self.change(opening, max_balance=20).then((ALICE, LimitsChanged(min_balance=0, max_balance=20)))
        self.change(opening, min_balance=None).then((ALICE, LimitsChanged(min_balance=None, max_balance=10)))
        answer = self.change(opening, metadata={"b": "2"})
        answer.then((ALICE, MetadataChanged(metadata={"b": "2"})))
        assert (answer.state.min_balance, answer.state.max_balance) == (0, 10)
        assert (answer.state.version, answer.state.position) == (2, 4)

    def test_limits_and_metadata_may_change_together(self) -> None:
        answer = self.change(min_balance=-5, max_balance=5, metadata={"a": "1"})
        answer.then(
            (ALICE, LimitsChanged(min_balance=-5, max_balance=5)),
            (ALICE, MetadataChanged(metadata={"a": "1"})),
        )
        assert answer.state.version == 3
        assert answer.outcome.position == answer.state.position == 5

    @pytest.mark.parametrize(
        "same", [{}, {"min_balance": 0}, {"metadata": {"a": "1"}, "min_balance": 0, "max_balance": None}]
    )
    def test_what_is_equal_records_nothing(self, same: dict[str, Any]) -> None:
        answer = self.change(an_opening(min_balance=0, metadata={"a": "1"}), **same)
        answer.then_nothing()
        assert answer.state.version == 1 and not answer.outcome.recorded

    def test_a_limit_may_be_set_that_is_already_broken(self) -> None:
        history = given(
            *a_ledger("USD/2"),
            an_account("alice"),
            (ALICE, EntriesPosted(transaction_id="t", debits=50, credits=0)),
        )
        history.when(ChangeAccount(CONTEXT, "main", "alice", min_balance=0)).then(
            (ALICE, LimitsChanged(min_balance=0, max_balance=None))
        )

    @pytest.mark.parametrize(
        ("opening", "limits"),
        [
            (an_opening(), {"min_balance": 1, "max_balance": 0}),
            (an_opening(max_balance=0), {"min_balance": 1}),
            (an_opening(min_balance=0), {"max_balance": -1}),
        ],
    )
    def test_a_minimum_above_the_maximum_is_invalid(
        self, opening: AccountOpened, limits: dict[str, int]
    ) -> None:
        refusal = self.change(opening, **limits).then_refused(InvalidRequest)
        assert isinstance(refusal, InvalidRequest)
        assert [error["pointer"] for error in refusal.errors] == ["/min_balance"]

    def test_a_minimum_may_equal_the_maximum(self) -> None:
        self.change(min_balance=7, max_balance=7).then((ALICE, LimitsChanged(min_balance=7, max_balance=7)))

    @pytest.mark.parametrize("version", [0, 2, 99])
    def test_another_version_than_expected_is_refused(self, version: int) -> None:
        self.change(if_version=version, min_balance=0).then_refused(VersionMismatch)

    def test_the_version_is_judged_before_the_content(self) -> None:
        self.change(if_version=2, min_balance=1, max_balance=0).then_refused(VersionMismatch)
        self.change(if_version=2).then_refused(VersionMismatch)  # even if nothing would change

    def test_the_expected_version_is_accepted(self) -> None:
        self.change(if_version=1, min_balance=0).then((ALICE, LimitsChanged(min_balance=0, max_balance=None)))

    def test_names_are_judged_first(self) -> None:
        command = ChangeAccount(CONTEXT, "main", "alice", if_version=9, min_balance=1, max_balance=0)
        given().when(command).then_refused(LedgerNotFound)
        given(*a_ledger("USD/2")).when(command).then_refused(AccountNotFound)

    def test_a_closed_account_refuses_even_what_would_change_nothing(self) -> None:
        history = given(*a_ledger("USD/2"), an_account("alice")).but(ALICE, status="closed")
        history.when(ChangeAccount(CONTEXT, "main", "alice", metadata={"a": "1"})).then_refused(AccountClosed)
        history.when(ChangeAccount(CONTEXT, "main", "alice")).then_refused(AccountClosed)

    def test_shape_is_judged_before_a_closed_account(self) -> None:
        history = given(*a_ledger("USD/2"), an_account("alice")).but(ALICE, status="closed")
        history.when(ChangeAccount(CONTEXT, "main", "alice", min_balance=1, max_balance=0)).then_refused(
            InvalidRequest
        )

    def test_a_frozen_account_may_be_changed(self) -> None:
        history = given(*a_ledger("USD/2"), an_account("alice")).but(ALICE, status="frozen")
        history.when(ChangeAccount(CONTEXT, "main", "alice", metadata={"a": "1"})).then(
            (ALICE, MetadataChanged(metadata={"a": "1"}))
        )

    def test_left_out_is_not_null(self) -> None:
        command = ChangeAccount(CONTEXT, "main", "alice")
        for field in (command.metadata, command.min_balance, command.max_balance):
            assert isinstance(field, EllipsisType)
        envelope = envelope_of(command, NOW)
        assert envelope.idempotency_key is None
        assert envelope.causation_id == CONTEXT.correlation_id


def account(
    side: Direction = "credit",
    minimum: int | None = None,
    maximum: int | None = None,
    posted: tuple[int, int] = (0, 0),
    pending: tuple[int, int] = (0, 0),
    status: Status = "open",
) -> Account:
    """An account with posted and pending (debits, credits)."""
    opening = an_opening(normal_side=side, min_balance=minimum, max_balance=maximum)
    state = given((ALICE, opening)).journal.states[ALICE]
    assert isinstance(state, Account)
    return replace(
        state,
        status=status,
        posted_debits=posted[0],
        posted_credits=posted[1],
        pending_debits=pending[0],
        pending_credits=pending[1],
    )


class TestBalance:
    def test_of_a_credit_normal_account(self) -> None:
        state = account("credit", posted=(30, 100), pending=(7, 11))
        assert (state.balance, state.available) == (70, 63)
        assert (state.pending_outflow, state.pending_inflow) == (7, 11)

    def test_of_a_debit_normal_account_is_mirrored(self) -> None:
        state = account("debit", posted=(100, 30), pending=(11, 7))
        assert (state.balance, state.available) == (70, 63)
        assert (state.pending_outflow, state.pending_inflow) == (7, 11)

    def test_entries_add_up(self) -> None:
        history = given(
            an_account("alice"),
            (ALICE, EntriesPosted(transaction_id="t1", debits=3, credits=10)),
            (ALICE, EntriesPosted(transaction_id="t2", debits=4, credits=0)),
        )
        state = history.journal.states[ALICE]
        assert (state.posted_debits, state.posted_credits, state.version, state.position) == (7, 10, 3, 3)

    def test_a_stream_without_events_is_no_account(self) -> None:
        with pytest.raises(AccountNotFound):
            existing_account(None, "main", "a")


class Change:
    """A net change seen from the normal side, as the (debits, credits) of each side."""

    def __init__(self, side: Direction) -> None:
        self.side = side

    def inflow(self, amount: int) -> tuple[int, int]:
        return (0, amount) if self.side == "credit" else (amount, 0)

    def outflow(self, amount: int) -> tuple[int, int]:
        return (amount, 0) if self.side == "credit" else (0, amount)


@pytest.mark.parametrize("side", get_args(Direction))
class TestLimits:
    def test_available_may_fall_to_the_minimum_and_no_further(self, side: Direction) -> None:
        change = Change(side)
        state = account(side, minimum=-10, posted=change.inflow(50))
        assert posting_refusal(state, *change.outflow(60)) is None
        assert posting_refusal(state, *change.outflow(61)) is InsufficientFunds

    def test_what_is_pending_against_it_is_not_available(self, side: Direction) -> None:
        change = Change(side)
        state = account(side, minimum=0, posted=change.inflow(50), pending=change.outflow(20))
        assert posting_refusal(state, *change.outflow(30)) is None
        assert posting_refusal(state, *change.outflow(31)) is InsufficientFunds

    def test_what_is_pending_in_its_favour_is_not_available_either(self, side: Direction) -> None:
        change = Change(side)
        state = account(side, minimum=0, posted=change.inflow(50), pending=change.inflow(20))
        assert posting_refusal(state, *change.outflow(51)) is InsufficientFunds

    def test_the_balance_may_rise_to_the_maximum_and_no_further(self, side: Direction) -> None:
        change = Change(side)
        state = account(side, maximum=100, posted=change.inflow(50))
        assert posting_refusal(state, *change.inflow(50)) is None
        assert posting_refusal(state, *change.inflow(51)) is BalanceLimitExceeded

    def test_pending_inflow_counts_towards_the_maximum(self, side: Direction) -> None:
        change = Change(side)
        state = account(side, maximum=100, posted=change.inflow(50), pending=change.inflow(20))
        assert posting_refusal(state, *change.inflow(30)) is None
        assert posting_refusal(state, *change.inflow(31)) is BalanceLimitExceeded

    def test_pending_outflow_makes_no_room_below_the_maximum(self, side: Direction) -> None:
        change = Change(side)
        state = account(side, maximum=100, posted=change.inflow(100), pending=change.outflow(40))
        assert posting_refusal(state, *change.inflow(1)) is BalanceLimitExceeded

    def test_the_net_change_is_judged_and_not_its_parts(self, side: Direction) -> None:
        state = account(side, minimum=0, maximum=10)
        assert posting_refusal(state, 1000, 1000) is None
        debits, credits = Change(side).inflow(10)
        assert posting_refusal(state, 1000 + debits, 1000 + credits) is None

    @pytest.mark.parametrize("worse_by", [1, 1000])
    def test_a_broken_minimum_may_be_mended_but_not_worsened(self, side: Direction, worse_by: int) -> None:
        change = Change(side)
        state = account(side, minimum=0, posted=change.outflow(50))
        assert posting_refusal(state, *change.inflow(1)) is None
        assert posting_refusal(state, 7, 7) is None
        assert posting_refusal(state, *change.outflow(worse_by)) is InsufficientFunds

    @pytest.mark.parametrize("worse_by", [1, 1000])
    def test_a_broken_maximum_may_be_mended_but_not_worsened(self, side: Direction, worse_by: int) -> None:
        change = Change(side)
        state = account(side, maximum=0, posted=change.inflow(50))
        assert posting_refusal(state, *change.outflow(1)) is None
        assert posting_refusal(state, 7, 7) is None
        assert posting_refusal(state, *change.inflow(worse_by)) is BalanceLimitExceeded

    def test_each_limit_is_blind_to_the_other_direction(self, side: Direction) -> None:
        change = Change(side)
        state = account(side, minimum=100, maximum=100)  # the balance of 0 is below both limits
        assert posting_refusal(state, *change.inflow(50)) is None
        assert posting_refusal(state, *change.inflow(101)) is BalanceLimitExceeded

    def test_an_unlimited_account_takes_all_that_can_be_counted(self, side: Direction) -> None:
        change = Change(side)
        assert posting_refusal(account(side), *change.inflow(MAX_AMOUNT)) is None
        assert posting_refusal(account(side), *change.outflow(MAX_AMOUNT)) is None

    def test_a_limit_at_the_end_of_the_range_is_reached(self, side: Direction) -> None:
        change = Change(side)
        state = account(side, minimum=-MAX_AMOUNT, maximum=MAX_AMOUNT)
        assert posting_refusal(state, *change.inflow(MAX_AMOUNT)) is None
        assert posting_refusal(state, *change.outflow(MAX_AMOUNT)) is None


class TestOverflow:
    @pytest.mark.parametrize("side", get_args(Direction))
    @pytest.mark.parametrize(
        ("posted", "pending", "change"),
        [
            ((MAX_AMOUNT, 0), (0, 0), (1, 0)),
            ((0, MAX_AMOUNT), (0, 0), (0, 1)),
            ((MAX_AMOUNT - 1, 0), (0, 0), (2, 0)),
            ((0, 0), (0, 0), (MAX_AMOUNT + 1, 0)),
            ((MAX_AMOUNT, MAX_AMOUNT), (0, 0), (1, 1)),  # the balance would stay 0, the totals would not
            ((MAX_AMOUNT - 5, 0), (5, 0), (1, 0)),  # settling a pending amount must never overflow
            ((0, MAX_AMOUNT - 5), (0, 5), (0, 1)),
        ],
    )
    def test_no_total_leaves_the_range(
        self,
        side: Direction,
        posted: tuple[int, int],
        pending: tuple[int, int],
        change: tuple[int, int],
    ) -> None:
        assert posting_refusal(account(side, posted=posted, pending=pending), *change) is AmountOverflow

    @pytest.mark.parametrize("side", get_args(Direction))
    @pytest.mark.parametrize(
        ("posted", "pending", "change"),
        [
            ((MAX_AMOUNT - 1, 0), (0, 0), (1, 0)),
            ((0, MAX_AMOUNT - 1), (0, 0), (0, 1)),
            ((0, 0), (0, 0), (MAX_AMOUNT, MAX_AMOUNT)),
            ((MAX_AMOUNT - 5, MAX_AMOUNT - 7), (4, 6), (1, 1)),
        ],
    )
    def test_the_end_of_the_range_is_in_it(
        self,
        side: Direction,
        posted: tuple[int, int],
        pending: tuple[int, int],
        change: tuple[int, int],
    ) -> None:
        state = account(side, posted=posted, pending=pending)
        assert posting_refusal(state, *change) is None
        after = replace(state, posted_debits=posted[0] + change[0], posted_credits=posted[1] + change[1])
        assert -MAX_AMOUNT <= after.available <= after.balance <= MAX_AMOUNT

    def test_it_is_given_before_a_broken_limit(self) -> None:
        below = account(minimum=0, posted=(MAX_AMOUNT, 0))
        assert posting_refusal(below, 1, 0) is AmountOverflow
        above = account(maximum=0, posted=(0, MAX_AMOUNT))
        assert posting_refusal(above, 0, 1) is AmountOverflow


class TestStatus:
    @pytest.mark.parametrize(("status", "refusal"), [("frozen", AccountFrozen), ("closed", AccountClosed)])
    @pytest.mark.parametrize("change", [(1, 0), (0, 1), (5, 5), (MAX_AMOUNT + 1, 0)])
    def test_only_an_open_account_takes_entries(
        self, status: Status, refusal: type[RuleRefusal], change: tuple[int, int]
    ) -> None:
        state = account(minimum=0, maximum=0, status=status)
        assert posting_refusal(state, *change) is refusal
