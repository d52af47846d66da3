"""Voiding holds, and the conditions that settling and voiding share (api/README.md, Transactions)."""

from itertools import combinations

import pytest

from domain.model.accounts import EntriesReleased
from domain.model.entries import Entry
from domain.model.errors import (
    RULE_PRECEDENCE,
    AccountClosed,
    AccountFrozen,
    AmountExceedsHold,
    HoldExpired,
    HoldNotPending,
    IdempotencyKeyReused,
    InvalidRequest,
    LedgerNotFound,
    RuleRefusal,
    TransactionNotFound,
    UnbalancedTransaction,
)
from domain.model.holds import SettleHold, VoidHold
from domain.model.streams import account_stream
from domain.model.times import Instant
from domain.model.transactions import Related, Voided, VoidRecorded
from tests.unit.given_when_then import (
    NOW,
    Answer,
    a_hold,
    a_posting,
    a_settlement,
    a_void,
    credit,
    debit,
    given,
)
from tests.unit.holds.history import (
    DESCRIPTION,
    EXPIRY,
    HOLD,
    HOLD_STREAM,
    HUNDRED,
    JUST_BEFORE,
    LATER,
    VOID,
    VOID_STREAM,
    amounts,
    books,
    expiry,
    frozen,
    holding,
)


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
