"""Examples of an account, its statement and its balances."""

from typing import Any

from api.resources.examples import TIME, TRANSACTION_ID

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
    "opened_at": TIME,
}

STATEMENT_ENTRY: dict[str, Any] = {
    "transaction_id": TRANSACTION_ID,
    "kind": "posting",
    "direction": "debit",
    "amount": 1050,
    "balance_after": 3950,
    "effective_at": TIME,
    "recorded_at": TIME,
    "position": 21,
    "reference": "order-1",
}

ACCOUNT_BALANCE: dict[str, Any] = {
    "account": "users:alice:wallet",
    "asset": "USD/2",
    "clock": "effective",
    "at": TIME,
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
