"""The examples of the document: one small story, told through all operations."""

from typing import Any

from projections.diagnosis.remedies import safe_to_do

TRANSACTION_ID = "9d0a2b9f-54a1-5a0c-9a3f-6b1f5e1c7d42"
CORRELATION_ID = "8a6e0804-2bd0-4672-b79d-d97027f9071a"
_TIME = "2026-11-23T20:00:00.000000Z"

LEDGER_REQUEST: dict[str, Any] = {"name": "main", "metadata": {}}
LEDGER: dict[str, Any] = {
    "name": "main",
    "metadata": {},
    "assets": ["USD/2"],
    "version": 2,
    "position": 3,
    "opened_at": _TIME,
}

ACCOUNT_REQUEST: dict[str, Any] = {
    "address": "users:alice:wallet",
    "asset": "USD/2",
    "normal_side": "credit",
    "min_balance": 0,
    "max_balance": None,
    "metadata": {"customer": "42"},
}
ACCOUNT: dict[str, Any] = {
    "ledger": "main",
    **ACCOUNT_REQUEST,
    "status": "open",
    "posted": {"debits": 0, "credits": 5000},
    "pending": {"debits": 1000, "credits": 0},
    "balance": 5000,
    "available": 4000,
    "version": 3,
    "position": 17,
    "opened_at": _TIME,
}

ENTRIES: list[dict[str, Any]] = [
    {"account": "users:alice:wallet", "direction": "debit", "amount": 1050},
    {"account": "users:bob:wallet", "direction": "credit", "amount": 1050},
]
TRANSACTION_REQUEST: dict[str, Any] = {
    "entries": ENTRIES,
    "pending": False,
    "expires_at": None,
    "effective_at": None,
    "reference": "order-1",
    "description": "",
    "metadata": {},
}
TRANSACTION: dict[str, Any] = {
    "id": TRANSACTION_ID,
    "ledger": "main",
    "kind": "posting",
    "status": "posted",
    "entries": ENTRIES,
    "reference": "order-1",
    "description": "",
    "metadata": {},
    "effective_at": _TIME,
    "recorded_at": _TIME,
    "expires_at": None,
    "idempotency_key": "order-1",
    "correlation_id": CORRELATION_ID,
    "actor": "shop",
    "related": {
        "settles": None,
        "voids": None,
        "reverses": None,
        "settled_by": None,
        "voided_by": None,
        "reversed_by": [],
    },
    "rejection": None,
    "version": 1,
    "position": 21,
}

_RELATED: dict[str, Any] = TRANSACTION["related"]
SETTLEMENT: dict[str, Any] = {
    **TRANSACTION,
    "kind": "settlement",
    "related": {**_RELATED, "settles": "4f1d3c5e-0f4a-5b8e-8a44-2c7d1f0b9e61"},
}
VOID: dict[str, Any] = {
    **TRANSACTION,
    "kind": "void",
    "related": {**_RELATED, "voids": "4f1d3c5e-0f4a-5b8e-8a44-2c7d1f0b9e61"},
}
REVERSAL: dict[str, Any] = {
    **TRANSACTION,
    "kind": "reversal",
    "entries": [{**ENTRIES[0], "direction": "credit"}, {**ENTRIES[1], "direction": "debit"}],
    "related": {**_RELATED, "reverses": "4f1d3c5e-0f4a-5b8e-8a44-2c7d1f0b9e61"},
}
BATCH_REQUEST: dict[str, Any] = {
    "mode": "atomic",
    "transactions": [{"idempotency_key": "order-1", "entries": ENTRIES, "reference": "order-1"}],
}
BATCH: dict[str, Any] = {"results": [{"status": 201, "replayed": False, "transaction": TRANSACTION}]}

STATEMENT_ENTRY: dict[str, Any] = {
    "transaction_id": TRANSACTION_ID,
    "kind": "posting",
    "direction": "debit",
    "amount": 1050,
    "balance_after": 3950,
    "effective_at": _TIME,
    "recorded_at": _TIME,
    "position": 21,
    "reference": "order-1",
}

OPERATION: dict[str, Any] = {
    "idempotency_key": "order-1",
    "state": "completed",
    "retry": "unnecessary",
    "resource": f"/v1/ledgers/main/transactions/{TRANSACTION_ID}",
    "request_fingerprint": "5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef",
    "accepted_at": _TIME,
    "completed_at": _TIME,
    "correlation_id": CORRELATION_ID,
    "position": 21,
    "outcome": None,
    "problem": None,
}

ACCEPTED_OPERATION: dict[str, Any] = {**OPERATION, "state": "accepted", "completed_at": None}

PAYOUT_REQUEST: dict[str, Any] = {
    "account": "users:alice:wallet",
    "amount": 5000,
    "provider": "simulator",
    "destination": {"iban": "NL91ABNA0417164300", "name": "Alice"},
    "reference": "withdrawal-1",
    "metadata": {},
}
PAYOUT: dict[str, Any] = {
    "id": TRANSACTION_ID,
    "ledger": "main",
    **PAYOUT_REQUEST,
    "asset": "USD/2",
    "state": "accepted",
    "provider_key": f"main.{TRANSACTION_ID}.5f70bf18a086",
    "provider_reference": "",
    "hold_id": TRANSACTION_ID,
    "transaction_id": None,
    "attempts": 0,
    "due_at": _TIME,
    "accepted_at": _TIME,
    "ended_at": None,
    "history": [
        {
            "state": "accepted",
            "event": "accepted",
            "source": None,
            "detail": "",
            "actor": "shop",
            "time": _TIME,
            "position": 24,
        }
    ],
    "rejection": None,
    "idempotency_key": "withdrawal-1",
    "correlation_id": CORRELATION_ID,
    "actor": "shop",
    "version": 1,
    "position": 24,
}

KEY_REQUEST: dict[str, Any] = {"name": "shop", "roles": ["client"], "ledgers": ["main"]}
KEY_ID = "6f9619ff-8b86-4d01-b42d-00cf4fc964ff"
NEW_KEY: dict[str, Any] = {"id": KEY_ID, **KEY_REQUEST, "key": "tk_…"}
ROTATION: dict[str, Any] = {"overlap_seconds": 3600}
KEY: dict[str, Any] = {
    "id": KEY_ID,
    **KEY_REQUEST,
    "created_at": _TIME,
    "valid_until": None,
    "created_by": "bootstrap",
    "revoked_at": None,
    "revoked_by": None,
    "state": "active",
}

EVENT: dict[str, Any] = {
    "position": 21,
    "stream": f"main/transactions/{TRANSACTION_ID}",
    "version": 1,
    "type": "transaction.posted",
    "schema_version": 2,
    "recorded_at": _TIME,
    "actor": "shop",
    "correlation_id": CORRELATION_ID,
    "causation_id": TRANSACTION_ID,
    "idempotency_key": "order-1",
    "payload": {
        "reference": "order-1",
        "description": "",
        "metadata": {},
        "fingerprint": "5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef",
        "entries": [
            {
                **ENTRIES[0],
                "asset": "USD/2",
                "normal_side": "credit",
                "balance_after": 3950,
                "debits_after": 1050,
            },
            {
                **ENTRIES[1],
                "asset": "USD/2",
                "normal_side": "credit",
                "balance_after": 1050,
                "debits_after": 0,
            },
        ],
        "effective_at": _TIME,
    },
    "leaf_hash": "b990d7441009172c6d30040606454584d003fbaf07e6601e8b3544d1f7268187",
    "ledger": "main",
    "traceparent": None,
}
KEY_EVENT: dict[str, Any] = {
    "position": 1,
    "stream": f"-/keys/{KEY_ID}",
    "version": 1,
    "type": "key.made",
    "schema_version": 1,
    "recorded_at": _TIME,
    "actor": "bootstrap",
    "correlation_id": CORRELATION_ID,
    "causation_id": CORRELATION_ID,
    "idempotency_key": None,
    "payload": {
        "name": "shop",
        "roles": ["client"],
        "ledgers": ["main"],
        "valid_until": None,
        "replaces": None,
    },
    "leaf_hash": "5a0ee3ed7a0e4ff0f4a0ff4a3bbd8c2bd0a0f8d5f0f3bc0a2f4bb8f2cf4f7f07",
    "ledger": None,
    "traceparent": None,
}

_ORIGIN = "tallystick/6f9619ff-8b86-4d01-b42d-00cf4fc964ff"
CHECKPOINT = (
    f"{_ORIGIN}\n21\nZnwC4PmoyX3lmTt7wulrKGqdXLGoCXEPdxOijcSQPE4=\n\n"
    f"— {_ORIGIN} kEaEOocMPV9y3J0n5Mjfy/7vJRhh57dgVUzDObtIAH0oSVyLLPtt8/FTGg20w7EgPTVw15ZGEvdfJD0Dirhsip2flQs=\n"
)
PAST_CHECKPOINT: dict[str, Any] = {
    "size": 21,
    "signed_at": _TIME,
    "root_hash": "667c02e0f9a8c97de5993b7bc2e96b286a9d5cb1a809710f7713a28dc4903c4e",
    "note": CHECKPOINT,
}
VERIFIER_KEY = f"{_ORIGIN}+9046843a+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4\n"
INCLUSION: dict[str, Any] = {
    "position": 21,
    "leaf_index": 20,
    "size": 21,
    "leaf_hash": "b990d7441009172c6d30040606454584d003fbaf07e6601e8b3544d1f7268187",
    "root_hash": "667c02e0f9a8c97de5993b7bc2e96b286a9d5cb1a809710f7713a28dc4903c4e",
    "path": [
        "107a0fe76da76bf5a244e692194cce4e7b7c320c54106a0399788832d757d9fb",
        "acfca191dcca991f54c07c54700b28ac8625e74614b2dadb96e7ae94694bedc8",
    ],
}
GROWTH: dict[str, Any] = {
    "from": 17,
    "to": 21,
    "from_root": "1b2243bde9d95f307eb27d826ab93d1d95354d98f78633815a0189158c3a3c95",
    "to_root": "667c02e0f9a8c97de5993b7bc2e96b286a9d5cb1a809710f7713a28dc4903c4e",
    "path": [
        "554900f2e67e72a30cd45d87f72c8f9b64259ebb3dd1bd85d62ad3bcf8359aea",
        "01773bb06ef091b0564657c23495344aeb7da7895c37a8943e3313b923aab190",
        "4b10e4add1d088caceb119679708ff4f98a02b7a0582150d106c24e4f73420c8",
        "b990d7441009172c6d30040606454584d003fbaf07e6601e8b3544d1f7268187",
        "acfca191dcca991f54c07c54700b28ac8625e74614b2dadb96e7ae94694bedc8",
    ],
}

PROJECTION: dict[str, Any] = {
    "name": "balances",
    "version": 1,
    "state": "running",
    "position": 21,
    "head": 21,
    "lag_events": 0,
    "lag_seconds": 0.0,
    "rate_events_per_second": 120.5,
    "dead_letters": 0,
    "last_error": None,
    "oldest_dead_letter": None,
    "dead_letter_age_seconds": 0.0,
    "rebuild": None,
    "unread_versions": [],
    "controlled": None,
}
REBUILT_PROJECTION: dict[str, Any] = {
    **PROJECTION,
    "rebuild": {
        "version": 2,
        "state": "filling",
        "position": 7,
        "target": 21,
        "rate_events_per_second": 30000.0,
        "seconds_left": 0.0005,
        "started_at": _TIME,
        "requested_at": _TIME,
        "requested_by": "oncall",
        "reason": "an audit",
        "accept_difference": None,
        "accepted_by": None,
        "controlled_by": None,
        "control_reason": None,
        "last_error": None,
        "compared_position": None,
        "difference_expected": None,
        "comparison": None,
    },
    "unread_versions": [],
}
PAUSED_PROJECTION: dict[str, Any] = {
    **PROJECTION,
    "state": "paused",
    "controlled": {
        "state": "paused",
        "at": _TIME,
        "by": "oncall",
        "reason": "maintenance",
        "correlation_id": CORRELATION_ID,
    },
}

DEAD_LETTER: dict[str, Any] = {
    "id": "9e107d9d-372b-4b6c-8a6a-1f0c7e2d5b3a",
    "projection": "balances",
    "projection_version": 1,
    "shape": 1,
    "state": "open",
    "stream": "main/accounts/users:alice:wallet",
    "stream_version": 7,
    "position": 19,
    "type": "account.changed",
    "schema_version": 1,
    "correlation_id": CORRELATION_ID,
    "actor": "shop",
    "exception": "Inconsistent",
    "message": "Inconsistent: main/accounts/users:alice:wallet is not at the version before event 19",
    "release": "0.1.0",
    "attempts": 3,
    "first_failed_at": _TIME,
    "last_failed_at": _TIME,
    "held_events": 2,
    "closed": None,
}
CLOSED_DEAD_LETTER: dict[str, Any] = {
    **DEAD_LETTER,
    "state": "discarded",
    "held_events": 0,
    "closed": {
        "at": _TIME,
        "by": "oncall",
        "reason": "written by a test program, see incident 12",
        "correlation_id": CORRELATION_ID,
        "followed_by": None,
    },
}

WEBHOOK_REQUEST: dict[str, Any] = {
    "url": "https://example.com/ledger",
    "ledgers": ["main"],
    "types": ["account.entries_posted", "transaction.posted"],
    "description": "balances of the shop",
}
WEBHOOK: dict[str, Any] = {
    "id": "0b2f7c1e-8d3a-4b6f-9c0d-1e2f3a4b5c6d",
    **WEBHOOK_REQUEST,
    "state": "enabled",
    "disabled_reason": None,
    "failing_since": None,
    "position": 20,
    "suppressed": 0,
    "created_by": "operator",
    "created_at": _TIME,
}
NEW_WEBHOOK: dict[str, Any] = {**WEBHOOK, "secret": "whsec_…"}
NEW_SECRET: dict[str, Any] = {"id": WEBHOOK["id"], "secret": "whsec_…"}
REASON: dict[str, Any] = {"reason": "the receiver is being moved"}
GOING_ON: dict[str, Any] = {"reason": "the receiver is well again"}
DELIVERY: dict[str, Any] = {
    "id": "21",
    "webhook_id": WEBHOOK["id"],
    "position": 21,
    "event_id": "main/21",
    "type": "transaction.posted",
    "partition_key": f"main/transactions/{TRANSACTION_ID}",
    "correlation_id": CORRELATION_ID,
    "state": "acknowledged",
    "reason": None,
    "next_attempt_at": None,
    "attempts": [
        {
            "number": 1,
            "outcome": "acknowledged",
            "duplicated": False,
            "sent_at": _TIME,
            "ended_at": _TIME,
            "duration_seconds": 0.042,
            "status_code": 204,
            "reason": None,
        }
    ],
}

ACCOUNT_BALANCE: dict[str, Any] = {
    "account": "users:alice:wallet",
    "asset": "USD/2",
    "clock": "effective",
    "at": _TIME,
    "debits": 1050,
    "credits": 5000,
    "balance": 3950,
    "position": 21,
}
GROUP_BALANCE: dict[str, Any] = {
    "group": "users:alice",
    "asset": "USD/2",
    "accounts": 2,
    "debits": "1050",
    "credits": "5000",
    "balance": "3950",
}
TRIAL_BALANCE: dict[str, Any] = {
    "data": [{"asset": "USD/2", "debits": "6050", "credits": "6050"}],
    "position": 21,
}


_VERDICT: dict[str, Any] = {
    "code": "posted",
    "remedy": "nothing",
    "what_happened": "The transaction was posted: money moved.",
    "safe_to_do": "Nothing needs to be done. The same request under the same key is answered as before.",
    "why": "What is recorded under a key is never decided again.",
    "concerns": [],
}
TRACE: dict[str, Any] = {
    "ledger": "main",
    "idempotency_key": "order-1",
    "correlation_id": CORRELATION_ID,
    "operations": [{**OPERATION, "verdict": _VERDICT}],
    "timeline": [
        {
            "time": _TIME,
            "position": 21,
            "kind": "event_recorded",
            "subject": f"main/transactions/{TRANSACTION_ID}",
            "actor": "shop",
            "words": "transaction.posted, version 1 of its stream",
        },
        {
            "time": _TIME,
            "position": 21,
            "kind": "projection_reached",
            "subject": "projections/balances",
            "actor": None,
            "words": "reached by then: it stands at 21 of 21, running",
        },
    ],
    "projections": [
        {"name": "balances", "version": 1, "state": "running", "position": 21, "reached": "reached"}
    ],
    "verdict": {
        **_VERDICT,
        "concerns": [
            {
                "code": "delivery_waiting",
                "remedy": "wait",
                "words": "Deliveries not acknowledged yet: 1.",
                "safe_to_do": "Wait, and ask again. The same request under the same key is harmless meanwhile.",
            }
        ],
    },
    "position": 21,
    "head": 21,
}
STUCK: dict[str, Any] = {
    "kind": "payout_in_doubt",
    "since": _TIME,
    "age_seconds": 3600.0,
    "ledger": "main",
    "resource": f"/v1/ledgers/main/payouts/{TRANSACTION_ID}",
    "position": 21,
    "why": "The provider has not said how it ended.",
    "remedy": "ask_provider",
    "safe_to_do": safe_to_do("ask_provider", f"/v1/ledgers/main/payouts/{TRANSACTION_ID}"),
}


def page(item: dict[str, Any]) -> dict[str, Any]:
    """Return the last page of a list with one item."""
    return {"data": [item], "next_cursor": None}
