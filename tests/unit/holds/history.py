"""The holds of these tests: their ids and times, and the history before a command."""

from domain.model.entries import Entry
from domain.model.holds import ExpireHold
from domain.model.idempotency import operation_id
from domain.model.streams import account_stream, transaction_stream
from domain.model.times import Instant
from domain.model.transactions import Description
from tests.unit.given_when_then import (
    CONTEXT,
    Given,
    Happening,
    a_hold,
    a_ledger,
    an_account,
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
