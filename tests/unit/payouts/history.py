"""The payout of these tests: its ids and request, and the history before a command."""

from typing import Any

from domain.model.accounts import AccountOpened
from domain.model.entries import PostedEntry
from domain.model.idempotency import operation_id
from domain.model.money import Direction
from domain.model.payouts.attempts import RecordSilence, SubmitPayout
from domain.model.payouts.payout import FIRST_INQUIRY_SECONDS, Payout, PayoutState, Source, Verdict
from domain.model.streams import account_stream, payout_stream, transaction_stream
from tests.payouts import CLEARING, CONTEXT, PATIENCE_SECONDS, a_mark, a_report, a_request
from tests.unit.given_when_then import (
    Answer,
    Given,
    Happening,
    a_ledger,
    a_posting,
    an_account,
    an_opening,
    credit,
    debit,
    given,
)

ID = operation_id("main", "payout")
STREAM = payout_stream("main", ID)
HOLD_STREAM = transaction_stream("main", ID)
ALICE, CLEARING_STREAM = account_stream("main", "alice"), account_stream("main", CLEARING)
FIRST = FIRST_INQUIRY_SECONDS
OPERATOR = CONTEXT._replace(actor="operator", correlation_id="conversation-2")
ASKED: dict[str, Any] = {
    "fingerprint": "fingerprint-1",
    "account": "alice",
    "asset": "USD/2",
    "amount": 40,
    "provider": "simulator",
    "destination": {"iban": "1"},
    "reference": "withdrawal",
    "metadata": {"till": "7"},
}


def books(*more: Happening, opening: AccountOpened | None = None) -> Given:
    """Alice has 100 and may not go below zero."""
    history = given(
        *a_ledger("USD/2"),
        an_account("alice", opening or an_opening(min_balance=0)),
        an_account("cash", an_opening(normal_side="debit")),
        *more,
    )
    history.when(a_posting(debit("cash", 100), credit("alice", 100), key="deposit"))
    return history


def payout(history: Given) -> Payout:
    state = history.journal.states[STREAM]
    assert isinstance(state, Payout)
    return state


def submission(history: Given) -> SubmitPayout:
    return SubmitPayout(CONTEXT, payout(history), a_mark(), PATIENCE_SECONDS)


def silence(history: Given, *, is_silent: bool = False) -> RecordSilence:
    return RecordSilence(CONTEXT, payout(history), a_mark(), "submission", "ReadTimeout", is_silent=is_silent)


def report(
    history: Given,
    verdict: Verdict,
    message: str | None = None,
    *,
    asked: bool = False,
    amount: int | None = None,
) -> Answer:
    """Let the provider report something, in a callback or when asked."""
    source: Source = "inquiry" if asked else "callback"
    return history.when(a_report(payout(history), verdict, source, message, amount=amount))


def in_state(state: PayoutState) -> Given:
    """A payout that reached this state in the shortest way."""
    history = books()
    history.when(a_request(amount=40 if state != "rejected" else 101))
    if state not in ("accepted", "rejected"):
        history.when(submission(history))
    if state == "in_doubt":
        history.when(silence(history))
    elif state in ("completed", "stuck"):
        report(history, "completed", "first")
    elif state == "failed":
        report(history, "failed", "first")
    if state == "stuck":
        report(history, "failed", "second")
    assert payout(history).state == state
    return history


def amounts(history: Given, address: str) -> tuple[int, int, int, int]:
    account = history.account(address)
    return account.posted_debits, account.posted_credits, account.pending_debits, account.pending_credits


def recorded(answer: Answer) -> list[str]:
    """The events recorded about the payout itself."""
    return [event.TOPIC for stream, event in answer.events if stream == STREAM]


HELD = ((0, 100, 40, 0), (0, 0, 0, 40))
PAID = ((40, 100, 0, 0), (0, 40, 0, 0))
RELEASED = ((0, 100, 0, 0), (0, 0, 0, 0))


def money(history: Given) -> tuple[tuple[int, int, int, int], tuple[int, int, int, int]]:
    return amounts(history, "alice"), amounts(history, CLEARING)


def posted(
    account: str, direction: Direction, normal_side: Direction, balance: int, debits: int
) -> PostedEntry:
    return PostedEntry(
        account=account,
        direction=direction,
        amount=40,
        asset="USD/2",
        normal_side=normal_side,
        balance_after=balance,
        debits_after=debits,
    )
