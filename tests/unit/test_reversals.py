"""Decisions on reversals (api/README.md, Transactions)."""

from collections.abc import Callable
from itertools import combinations

import pytest

from domain.model.accounts import EntriesPosted
from domain.model.commands import Command
from domain.model.entries import PostedEntry
from domain.model.errors import (
    RULE_PRECEDENCE,
    AccountClosed,
    AccountFrozen,
    AmountExceedsReversible,
    AmountOverflow,
    BalanceLimitExceeded,
    IdempotencyKeyReused,
    InsufficientFunds,
    InvalidRequest,
    LedgerNotFound,
    NotReversible,
    RuleRefusal,
    TransactionNotFound,
)
from domain.model.idempotency import operation_id
from domain.model.money import MAX_AMOUNT
from domain.model.streams import account_stream, transaction_stream
from domain.model.times import Instant
from domain.model.transactions import Description, Related, ReversalPosted, Reversed
from tests.unit.given_when_then import (
    NOW,
    Answer,
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

LATER: Instant = "2026-11-24T00:00:00.000000Z"
ORIGINAL = operation_id("main", "key-1")
REVERSAL = operation_id("main", "reversal")
HUNDRED = (debit("alice", 100), credit("bob", 100))
THREE = (debit("alice", 10), credit("bob", 4), credit("carol", 6))


def books(assets: tuple[str, ...] = ("USD/2",)) -> Given:
    return given(*a_ledger(*assets), *map(an_account, ("alice", "bob", "carol")))


def posted() -> Given:
    """A posting of 100 from alice to bob."""
    history = books()
    assert history.when(a_posting(*HUNDRED)).state.status == "posted"
    return history


def balances(history: Given) -> tuple[int, int]:
    return history.account("alice").balance, history.account("bob").balance


class TestReversing:
    def test_the_mirror_is_posted(self) -> None:
        history = posted()
        description = Description(reference="order-1", description="no tea", metadata={"till": "7"})
        answer = history.when(a_reversal(description=description, effective_at=LATER))

        def entry(account: str, direction: str, debits: int) -> PostedEntry:
            return PostedEntry(
                account=account,
                direction=direction,  # type: ignore[arg-type]
                amount=100,
                asset="USD/2",
                normal_side="credit",
                balance_after=0,
                debits_after=debits,
            )

        answer.then(
            (
                account_stream("main", "alice"),
                EntriesPosted(transaction_id=REVERSAL, debits=0, credits=100),
            ),
            (account_stream("main", "bob"), EntriesPosted(transaction_id=REVERSAL, debits=100, credits=0)),
            (transaction_stream("main", ORIGINAL), Reversed(reversed_by=REVERSAL, amount=100)),
            (
                transaction_stream("main", REVERSAL),
                ReversalPosted(
                    fingerprint="fingerprint-1",
                    reverses=ORIGINAL,
                    entries=(entry("alice", "credit", 100), entry("bob", "debit", 100)),
                    effective_at=LATER,
                    reference="order-1",
                    description="no tea",
                    metadata={"till": "7"},
                ),
            ),
        )
        assert balances(history) == (0, 0)

    def test_the_reversal_is_a_transaction_of_its_own(self) -> None:
        history = posted()
        answer = history.when(a_reversal())
        reversal = answer.state
        assert (reversal.id, reversal.kind, reversal.status) == (REVERSAL, "reversal", "posted")
        assert (reversal.related, reversal.effective_at) == (Related(reverses=ORIGINAL), NOW)
        assert (reversal.version, reversal.position) == (1, answer.outcome.position)

    def test_the_original_stays_posted_and_names_its_reversals(self) -> None:
        history = posted()
        for n in range(1, 4):
            history.when(a_reversal(amount=n, key=f"reversal-{n}"))
        original = history.transaction("key-1")
        ids = tuple(operation_id("main", f"reversal-{n}") for n in range(1, 4))
        assert (original.status, original.version) == ("posted", 4)
        assert original.related == Related(reversed_by=ids)

    def test_of_several_entries_and_assets(self) -> None:
        history = given(
            *a_ledger("USD/2", "EUR/2"),
            *(an_account(f"{who}:usd") for who in ("alice", "desk")),
            *(an_account(f"{who}:eur", an_opening(asset="EUR/2")) for who in ("alice", "desk")),
        )
        history.when(
            a_posting(
                debit("alice:usd", 110),
                credit("desk:usd", 110),
                debit("desk:eur", 100),
                credit("alice:eur", 100),
            )
        )
        reversal = history.when(a_reversal()).state
        assert [(entry.account, entry.direction) for entry in reversal.entries] == [
            ("alice:usd", "credit"),
            ("desk:usd", "debit"),
            ("desk:eur", "credit"),
            ("alice:eur", "debit"),
        ]
        assert all(history.account(entry.account).balance == 0 for entry in reversal.entries)
        history.when(a_reversal(key="another")).then_rejected(NotReversible)

    def test_an_account_on_both_sides(self) -> None:
        history = books()
        history.when(a_posting(debit("alice", 5), credit("alice", 5)))
        assert history.when(a_reversal(amount=2)).state.status == "posted"
        account = history.account("alice")
        assert (account.posted_debits, account.posted_credits) == (7, 7)


class TestParts:
    def test_until_the_whole_is_reversed(self) -> None:
        history = posted()
        for amount, balance in ((30, -70), (69, -1), (1, 0)):
            answer = history.when(a_reversal(amount=amount, key=f"reversal of {amount}"))
            assert answer.state.status == "posted"
            assert balances(history) == (balance, -balance)
        history.when(a_reversal(amount=1)).then_rejected(NotReversible)
        history.when(a_reversal(key="the rest")).then_rejected(NotReversible)

    def test_an_empty_request_reverses_what_remains(self) -> None:
        history = posted()
        history.when(a_reversal(amount=30, key="part"))
        rest = history.when(a_reversal()).state
        assert [entry.amount for entry in rest.entries] == [70, 70]
        assert balances(history) == (0, 0)

    @pytest.mark.parametrize(("before", "amount"), [(0, 101), (30, 71), (30, MAX_AMOUNT), (99, 2)])
    def test_no_more_than_remains(self, before: int, amount: int) -> None:
        history = posted()
        if before:
            history.when(a_reversal(amount=before, key="part"))
        reversal = history.when(a_reversal(amount=amount)).then_rejected(AmountExceedsReversible)
        assert (reversal.kind, reversal.related) == ("reversal", Related(reverses=ORIGINAL))
        assert [entry.amount for entry in reversal.entries] == [amount, amount]
        assert history.transaction("key-1").related.reversed_by == (
            (operation_id("main", "part"),) if before else ()
        )

    def test_a_refused_part_takes_nothing_from_what_remains(self) -> None:
        history = posted()
        history.when(a_reversal(amount=101))
        assert history.when(a_reversal(amount=100, key="whole")).state.status == "posted"

    @pytest.mark.parametrize("amount", [1, 10, 11])
    def test_only_of_two_entries(self, amount: int) -> None:
        history = books()
        history.when(a_posting(*THREE))
        refusal = history.when(a_reversal(amount=amount)).then_refused(InvalidRequest)
        assert isinstance(refusal, InvalidRequest) and refusal.errors[0]["pointer"] == "/amount"
        assert history.when(a_reversal()).state.status == "posted", "the key stayed free"

    def test_shape_is_judged_before_the_rules(self) -> None:
        history = books()
        history.when(a_posting(*THREE))
        history.when(a_reversal(key="whole"))
        history.when(a_reversal(amount=1)).then_refused(InvalidRequest)


class TestWhatCanBeReversed:
    def test_it_must_be_there(self) -> None:
        given().when(a_reversal()).then_refused(LedgerNotFound)
        books().when(a_reversal()).then_refused(TransactionNotFound)

    def test_a_settlement(self) -> None:
        history = books()
        history.when(a_hold(*HUNDRED))
        history.when(a_settlement(amount=60))
        history.when(a_reversal("settlement", amount=61)).then_rejected(AmountExceedsReversible)
        history.when(a_reversal("settlement", amount=20, key="part"))
        rest = history.when(a_reversal("settlement", key="rest")).state
        assert [entry.amount for entry in rest.entries] == [40, 40]
        assert balances(history) == (0, 0)
        hold = history.transaction("hold")
        assert (hold.status, hold.related) == (
            "settled",
            Related(settled_by=operation_id("main", "settlement")),
        )

    def test_a_settlement_by_several_entries(self) -> None:
        history = books()
        history.when(a_hold(*HUNDRED))
        parts = (debit("alice", 3), debit("alice", 4), credit("bob", 7))
        history.when(a_settlement(entries=parts))
        history.when(a_reversal("settlement", amount=7)).then_refused(InvalidRequest)
        assert history.when(a_reversal("settlement")).state.status == "posted"
        assert balances(history) == (0, 0)

    @pytest.mark.parametrize("amount", [None, 1])
    @pytest.mark.parametrize(
        "requests",
        [
            pytest.param([a_hold(*HUNDRED, key="it")], id="hold"),
            pytest.param([a_hold(*HUNDRED, key="it"), a_settlement("it")], id="settled hold"),
            pytest.param([a_hold(*HUNDRED, key="it"), a_void("it")], id="voided hold"),
            pytest.param([a_hold(*HUNDRED), a_void(key="it")], id="void"),
            pytest.param([a_posting(*HUNDRED), a_reversal(key="it")], id="reversal"),
            pytest.param([a_posting(*HUNDRED), a_settlement("key-1", key="it")], id="refused settlement"),
            pytest.param(
                [a_posting(*HUNDRED), a_reversal(amount=500, key="it")],
                id="refused reversal",
            ),
        ],
    )
    def test_nothing_else(self, requests: list[Command], amount: int | None) -> None:
        history = books()
        for request in requests:
            assert history.when(request).refusal is None
        before = balances(history)
        history.when(a_reversal("it", amount=amount, key="last")).then_rejected(NotReversible)
        assert balances(history) == before

    def test_not_what_was_rejected(self) -> None:
        history = books().but(account_stream("main", "alice"), status="frozen")
        history.when(a_posting(*HUNDRED))
        history.but(account_stream("main", "alice"), status="open")
        history.when(a_reversal()).then_rejected(NotReversible)


class TestRulesOfReversals:
    def test_limits_apply(self) -> None:
        history = posted().but(account_stream("main", "bob"), min_balance=30)
        history.when(a_reversal()).then_rejected(InsufficientFunds)
        history.when(a_reversal(amount=71, key="71")).then_rejected(InsufficientFunds)
        assert history.when(a_reversal(amount=70, key="70")).state.status == "posted"

    def test_the_maximum_too(self) -> None:
        history = posted().but(account_stream("main", "alice"), max_balance=-50)
        history.when(a_reversal()).then_rejected(BalanceLimitExceeded)
        assert history.when(a_reversal(amount=50, key="50")).state.status == "posted"

    def test_what_is_held_cannot_be_reversed_away(self) -> None:
        history = posted()
        history.when(a_hold(debit("bob", 40), credit("carol", 40)))
        history.but(account_stream("main", "bob"), min_balance=0)
        history.when(a_reversal()).then_rejected(InsufficientFunds)
        history.when(a_reversal(amount=61, key="61")).then_rejected(InsufficientFunds)
        assert history.when(a_reversal(amount=60, key="60")).state.status == "posted"

    def test_what_mends_a_broken_limit_is_accepted(self) -> None:
        history = posted().but(account_stream("main", "alice"), min_balance=0)
        history.but(account_stream("main", "bob"), max_balance=0)
        assert history.when(a_reversal(amount=1)).state.status == "posted"

    def test_totals_grow_to_the_end_of_their_range_and_no_further(self) -> None:
        history = books()
        history.when(a_posting(debit("alice", MAX_AMOUNT), credit("bob", MAX_AMOUNT)))
        assert history.when(a_reversal()).state.status == "posted"
        assert history.account("alice").posted_credits == MAX_AMOUNT
        history = posted().but(account_stream("main", "alice"), posted_credits=MAX_AMOUNT - 99)
        history.when(a_reversal()).then_rejected(AmountOverflow)
        assert history.when(a_reversal(amount=99, key="99")).state.status == "posted"

    @pytest.mark.parametrize("address", ["alice", "bob"])
    @pytest.mark.parametrize(("status", "refusal"), [("frozen", AccountFrozen), ("closed", AccountClosed)])
    def test_only_open_accounts(self, address: str, status: str, refusal: type[RuleRefusal]) -> None:
        history = posted().but(account_stream("main", address), status=status)
        history.when(a_reversal()).then_rejected(refusal)
        history.but(account_stream("main", address), status="open")
        history.when(a_reversal()).then_nothing()


class TestPrecedence:
    RULES = (
        NotReversible,
        AccountClosed,
        AccountFrozen,
        AmountExceedsReversible,
        AmountOverflow,
        InsufficientFunds,
        BalanceLimitExceeded,
    )

    def refused(self, *rules: type[RuleRefusal]) -> Answer:
        """Reverse a posting so that it breaks all of these rules. Each account can break several."""
        history = posted()
        alice, bob = (account_stream("main", address) for address in ("alice", "bob"))
        breaking: dict[type[RuleRefusal], Callable[[], object]] = {
            NotReversible: lambda: history.when(a_reversal(key="whole")),
            AccountClosed: lambda: history.but(alice, status="closed"),
            AccountFrozen: lambda: history.but(bob, status="frozen"),
            AmountExceedsReversible: lambda: None,
            AmountOverflow: lambda: history.but(alice, posted_credits=MAX_AMOUNT),
            InsufficientFunds: lambda: history.but(bob, min_balance=history.account("bob").balance),
            BalanceLimitExceeded: lambda: history.but(alice, max_balance=history.account("alice").balance),
        }
        for rule in sorted(rules, key=RULE_PRECEDENCE.index):
            breaking[rule]()
        return history.when(a_reversal(amount=101 if AmountExceedsReversible in rules else 10))

    @pytest.mark.parametrize("rule", RULES)
    def test_each_refuses_by_itself(self, rule: type[RuleRefusal]) -> None:
        self.refused(rule).then_rejected(rule)

    @pytest.mark.parametrize(("earlier", "later"), list(combinations(RULES, 2)))
    def test_of_several_the_first_of_the_contract_is_given(
        self, earlier: type[RuleRefusal], later: type[RuleRefusal]
    ) -> None:
        self.refused(earlier, later).then_rejected(earlier)


class TestReplay:
    def test_an_original_is_answered_as_it_was_before_it_was_reversed(self) -> None:
        history = books()
        first = history.when(a_posting(*HUNDRED))
        history.when(a_reversal(amount=30, key="part"))
        history.when(a_reversal())
        again = history.when(a_posting(*HUNDRED), now=LATER)
        again.then_nothing()
        assert again.outcome == first.outcome._replace(recorded=False, replayed=True)

    def test_so_is_a_settlement(self) -> None:
        history = books()
        history.when(a_hold(*HUNDRED))
        first = history.when(a_settlement(amount=60))
        history.when(a_reversal("settlement"))
        again = history.when(a_settlement(amount=60), now=LATER)
        again.then_nothing()
        assert again.outcome == first.outcome._replace(recorded=False, replayed=True)

    def test_the_rest_is_reversed_once(self) -> None:
        history = posted()
        history.when(a_reversal(amount=30, key="part"))
        first = history.when(a_reversal())
        again = history.when(a_reversal(), now=LATER)
        again.then_nothing()
        assert again.outcome == first.outcome._replace(recorded=False, replayed=True)
        assert balances(history) == (0, 0)

    def test_a_refusal_stays(self) -> None:
        history = posted().but(account_stream("main", "bob"), min_balance=100)
        first = history.when(a_reversal())
        history.but(account_stream("main", "bob"), min_balance=None)
        again = history.when(a_reversal(), now=LATER)
        again.then_nothing()
        assert again.outcome == first.outcome._replace(recorded=False, replayed=True)
        assert first.outcome.is_refused and again.outcome.is_refused

    def test_another_request_with_the_key_is_refused(self) -> None:
        history = posted()
        history.when(a_reversal(amount=30))
        history.when(a_reversal("unknown", fingerprint="fingerprint-2")).then_refused(IdempotencyKeyReused)

    def test_the_key_of_the_original_is_in_use(self) -> None:
        posted().when(a_reversal(key="key-1", fingerprint="fingerprint-2")).then_refused(IdempotencyKeyReused)
