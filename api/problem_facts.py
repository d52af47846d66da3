"""What each problem means for the request's idempotency key, and what to do about it: one line for each code.

Every new code needs a line here. The registry of problems (api/problems.py) adds it to code, status and meaning; the
problem pages and the OpenAPI document show it.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

KeyUse = Literal["used_up", "free", "known", "open", "none"]

KEY_USE: Mapping[KeyUse, str] = {
    "used_up": "The refusal is recorded and final. The key is used up: the same request with it gets this refusal for"
    " ever, whatever changes. If the request takes no key, nothing is recorded.",
    "free": "Nothing is recorded. The key stays free, for this request or another.",
    "known": "Nothing is recorded of this request. The key is used up already, by the request that came first.",
    "open": "The answer does not tell whether the request was recorded. The same request with the same key is safe at"
    " any time: it is carried out once. `GET /v1/ledgers/{ledger}/operations/{key}` tells what became of it.",
    "none": "No key is concerned: requests that can get this answer take none. Nothing is recorded.",
}
"""The words for each use of a key."""


class Fact(NamedTuple):
    """What becomes of the idempotency key of a refused request, and what the sender can do."""

    key: KeyUse
    remedy: str


_AGAIN = "Then send it under a new key."

FACTS: Mapping[str, Fact] = {
    # The caller, the load, the message.
    "unauthenticated": Fact(
        "free", "Send a valid key. The one sent may be mistyped, revoked or past its end."
    ),
    "forbidden": Fact("free", "Use a key that has the role and the ledger, or ask an operator for one."),
    "overloaded": Fact("free", "Wait for the time in Retry-After, and send the same request again."),
    "head_too_large": Fact("free", "Send fewer and shorter headers, and a shorter path and query."),
    "malformed_request": Fact("free", "Send a well-formed HTTP/1.1 request on a new connection."),
    "request_timeout": Fact("free", "Send the request again, all of it within ten seconds."),
    "body_too_large": Fact("free", "Send less at once, such as several smaller batches."),
    "unsupported_media_type": Fact("free", "Send JSON, not compressed, with Content-Type: application/json."),
    "malformed_json": Fact("free", "Send one JSON value in UTF-8, each member of an object only once."),
    "idempotency_key_missing": Fact(
        "free", "Choose a key, store it together with what you want done, and send it with the request."
    ),
    "idempotency_key_invalid": Fact("free", "Choose another key; a UUID will do."),
    "key_exists": Fact("none", "Choose another name, or revoke the key that has this one."),
    "checkpoint_not_found": Fact(
        "none", "Take a size from `GET /v1/audit/checkpoints`: not every size was signed."
    ),
    "witnessed_log_not_found": Fact("none", "Take a name from `GET /v1/audit/witnesses`."),
    "cursor_invalid": Fact("none", "Start again without a cursor, and send each next_cursor unchanged."),
    "cursor_mismatch": Fact("none", "Send the filters and order that the cursor came with, or start again."),
    "not_found": Fact("free", "Compare the path with the paths in /docs."),
    "method_not_allowed": Fact("free", "Use a method that the Allow header names."),
    # The shape, the ledger, the key.
    "invalid_request": Fact("free", "Correct every place that `errors` names, and send the request again."),
    "ledger_moved": Fact("free", "Send the same request to the service that has the installation named."),
    "ledger_missing": Fact(
        "free",
        "Do not open the ledger anew, unless your request to open it was cut off: then repeat that. Send the same"
        " request again once an operator has brought the ledger back.",
    ),
    "ledger_moving": Fact(
        "free",
        "Wait for the time in Retry-After, and send the same request again: a move takes seconds at most.",
    ),
    "ledger_not_found": Fact("free", "Check the name, or open the ledger; then send the request again."),
    "idempotency_key_reused": Fact(
        "known",
        "If this is another request, give it a key of its own. If it is meant to be the same, send it exactly as"
        " before: a default left out and the same default written are different.",
    ),
    # What is named, its version, balance.
    "account_not_found": Fact(
        "free", "Check the address in `account`, or open the account; then send the request again."
    ),
    "transaction_not_found": Fact(
        "free",
        "Check ledger and id. If the transaction may still be under way, ask for its operation first. Then send the"
        " request again.",
    ),
    "operation_unknown": Fact("free", "Send the request: nothing of it was recorded, so it happens once."),
    "payout_not_found": Fact("none", "Check ledger and id."),
    "projection_not_found": Fact("none", "Choose one from `GET /v1/projections`."),
    "dead_letter_not_found": Fact("none", "Choose one from `GET /v1/dead-letters`."),
    "webhook_not_found": Fact("none", "Choose one from `GET /v1/webhooks`."),
    "delivery_not_found": Fact("none", "Choose one from the list of the webhook's deliveries."),
    "version_mismatch": Fact(
        "none", "Read the account again, decide again, and send the change with the new ETag."
    ),
    "unbalanced_transaction": Fact(
        "free", "Make debits and credits equal in each asset of `imbalances`, and send the request again."
    ),
    # The rules.
    "ledger_exists": Fact(
        "none", "Use the ledger as it is, or choose another name. A ledger's metadata never changes."
    ),
    "account_exists": Fact(
        "used_up",
        "Use the account as it is: its limits and metadata can be changed, its asset and normal side cannot. Or choose"
        " another address. For a payout, an operator has to correct the provider's clearing account.",
    ),
    "asset_scale_conflict": Fact("none", "Use the asset with its registered scale, or choose another code."),
    "hold_expired": Fact(
        "used_up", "Nothing is held any more. If the money is still wanted, make a new hold."
    ),
    "hold_not_pending": Fact(
        "used_up", "Look at the transaction: it may have been settled or voided under another key."
    ),
    "hold_reserved": Fact("used_up", "Look at the payout: its hold ends when the payout ends."),
    "payout_ended": Fact("none", "Look at the payout. If you doubt how it ended, have it reconciled."),
    "not_reversible": Fact(
        "used_up",
        "Look at the transaction: it may be reversed already. A transaction that was never posted needs no reversal.",
    ),
    "account_closed": Fact("used_up", f"Use another account: a closed one is never opened again. {_AGAIN}"),
    "account_frozen": Fact("used_up", f"Have the account unfrozen, or use another. {_AGAIN}"),
    "account_not_empty": Fact(
        "none", "Move the balance away, and settle or void what is pending; then close the account."
    ),
    "amount_exceeds_hold": Fact("used_up", f"Ask for at most `held`. {_AGAIN}"),
    "amount_exceeds_reversible": Fact("used_up", f"Ask for at most `reversible`. {_AGAIN}"),
    "amount_overflow": Fact(
        "used_up", f"Use another account: the total of this one cannot grow by that much. {_AGAIN}"
    ),
    "insufficient_funds": Fact(
        "used_up",
        f"Ask for `shortfall` less, pay in that much first, or have min_balance lowered. {_AGAIN}",
    ),
    "balance_limit_exceeded": Fact("used_up", f"Ask for `excess` less, or have max_balance raised. {_AGAIN}"),
    "batch_rejected": Fact(
        "free",
        "Correct or leave out the item at `index`; `problem` is that item's own refusal. Send the batch again with the"
        " same keys.",
    ),
    # Operating.
    "bootstrap_key_fixed": Fact("none", "Change the key where the service is started."),
    "dead_letter_closed": Fact(
        "none", "Look at the dead letter. To apply a discarded event again, rebuild the projection."
    ),
    "rebuild_not_under_way": Fact("none", "Look at the projection; ask for a rebuild if you want one."),
    "rebuild_needed": Fact("none", "Let the rebuild continue, pause it, or ask for it again."),
    # The answer.
    "projection_behind": Fact(
        "none",
        "Wait for the time in Retry-After and ask again, or wait longer (`Prefer: wait=S`). If `state` is not"
        " `running`, or there is a `dead_letter`, an operator has to act.",
    ),
    "journal_unavailable": Fact("open", "Send the same request with the same key again, after Retry-After."),
    "read_only_replica": Fact(
        "free", "Send the same request to the primary, at the address in `primary` or Ledger-Primary."
    ),
    "primary_unreachable": Fact("free", "Wait for the time in Retry-After, and send the same request again."),
    "primary_unanswered": Fact(
        "open",
        "Ask the `operation` what became of the request, or send the same request with the same key again.",
    ),
    "internal_error": Fact(
        "open", "Send the same request with the same key again. If it fails again, report the correlation id."
    ),
}
"""The facts of each problem, by code."""
