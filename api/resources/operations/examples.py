"""Examples of a trace and a stuck payout."""

from typing import Any

from api.resources.examples import CORRELATION_ID, TIME, TRANSACTION_ID, page_of
from api.resources.transactions.examples import OPERATION
from projections.diagnosis.remedies import safe_to_do

_DELIVERY = "/v1/webhooks/0b2f7c1e-8d3a-4b6f-9c0d-1e2f3a4b5c6d/deliveries/21"

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
            "time": TIME,
            "position": 21,
            "kind": "event_recorded",
            "subject": f"main/transactions/{TRANSACTION_ID}",
            "actor": "shop",
            "words": "transaction.posted, version 1 of its stream",
        },
        {
            "time": TIME,
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
                "safe_to_do": safe_to_do("wait", _DELIVERY),
                "resource": _DELIVERY,
            }
        ],
    },
    "position": 21,
    "head": 21,
}

CONVERSATION: dict[str, Any] = {
    "correlation_id": CORRELATION_ID,
    "traces": [{member: value for member, value in TRACE.items() if member != "timeline"}],
    "timeline": [{"ledger": "main", **moment} for moment in TRACE["timeline"]],
}

STUCK: dict[str, Any] = {
    "kind": "payout_in_doubt",
    "since": TIME,
    "age_seconds": 3600.0,
    "ledger": "main",
    "resource": f"/v1/ledgers/main/payouts/{TRANSACTION_ID}",
    "position": 21,
    "why": "The provider has not said how it ended.",
    "remedy": "ask_provider",
    "safe_to_do": safe_to_do("ask_provider", f"/v1/ledgers/main/payouts/{TRANSACTION_ID}"),
}

STUCK_PAGE: dict[str, Any] = {
    **page_of(STUCK),
    "totals": [{"kind": "payout_in_doubt", "count": 1, "oldest_age_seconds": 3600.0}],
}
