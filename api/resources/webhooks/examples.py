"""Examples of a webhook and a delivery."""

from typing import Any

from api.resources.examples import CORRELATION_ID, TIME, TRANSACTION_ID

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
    "created_at": TIME,
}

NEW_WEBHOOK: dict[str, Any] = {**WEBHOOK, "secret": "whsec_…"}

NEW_SECRET: dict[str, Any] = {"id": WEBHOOK["id"], "secret": "whsec_…"}

ROTATION: dict[str, Any] = {"overlap_seconds": 3600}

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
            "sent_at": TIME,
            "ended_at": TIME,
            "duration_seconds": 0.042,
            "status_code": 204,
            "reason": None,
        }
    ],
}
