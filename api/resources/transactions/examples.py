"""Examples of transactions, batches and operations."""

from typing import Any

from api.resources.examples import CORRELATION_ID, TIME, TRANSACTION_ID

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
    "effective_at": TIME,
    "recorded_at": TIME,
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

OPERATION: dict[str, Any] = {
    "idempotency_key": "order-1",
    "state": "completed",
    "retry": "unnecessary",
    "resource": f"/v1/ledgers/main/transactions/{TRANSACTION_ID}",
    "request_fingerprint": "5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef",
    "accepted_at": TIME,
    "completed_at": TIME,
    "correlation_id": CORRELATION_ID,
    "position": 21,
    "outcome": None,
    "problem": None,
}

ACCEPTED_OPERATION: dict[str, Any] = {**OPERATION, "state": "accepted", "completed_at": None}
