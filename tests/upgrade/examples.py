"""One example of every event type, with a fixed envelope, and of every snapshot: the golden file pins them.

When you raise the `class_version` of a type, change its example to the new form. The line of the old version stays in
the golden file. When the form or the fold of a snapshot changes, change its topic.
"""

from typing import Any

from domain.journal.snapshots import ACCOUNT_TOPIC
from domain.model.accounts import (
    Account,
    AccountOpened,
    Closed,
    EntriesHeld,
    EntriesPosted,
    EntriesReleased,
    EntriesSettled,
    Frozen,
    LimitsChanged,
    MetadataChanged,
    Unfrozen,
)
from domain.model.entries import Entry, PostedEntry
from domain.model.events import Envelope, Event
from domain.model.installation.checkpoints import (
    CheckpointDisputed,
    CheckpointDisputeSettled,
    CheckpointWitnessed,
)
from domain.model.installation.keys import KeyMade, KeyRevoked, KeyRotated
from domain.model.ledgers import AssetRegistered, LedgerOpened
from domain.model.money import MAX_AMOUNT
from domain.model.moves import ArrivalBegun, ArrivalEnded, Arrived, MoveCancelled, Moved, MoveStarted
from domain.model.payouts.payout import (
    PayoutAccepted,
    PayoutCompleted,
    PayoutContradicted,
    PayoutFailed,
    PayoutReconciliationRequested,
    PayoutRejected,
    PayoutReported,
    PayoutSubmitted,
    PayoutUnanswered,
)
from domain.model.transactions import (
    Expired,
    ReversalPosted,
    Reversed,
    Settled,
    SettlementPosted,
    TransactionAccepted,
    TransactionHeld,
    TransactionPosted,
    TransactionRejected,
    Voided,
    VoidRecorded,
)

ENVELOPE = Envelope(
    recorded_at="2026-11-23T20:00:00.000000Z",
    actor="shop",
    correlation_id="conversation-1",
    causation_id="0b2f6c1e-6d9e-5f2d-8cf6-2d1a6d6d7a3e",
    idempotency_key="order-1",
    traceparent=None,
)

# Text that shows how characters beyond ASCII, and those JSON must escape, are written.
WORDS = 'Zoë\'s "tea" \\ €5 😀\n\u2028'

_OPENED = AccountOpened(
    asset="USD/2", normal_side="credit", min_balance=0, max_balance=None, metadata={"note": WORDS}
)

_ID = "0b2f6c1e-6d9e-5f2d-8cf6-2d1a6d6d7a3e"
_LATER = "2026-11-30T00:00:00.000000Z"
_ASKED: dict[str, Any] = {
    "fingerprint": "7eed1162339d6dafd4762cc2981706e9a26f02535450c43dc00c4ff41d835700",
    "reference": "order-1",
    "description": WORDS,
    "metadata": {"till": "7"},
}
_ENTRIES = (
    Entry(account="users:alice:wallet", direction="debit", amount=1050),
    Entry(account="cash", direction="credit", amount=1050),
)
_POSTED_ENTRIES = (
    PostedEntry(
        account="users:alice:wallet",
        direction="debit",
        amount=1050,
        asset="USD/2",
        normal_side="credit",
        balance_after=-1050,
        debits_after=MAX_AMOUNT,
    ),
    PostedEntry(
        account="cash",
        direction="credit",
        amount=1050,
        asset="USD/2",
        normal_side="debit",
        balance_after=0,
        debits_after=1050,
    ),
)

_PAYOUT: dict[str, Any] = {
    "fingerprint": _ASKED["fingerprint"],
    "account": "users:alice:wallet",
    "asset": "USD/2",
    "amount": MAX_AMOUNT,
    "provider": "simulator",
    "destination": {"iban": "NL91ABNA0417164300", "lines": [WORDS, MAX_AMOUNT, True, None]},
    "reference": "order-1",
    "metadata": {"till": "7"},
}
_TOLD: dict[str, Any] = {
    "source": "callback",
    "detail": WORDS,
    "provider_reference": "tx-1",
    "message_id": "msg_1",
}

_KEY: dict[str, Any] = {
    "name": WORDS,
    "roles": ("client", "auditor"),
    "ledgers": ("main", "other"),
    "valid_until": _LATER,
}
# What refusals name: texts, amounts, and lists and objects of them.
_DETAILS: dict[str, Any] = {
    "pointer": "/entries/0",
    "account": "users:alice:wallet",
    "asset": "USD/2",
    "available": -MAX_AMOUNT,
    "pending": {"debits": MAX_AMOUNT, "credits": 0},
    "differs": ["metadata", WORDS],
}

_NOTE = f"tallystick/{_ID}\n26\nAAAA\n\n— tallystick/{_ID} x==\n"
_LOG: dict[str, Any] = {
    "origin": f"tallystick/{_ID}",
    "size": 26,
    "root": "00" * 32,
    "note": _NOTE,
    "verifiers": ("k+1+A",),
}

EVENTS: tuple[Event, ...] = (
    LedgerOpened(metadata={"note": WORDS}),
    AssetRegistered(code="USD", scale=2),
    MoveStarted(to_installation="west"),
    MoveCancelled(to_installation="west"),
    Moved(to_installation="west", events=MAX_AMOUNT, root="5f70bf18a086"),
    ArrivalBegun(ledger="main", from_installation="east"),
    ArrivalEnded(ledger="main", from_installation="east"),
    Arrived(from_installation="east", position=MAX_AMOUNT, offset=0),
    _OPENED,
    EntriesPosted(transaction_id=_ID, debits=MAX_AMOUNT, credits=0),
    EntriesHeld(transaction_id=_ID, debits=MAX_AMOUNT, credits=0),
    EntriesSettled(
        transaction_id=_ID, hold_id=_ID, held_debits=MAX_AMOUNT, held_credits=0, debits=1050, credits=0
    ),
    EntriesReleased(hold_id=_ID, debits=MAX_AMOUNT, credits=0),
    LimitsChanged(min_balance=-MAX_AMOUNT, max_balance=None),
    MetadataChanged(metadata={"note": WORDS}),
    Frozen(reason=WORDS),
    Unfrozen(reason=WORDS),
    Closed(reason=WORDS),
    TransactionPosted(entries=_POSTED_ENTRIES, effective_at=_LATER, **_ASKED),
    SettlementPosted(settles=_ID, entries=_POSTED_ENTRIES, effective_at=_LATER, **_ASKED),
    ReversalPosted(reverses=_ID, entries=_POSTED_ENTRIES, effective_at=_LATER, **_ASKED),
    TransactionHeld(entries=_ENTRIES, effective_at=_LATER, expires_at=_LATER, **_ASKED),
    VoidRecorded(voids=_ID, entries=_ENTRIES, effective_at=_LATER, **_ASKED),
    TransactionAccepted(entries=_ENTRIES, pending=True, effective_at=_LATER, expires_at=_LATER, **_ASKED),
    TransactionRejected(
        kind="reversal",
        entries=_ENTRIES,
        effective_at=_LATER,
        code="insufficient_funds",
        detail="The transaction would lower an account's available amount to below its min_balance.",
        expires_at=_LATER,
        related_id=_ID,
        details=_DETAILS,
        **_ASKED,
    ),
    Settled(settled_by=_ID),
    Voided(voided_by=_ID),
    Expired(),
    Reversed(reversed_by=_ID, amount=MAX_AMOUNT),
    PayoutAccepted(provider_key=f"main.{_ID}.5f70bf18a086", **_PAYOUT),
    PayoutRejected(code="insufficient_funds", detail=WORDS, details=_DETAILS, **_PAYOUT),
    PayoutSubmitted(attempt=1, ask_at=_LATER),
    PayoutUnanswered(source="submission", detail=WORDS, ask_at=_LATER),
    PayoutReported(verdict="processing", ask_at=_LATER, **_TOLD),
    PayoutCompleted(booked_by=_ID, **_TOLD),
    PayoutFailed(booked_by=_ID, **_TOLD),
    PayoutContradicted(verdict="failed", amount=MAX_AMOUNT, asset="USD/2", **_TOLD),
    PayoutReconciliationRequested(reason=WORDS),
    KeyMade(replaces=_ID, **_KEY),
    KeyRotated(replaced_by=_ID, **_KEY),
    KeyRevoked(**_KEY),
    CheckpointWitnessed(grown_from=7, basis="rotated", cosignature="— tallystick/w y==\n", **_LOG),
    CheckpointDisputed(contradiction="fork", disputed=_NOTE, stated_verifiers=("k+2+B",), **_LOG),
    CheckpointDisputeSettled(decision="accepted", reason=WORDS, **_LOG),
)

SNAPSHOTS: dict[str, Account] = {
    ACCOUNT_TOPIC: Account(
        ledger="main",
        address="users:alice:wallet",
        asset="USD/2",
        normal_side="credit",
        status="open",
        min_balance=0,
        max_balance=None,
        metadata={"note": WORDS},
        posted_debits=1050,
        posted_credits=MAX_AMOUNT,
        pending_debits=7,
        pending_credits=11,
        opened_at="2026-11-23T20:00:00.000000Z",
        opening=_OPENED,
        version=100,
        position=1234,
    )
}
