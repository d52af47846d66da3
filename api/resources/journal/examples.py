"""Examples of events, checkpoints and proofs."""

from typing import Any

from api.resources.examples import CORRELATION_ID, KEY_ID, TIME, TRANSACTION_ID
from api.resources.transactions.examples import ENTRIES

EVENT: dict[str, Any] = {
    "position": 21,
    "stream": f"main/transactions/{TRANSACTION_ID}",
    "version": 1,
    "type": "transaction.posted",
    "schema_version": 2,
    "recorded_at": TIME,
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
        "effective_at": TIME,
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
    "recorded_at": TIME,
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
    "signed_at": TIME,
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

_WEST = "tallystick/0f2b8a52-5a6e-4f43-a9c7-5d0a1a4f3c11"
_WEST_NOTE = (
    f"{_WEST}\n120\nZnwC4PmoyX3lmTt7wulrKGqdXLGoCXEPdxOijcSQPE4=\n\n"
    f"— {_WEST} kEaEOocMPV9y3J0n5Mjfy/7vJRhh57dgVUzDObtIAH0oSVyLLPtt8/FTGg20w7EgPTVw15ZGEvdfJD0Dirhsip2flQs=\n"
)
_COSIGNATURE = (
    f"— {_ORIGIN} k0aEOgAAAABqxqkAIsoMPV9y3J0n5Mjfy/7vJRhh57dgVUzDObtIAH0oSVyLLPtt8/FTGg20w7EgPTVw15ZGEvdf"
    "JD0Dirhsip2flQs=\n"
)

WITNESSED_LOG: dict[str, Any] = {
    "name": "west",
    "is_watched": True,
    "origin": _WEST,
    "size": 120,
    "root_hash": "667c02e0f9a8c97de5993b7bc2e96b286a9d5cb1a809710f7713a28dc4903c4e",
    "note": f"{_WEST_NOTE}{_COSIGNATURE}",
    "recorded_at": TIME,
    "position": 42,
    "dispute": None,
    "seen_at": TIME,
    "seen_size": 120,
    "last_error": None,
}

WITNESSED_EVENT: dict[str, Any] = {
    "position": 42,
    "stream": "-/witnesses/west",
    "version": 7,
    "type": "checkpoint.witnessed",
    "schema_version": 1,
    "recorded_at": TIME,
    "actor": "tallystick",
    "correlation_id": CORRELATION_ID,
    "causation_id": CORRELATION_ID,
    "idempotency_key": None,
    "payload": {
        "origin": _WEST,
        "size": 120,
        "root": "667c02e0f9a8c97de5993b7bc2e96b286a9d5cb1a809710f7713a28dc4903c4e",
        "note": _WEST_NOTE,
        "verifiers": [f"{_WEST}+9046843a+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4"],
        "grown_from": 96,
        "basis": "grown",
        "cosignature": _COSIGNATURE,
    },
    "leaf_hash": "5a0ee3ed7a0e4ff0f4a0ff4a3bbd8c2bd0a0f8d5f0f3bc0a2f4bb8f2cf4f7f07",
    "ledger": None,
    "traceparent": None,
}
