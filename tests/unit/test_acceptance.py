"""Requests accepted at once and carried out later (api/README.md, Operations)."""

import pytest
from msgspec.structs import replace

from domain.model.commands import envelope_of
from domain.model.errors import (
    AccountClosed,
    AccountFrozen,
    AccountNotFound,
    HoldExpired,
    IdempotencyKeyReused,
    InsufficientFunds,
    InvalidRequest,
    LedgerNotFound,
    RuleRefusal,
    TransactionNotFound,
    UnbalancedTransaction,
)
from domain.model.idempotency import operation_id
from domain.model.postings import CompleteTransaction, PostTransaction
from domain.model.streams import account_stream
from domain.model.times import Instant
from domain.model.transactions import Acceptance, Description, Related, TransactionAccepted
from tests.unit.given_when_then import (
    CONTEXT,
    LONG_AGO,
    NOW,
    Given,
    a_hold,
    a_ledger,
    a_posting,
    a_reversal,
    a_settlement,
    a_void,
    accepted,
    an_account,
    an_opening,
    credit,
    debit,
    given,
)

EXPIRY: Instant = "2026-11-23T21:00:00.000000Z"
LATER: Instant = "2026-11-23T22:00:00.000000Z"
ID = operation_id("main", "key-1")
STREAM = f"main/transactions/{ID}"
ENTRIES = (debit("alice", 5), credit("bob", 5))
DESCRIPTION = Description(reference="order-1", description="two teas", metadata={"till": "7"})
POSTING = a_posting(*ENTRIES, description=DESCRIPTION, effective_at=EXPIRY)
HOLD = a_hold(*ENTRIES, key="key-1", expires_at=EXPIRY)


def books() -> Given:
    return given(*a_ledger("USD/2"), *map(an_account, ("alice", "bob")))


def acceptance(history: Given) -> Acceptance:
    state = history.journal.states[STREAM]
    assert isinstance(state, Acceptance)
    return state


def accepting(request: PostTransaction) -> tuple[Given, CompleteTransaction]:
    """Assert that the request is accepted and can be completed."""
    history = books()
    history.when(accepted(request))
    return history, CompleteTransaction(acceptance(history))


class TestAccepting:
    @pytest.mark.parametrize("request_", [POSTING, HOLD], ids=["posting", "hold"])
    def test_all_that_was_asked_is_recorded_and_nothing_moves(self, request_: PostTransaction) -> None:
        history = books()
        answer = history.when(accepted(request_))
        event = TransactionAccepted(
            fingerprint="fingerprint-1",
            entries=ENTRIES,
            pending=request_.pending,
            expires_at=request_.expires_at,
            effective_at=request_.effective_at,
            **request_.description._asdict(),
        )
        answer.then((STREAM, event))
        assert history.account("alice").version == 1

    def test_it_is_answered_with_the_acceptance(self) -> None:
        answer = books().when(accepted(POSTING))
        state = answer.state
        assert isinstance(state, Acceptance)
        assert (state.ledger, state.id, state.idempotency_key) == ("main", ID, "key-1")
        assert (state.accepted_at, state.fingerprint) == (NOW, "fingerprint-1")
        assert (state.correlation_id, state.version) == (CONTEXT.correlation_id, 1)
        assert state.position == answer.outcome.position
        assert not answer.outcome.is_refused

    def test_what_can_never_be_accepted_is_refused_at_once_and_leaves_the_key_free(self) -> None:
        given().when(accepted(POSTING)).then_refused(LedgerNotFound)
        history = books()
        late = a_hold(debit("nobody", 5), credit("bob", 4), key="key-1", expires_at=NOW)
        history.when(accepted(late)).then_refused(InvalidRequest)
        history.when(accepted(a_posting(debit("nobody", 5), credit("bob", 4)))).then_refused(AccountNotFound)
        history.when(accepted(a_posting(debit("alice", 5), credit("bob", 4)))).then_refused(
            UnbalancedTransaction
        )
        assert history.when(POSTING).state.status == "posted"

    def test_rules_are_judged_when_it_is_carried_out(self) -> None:
        history = books().but(account_stream("main", "alice"), status="frozen", min_balance=0)
        assert isinstance(history.when(accepted(POSTING)).state, Acceptance)

    def test_until_then_there_is_no_transaction(self) -> None:
        history, _ = accepting(HOLD)
        for request in (a_settlement("key-1"), a_void("key-1"), a_reversal("key-1")):
            history.when(request).then_refused(TransactionNotFound)


class TestCompleting:
    @pytest.mark.parametrize("request_", [POSTING, HOLD], ids=["posting", "hold"])
    def test_it_does_what_the_request_would_have_done(self, request_: PostTransaction) -> None:
        history, completion = accepting(request_)
        at_once = books().when(request_)
        answer = history.when(completion)
        answer.then(*at_once.events)
        first, second = at_once.state, answer.state
        assert second == first._replace(version=2, made_version=2, position=8, made_position=8)

    def test_it_is_recorded_when_it_is_carried_out(self) -> None:
        history, completion = accepting(a_posting(*ENTRIES))
        transaction = history.when(completion, now=LATER).state
        assert (transaction.accepted_at, transaction.recorded_at) == (NOW, LATER)
        assert transaction.effective_at == LATER

    def test_a_time_of_effect_that_was_asked_for_stays(self) -> None:
        history, completion = accepting(POSTING)
        assert history.when(completion, now=LATER).state.effective_at == EXPIRY

    def test_it_is_done_in_the_name_of_who_asked(self) -> None:
        history, completion = accepting(POSTING)
        asked, done = envelope_of(accepted(POSTING), NOW), envelope_of(completion, LATER)
        assert done == replace(asked, recorded_at=LATER)
        transaction = history.when(completion, now=LATER).state
        assert (transaction.actor, transaction.correlation_id) == (CONTEXT.actor, CONTEXT.correlation_id)
        assert transaction.idempotency_key == "key-1"

    def test_once(self) -> None:
        history, completion = accepting(POSTING)
        history.when(completion)
        history.when(completion, now=LATER).then_nothing()
        assert history.account("alice").balance == -5

    def test_nothing_where_nothing_was_accepted(self) -> None:
        _, completion = accepting(POSTING)
        history = books()
        history.when(completion).then_nothing()
        history.when(POSTING)
        history.when(completion).then_nothing()

    @pytest.mark.parametrize("request_", [a_posting(*ENTRIES), a_hold(*ENTRIES, key="key-1")])
    @pytest.mark.parametrize(
        ("changes", "refusal"),
        [
            ({"status": "frozen"}, AccountFrozen),
            ({"status": "closed"}, AccountClosed),
            ({"min_balance": 0}, InsufficientFunds),
        ],
    )
    def test_a_rule_may_refuse_it(
        self, request_: PostTransaction, changes: dict[str, object], refusal: type[RuleRefusal]
    ) -> None:
        history, completion = accepting(request_)
        history.but(account_stream("main", "alice"), **changes)
        transaction = history.when(completion, now=LATER).then_rejected(refusal)
        assert (transaction.version, transaction.accepted_at) == (2, NOW)
        assert transaction.kind == ("hold" if request_.pending else "posting")
        history.when(completion).then_nothing()

    @pytest.mark.parametrize(
        ("now", "status"),
        [("2026-11-23T20:59:59.999999Z", "pending"), (EXPIRY, "rejected"), (LATER, "rejected")],
    )
    def test_a_hold_is_not_made_once_its_time_is_over(self, now: Instant, status: str) -> None:
        history, completion = accepting(HOLD)
        answer = history.when(completion, now=now)
        assert answer.state.status == status
        if status == "rejected":
            hold = answer.then_rejected(HoldExpired)
            assert (hold.kind, hold.expires_at, hold.related) == ("hold", EXPIRY, Related())

    def test_a_hold_made_so_is_settled_as_any_other(self) -> None:
        history, completion = accepting(HOLD)
        history.when(completion)
        assert history.when(a_settlement("key-1")).state.status == "posted"
        assert history.account("alice").balance == -5 and history.account("alice").pending_debits == 0


class TestReplay:
    @pytest.mark.parametrize("again", [POSTING, accepted(POSTING)], ids=["at once", "later"])
    def test_until_it_is_carried_out_the_acceptance_is_the_answer(self, again: PostTransaction) -> None:
        history = books()
        first = history.when(accepted(POSTING))
        answer = history.when(again, now=LATER)
        answer.then_nothing()
        assert answer.outcome == first.outcome._replace(recorded=False, replayed=True)

    @pytest.mark.parametrize("again", [POSTING, accepted(POSTING)], ids=["at once", "later"])
    def test_afterwards_the_transaction_is(self, again: PostTransaction) -> None:
        history, completion = accepting(POSTING)
        done = history.when(completion)
        answer = history.when(again, now=LATER)
        answer.then_nothing()
        assert answer.outcome == done.outcome._replace(recorded=False, replayed=True)

    @pytest.mark.parametrize("end", [a_settlement("key-1", amount=3), a_void("key-1")])
    def test_whatever_becomes_of_it_later(self, end: PostTransaction) -> None:
        history, completion = accepting(HOLD)
        done = history.when(completion)
        history.when(end)
        answer = history.when(accepted(HOLD), now=LATER)
        answer.then_nothing()
        assert answer.outcome == done.outcome._replace(recorded=False, replayed=True)

    def test_what_was_carried_out_at_once_is_not_accepted_again(self) -> None:
        history = books()
        first = history.when(POSTING)
        answer = history.when(accepted(POSTING))
        assert answer.outcome == first.outcome._replace(recorded=False, replayed=True)

    @pytest.mark.parametrize("is_completed", [False, True])
    def test_another_request_with_the_key_is_refused(self, is_completed: bool) -> None:
        history, completion = accepting(POSTING)
        if is_completed:
            history.when(completion)
        other = a_posting(debit("nobody", 5), credit("bob", 4), fingerprint="fingerprint-2")
        history.when(other).then_refused(IdempotencyKeyReused)
        history.when(accepted(other)).then_refused(IdempotencyKeyReused)

    def test_a_known_key_is_answered_though_its_expiry_is_past(self) -> None:
        history, _ = accepting(HOLD)
        assert HOLD.expires_at is not None and LONG_AGO < HOLD.expires_at < LATER
        assert history.when(HOLD, now=LATER).outcome.replayed
        assert history.when(accepted(HOLD), now=LATER).outcome.replayed


def test_an_accepted_request_counts_towards_no_limit() -> None:
    history = given(*a_ledger("USD/2"), an_account("alice", an_opening(min_balance=-5)), an_account("bob"))
    history.when(accepted(a_posting(*ENTRIES)))
    completion = CompleteTransaction(acceptance(history))
    assert history.when(a_posting(*ENTRIES, key="key-2")).state.status == "posted"
    history.when(completion).then_rejected(InsufficientFunds)
