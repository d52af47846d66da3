"""Decisions on transactions."""

from collections.abc import Callable
from itertools import combinations
from uuid import NAMESPACE_URL, uuid5

import pytest
from msgspec.structs import asdict

from domain.model.accounts import EntriesPosted
from domain.model.commands import envelope_of
from domain.model.entries import MAX_ENTRIES, MIN_ENTRIES, Entry, PostedEntry
from domain.model.errors import (
    RULE_PRECEDENCE,
    AccountClosed,
    AccountFrozen,
    AccountNotFound,
    AmountOverflow,
    BalanceLimitExceeded,
    IdempotencyKeyReused,
    InsufficientFunds,
    LedgerNotFound,
    RuleRefusal,
    TransactionNotFound,
    UnbalancedTransaction,
)
from domain.model.money import MAX_AMOUNT
from domain.model.streams import account_stream
from domain.model.transactions import (
    Description,
    Related,
    TransactionPosted,
    TransactionRejected,
    existing_transaction,
)
from tests.unit.given_when_then import (
    CONTEXT,
    HISTORY,
    NOW,
    Answer,
    Given,
    a_ledger,
    a_posting,
    an_account,
    an_opening,
    credit,
    debit,
    given,
)

ID = str(uuid5(NAMESPACE_URL, "tallystick:main/key-1"))
STREAM = f"main/transactions/{ID}"


def books(*addresses: str) -> Given:
    """A ledger with accounts without limits, credit-normal and in USD/2."""
    return given(*a_ledger("USD/2"), *map(an_account, addresses))


def posted_to(address: str, debits: int, credits: int) -> tuple[str, EntriesPosted]:
    event = EntriesPosted(transaction_id=ID, debits=debits, credits=credits)
    return account_stream("main", address), event


def posted_entry(entry: Entry, balance_after: int, debits_after: int) -> PostedEntry:
    return PostedEntry(
        **asdict(entry),
        asset="USD/2",
        normal_side="credit",
        balance_after=balance_after,
        debits_after=debits_after,
    )


class TestPosting:
    def test_the_accounts_record_their_sums_and_then_the_transaction_itself(self) -> None:
        answer = books("alice", "bob").when(a_posting(debit("alice", 1050), credit("bob", 1050)))
        answer.then(
            posted_to("alice", 1050, 0),
            posted_to("bob", 0, 1050),
            (
                STREAM,
                TransactionPosted(
                    fingerprint="fingerprint-1",
                    entries=(
                        posted_entry(debit("alice", 1050), -1050, 1050),
                        posted_entry(credit("bob", 1050), 1050, 0),
                    ),
                    effective_at=NOW,
                    **Description()._asdict(),
                ),
            ),
        )
        assert answer.outcome.recorded and answer.outcome.position == 7

    def test_it_is_answered_with_all_that_it_is(self) -> None:
        description = Description(reference="order-1", description="two teas", metadata={"till": "7"})
        effective_at = "2026-11-30T00:00:00.000000Z"
        answer = books("alice", "bob").when(
            a_posting(debit("alice", 5), credit("bob", 5), description=description, effective_at=effective_at)
        )
        transaction = answer.state
        assert (transaction.ledger, transaction.id) == ("main", ID)
        assert (transaction.kind, transaction.status, transaction.rejection) == ("posting", "posted", None)
        assert (transaction.reference, transaction.description) == ("order-1", "two teas")
        assert transaction.metadata == {"till": "7"}
        assert (transaction.effective_at, transaction.recorded_at) == (effective_at, NOW)
        assert (transaction.idempotency_key, transaction.fingerprint) == ("key-1", "fingerprint-1")
        assert (transaction.actor, transaction.correlation_id) == (CONTEXT.actor, CONTEXT.correlation_id)
        assert (transaction.expires_at, transaction.related) == (None, Related())
        assert (transaction.version, transaction.position) == (1, answer.outcome.position)

    def test_the_same_account_may_appear_more_than_once(self) -> None:
        answer = books("alice", "bob").when(
            a_posting(
                credit("alice", 100),
                debit("alice", 30),
                debit("bob", 70),
                debit("alice", 5),
                credit("bob", 5),
            )
        )
        assert answer.events[:2] == [posted_to("alice", 35, 100), posted_to("bob", 70, 5)]
        assert [entry.balance_after for entry in answer.state.entries] == [100, 70, -70, 65, -65]

    def test_it_may_even_be_the_only_one(self) -> None:
        answer = books("alice").when(a_posting(debit("alice", 5), credit("alice", 5)))
        assert answer.events[0] == posted_to("alice", 5, 5)
        assert [entry.balance_after for entry in answer.state.entries] == [-5, 0]

    def test_the_running_balance_is_seen_from_the_normal_side(self) -> None:
        history = given(
            *a_ledger("USD/2"),
            an_account("cash", an_opening(normal_side="debit")),
            (account_stream("main", "cash"), EntriesPosted(transaction_id="t", debits=100, credits=0)),
            an_account("alice"),
        )
        answer = history.when(
            a_posting(debit("cash", 10), credit("alice", 10), credit("cash", 4), debit("alice", 4))
        )
        assert [entry.balance_after for entry in answer.state.entries] == [110, 10, 106, 6]
        assert [entry.normal_side for entry in answer.state.entries] == ["debit", "credit"] * 2

    def test_later_transactions_see_earlier_ones(self) -> None:
        history = books("alice", "bob")
        for n in range(1, 4):
            answer = history.when(a_posting(debit("alice", 10), credit("bob", 10), key=f"key-{n}"))
            assert [entry.balance_after for entry in answer.state.entries] == [-10 * n, 10 * n]

    def test_its_causation_is_its_operation(self) -> None:
        command = a_posting(debit("alice", 1), credit("bob", 1))
        envelope = envelope_of(command, NOW)
        assert envelope.causation_id == ID and envelope.idempotency_key == "key-1"

    @pytest.mark.parametrize("count", [MIN_ENTRIES, 3, MAX_ENTRIES])
    def test_it_may_have_many_entries(self, count: int) -> None:
        addresses = [f"users:{n}" for n in range(count - 1)]
        entries = [debit(address, 2) for address in addresses]
        answer = books("bank", *addresses).when(a_posting(*entries, credit("bank", 2 * len(entries))))
        assert len(answer.state.entries) == count
        assert len(answer.events) == count + 1
        assert answer.state.entries[-1].balance_after == 2 * (count - 1)

    def test_the_contract_allows_two_to_a_thousand(self) -> None:
        assert (MIN_ENTRIES, MAX_ENTRIES) == (2, 1000)

    def test_a_stream_without_events_is_no_transaction(self) -> None:
        with pytest.raises(TransactionNotFound):
            existing_transaction(None, "nonsense")


class TestBalance:
    def exchange(self, *entries: Entry) -> Answer:
        return given(
            *a_ledger("USD/2", "EUR/2"),
            *(an_account(f"{owner}:usd") for owner in ("alice", "desk")),
            *(an_account(f"{owner}:eur", an_opening(asset="EUR/2")) for owner in ("alice", "desk")),
        ).when(a_posting(*entries))

    def test_debits_equal_credits(self) -> None:
        books("alice", "bob").when(a_posting(debit("alice", 5), credit("bob", 4))).then_refused(
            UnbalancedTransaction
        )

    @pytest.mark.parametrize("entry", [debit, credit])
    def test_one_side_alone_does_not_balance(self, entry: Callable[[str, int], Entry]) -> None:
        books("alice", "bob").when(a_posting(entry("alice", 5), entry("bob", 5))).then_refused(
            UnbalancedTransaction
        )

    def test_several_assets_balance_each(self) -> None:
        answer = self.exchange(
            debit("alice:usd", 110), credit("desk:usd", 110), debit("desk:eur", 100), credit("alice:eur", 100)
        )
        assert [entry.asset for entry in answer.state.entries] == ["USD/2", "USD/2", "EUR/2", "EUR/2"]
        assert [entry.balance_after for entry in answer.state.entries] == [-110, 110, -100, 100]

    def test_one_asset_does_not_make_up_for_another(self) -> None:
        self.exchange(debit("alice:usd", 100), credit("alice:eur", 100)).then_refused(UnbalancedTransaction)
        self.exchange(
            debit("alice:usd", 110), credit("desk:usd", 100), debit("desk:eur", 100), credit("alice:eur", 110)
        ).then_refused(UnbalancedTransaction)

    def test_it_is_exact_at_the_end_of_the_range(self) -> None:
        entries = [debit("alice:usd", MAX_AMOUNT), credit("desk:usd", MAX_AMOUNT)]
        assert self.exchange(*entries).state.status == "posted"
        self.exchange(debit("alice:usd", MAX_AMOUNT), credit("desk:usd", MAX_AMOUNT - 1)).then_refused(
            UnbalancedTransaction
        )


class TestNames:
    def test_the_ledger_comes_first(self) -> None:
        given().when(a_posting(debit("alice", 5), credit("bob", 4))).then_refused(LedgerNotFound)

    @pytest.mark.parametrize("entries", [("alice", "nobody"), ("nobody", "alice")])
    def test_every_account_is_there(self, entries: tuple[str, str]) -> None:
        first, second = entries
        books("alice").when(a_posting(debit(first, 5), credit(second, 5))).then_refused(AccountNotFound)

    def test_an_account_of_another_ledger_is_not(self) -> None:
        history = given(*a_ledger("USD/2"), an_account("alice"), an_account("bob", ledger="other"))
        history.when(a_posting(debit("alice", 5), credit("bob", 5))).then_refused(AccountNotFound)

    def test_they_are_judged_before_the_balance_and_the_rules(self) -> None:
        history = books("alice").but(account_stream("main", "alice"), status="closed")
        history.when(a_posting(debit("alice", 5), credit("nobody", 4))).then_refused(AccountNotFound)

    def test_the_balance_is_judged_before_the_rules(self) -> None:
        history = books("alice", "bob").but(account_stream("main", "alice"), status="closed")
        history.when(a_posting(debit("alice", 5), credit("bob", 4))).then_refused(UnbalancedTransaction)


NEEDS_FIVE_MORE = (
    "The account alice has 0 available and a min_balance of 0; the transaction asks for 5, which is 5 too much"
    " (minor units of USD/2)."
)


class TestRefusal:
    def test_it_is_recorded_with_all_that_was_asked(self) -> None:
        description = Description(reference="order-1", description="two teas", metadata={"till": "7"})
        entries = (debit("alice", 5), credit("bob", 5))
        history = given(*a_ledger("USD/2"), an_account("alice", an_opening(min_balance=0)), an_account("bob"))
        answer = history.when(
            a_posting(*entries, description=description, effective_at="2026-11-30T00:00:00.000000Z")
        )
        answer.then(
            (
                STREAM,
                TransactionRejected(
                    fingerprint="fingerprint-1",
                    kind="posting",
                    entries=entries,
                    effective_at="2026-11-30T00:00:00.000000Z",
                    code="insufficient_funds",
                    detail=NEEDS_FIVE_MORE,
                    expires_at=None,
                    related_id=None,
                    details={
                        "pointer": "/entries/0",
                        "account": "alice",
                        "asset": "USD/2",
                        "available": 0,
                        "min_balance": 0,
                        "requested": 5,
                        "shortfall": 5,
                    },
                    reference="order-1",
                    description="two teas",
                    metadata={"till": "7"},
                ),
            )
        )
        transaction = answer.state
        assert (transaction.kind, transaction.status) == ("posting", "rejected")
        assert transaction.rejection[:2] == ("insufficient_funds", NEEDS_FIVE_MORE)
        assert transaction.entries == entries
        assert answer.outcome.recorded and answer.outcome.position == transaction.position

    def test_it_touches_no_account(self) -> None:
        history = given(*a_ledger("USD/2"), an_account("alice", an_opening(min_balance=0)), an_account("bob"))
        before = dict(history.journal.states)
        history.when(a_posting(debit("alice", 5), credit("bob", 5)))
        del history.journal.states[STREAM]
        assert history.journal.states == before

    def test_the_net_change_of_the_whole_transaction_is_judged(self) -> None:
        history = given(
            *a_ledger("USD/2"),
            an_account("alice", an_opening(min_balance=0, max_balance=10)),
            an_account("bank"),
        )
        passing_through = (debit("alice", 500), credit("bank", 500), credit("alice", 510), debit("bank", 510))
        assert history.when(a_posting(*passing_through)).state.status == "posted"


RULES: dict[type[RuleRefusal], tuple[dict[str, object], dict[str, object]]] = {
    AccountClosed: ({}, {"status": "closed"}),
    AccountFrozen: ({}, {"status": "frozen"}),
    AmountOverflow: ({}, {"posted_debits": MAX_AMOUNT, "posted_credits": MAX_AMOUNT}),
    InsufficientFunds: ({"min_balance": 0}, {}),
    BalanceLimitExceeded: ({"max_balance": 0}, {}),
}
"""For each rule of postings: an account that breaks it when debited, or for a maximum when credited."""


def breaking(*rules: type[RuleRefusal]) -> Answer:
    """A transaction whose accounts, in this order, each break one rule."""
    history = given(*a_ledger("USD/2"), an_account("bank"))
    entries = []
    for rule in rules:
        opening, changes = RULES[rule]
        history.journal.append([an_account(rule.code, an_opening(**opening))], HISTORY)  # type: ignore[arg-type]
        history.but(account_stream("main", rule.code), **changes)
        breaks = credit if rule is BalanceLimitExceeded else debit
        entries.append(breaks(rule.code, 5))
        entries.append((debit if breaks is credit else credit)("bank", 5))
    return history.when(a_posting(*entries))


class TestPrecedence:
    @pytest.mark.parametrize("rule", list(RULES))
    def test_each_rule_refuses_by_itself(self, rule: type[RuleRefusal]) -> None:
        assert breaking(rule).state.rejection.code == rule.code

    @pytest.mark.parametrize(
        ("earlier", "later"), list(combinations([rule for rule in RULE_PRECEDENCE if rule in RULES], 2))
    )
    def test_of_several_the_first_of_the_contract_is_given(
        self, earlier: type[RuleRefusal], later: type[RuleRefusal]
    ) -> None:
        assert breaking(earlier, later).state.rejection.code == earlier.code
        assert breaking(later, earlier).state.rejection.code == earlier.code

    def test_every_rule_of_postings_was_tried(self) -> None:
        assert len(RULES) == 5


class TestReplay:
    def test_the_same_request_is_answered_as_the_first_time(self) -> None:
        history = books("alice", "bob")
        first = history.when(a_posting(debit("alice", 5), credit("bob", 5)))
        history.when(a_posting(debit("alice", 7), credit("bob", 7), key="key-2"))
        again = history.when(
            a_posting(debit("alice", 5), credit("bob", 5)), now="2027-01-01T00:00:00.000000Z"
        )
        again.then_nothing()
        assert again.outcome == first.outcome._replace(recorded=False, replayed=True)

    def test_a_refusal_stays_a_refusal_when_the_rule_would_pass(self) -> None:
        history = given(
            *a_ledger("USD/2"), an_account("alice", an_opening(min_balance=0)), an_account("bank")
        )
        request = a_posting(debit("alice", 5), credit("bank", 5))
        refused = history.when(request)
        history.when(a_posting(credit("alice", 50), debit("bank", 50), key="key-2"))
        again = history.when(request)
        again.then_nothing()
        assert again.state == refused.state and again.outcome.replayed

    def test_a_posting_stays_posted_when_the_rule_would_not_pass(self) -> None:
        history = books("alice", "bob")
        request = a_posting(debit("alice", 5), credit("bob", 5))
        first = history.when(request)
        history.but(account_stream("main", "alice"), status="closed")
        assert history.when(request).state == first.state

    @pytest.mark.parametrize("refused", [True, False])
    def test_another_request_with_the_key_is_refused(self, refused: bool) -> None:
        opening = an_opening(min_balance=0 if refused else None)
        history = given(*a_ledger("USD/2"), an_account("alice", opening), an_account("bob"))
        history.when(a_posting(debit("alice", 5), credit("bob", 5)))
        other = a_posting(debit("alice", 5), credit("bob", 5), fingerprint="fingerprint-2")
        history.when(other).then_refused(IdempotencyKeyReused)

    def test_the_key_is_judged_before_what_the_request_names(self) -> None:
        history = books("alice", "bob")
        history.when(a_posting(debit("alice", 5), credit("bob", 5)))
        other = a_posting(debit("nobody", 5), credit("bob", 4), fingerprint="fingerprint-2")
        history.when(other).then_refused(IdempotencyKeyReused)

    @pytest.mark.parametrize(
        "malformed",
        [a_posting(debit("alice", 5), credit("bob", 4)), a_posting(debit("alice", 5), credit("nobody", 5))],
    )
    def test_what_leaves_nothing_behind_leaves_the_key_free(self, malformed: object) -> None:
        history = books("alice", "bob")
        assert history.when(malformed).refusal is not None  # type: ignore[arg-type]
        assert history.when(a_posting(debit("alice", 5), credit("bob", 5))).state.status == "posted"

    def test_a_key_belongs_to_its_ledger(self) -> None:
        history = given(
            *(happening for ledger in ("main", "other") for happening in a_ledger("USD/2", name=ledger)),
            *(an_account(address, ledger=ledger) for ledger in ("main", "other") for address in ("a", "b")),
        )
        one = history.when(a_posting(debit("a", 5), credit("b", 5), ledger="main"))
        other = history.when(a_posting(debit("a", 5), credit("b", 5), ledger="other"))
        assert one.outcome.recorded and other.outcome.recorded
        assert one.state.id != other.state.id
