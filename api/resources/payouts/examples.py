"""Examples of a payout and of a provider's callback."""

from typing import Any

from api.resources.examples import CORRELATION_ID, TIME, TRANSACTION_ID

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
    "due_at": TIME,
    "accepted_at": TIME,
    "ended_at": None,
    "history": [
        {
            "state": "accepted",
            "event": "accepted",
            "source": None,
            "detail": "",
            "actor": "shop",
            "time": TIME,
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

CALLBACK_REQUEST: dict[str, Any] = {
    "type": "payout.completed",
    "timestamp": TIME,
    "data": {
        "key": PAYOUT["provider_key"],
        "state": "completed",
        "amount": PAYOUT["amount"],
        "asset": PAYOUT["asset"],
    },
}
