"""Expiry of holds, replays of their requests, and the totals of their events."""

from collections.abc import Callable

import pytest

from domain.model.accounts import EntriesHeld, EntriesPosted, EntriesReleased, EntriesSettled
from domain.model.commands import envelope_of
from domain.model.errors import IdempotencyKeyReused, TransactionNotFound
from domain.model.holds import ExpireHold, SettleHold, VoidHold
from domain.model.streams import account_stream
from domain.model.transactions import Expired, Related
from tests.unit.given_when_then import (
    CONTEXT,
    LONG_AGO,
    NOW,
    a_hold,
    a_posting,
    a_settlement,
    a_void,
    an_account,
    an_opening,
    given,
)
from tests.unit.holds.history import (
    EXPIRY,
    HOLD,
    HOLD_STREAM,
    HUNDRED,
    JUST_BEFORE,
    LATER,
    amounts,
    books,
    expiry,
    frozen,
    holding,
)


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
