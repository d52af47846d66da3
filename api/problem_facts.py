"""What each problem means for the idempotency key of the request, and what to do about it: one line for each code.

Whoever adds a code adds its line. The registry of problems (api/problems.py) puts them beside code, status and
meaning; its pages and the OpenAPI document show them.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

KeyUse = Literal["used_up", "free", "known", "open", "none"]

KEY_USE: Mapping[KeyUse, str] = {
    "used_up": "The refusal is recorded and final. Its key is used up: the same request with it is answered so again"
    " for ever, whatever changes. A request that takes no key records nothing.",
    "free": "Nothing is recorded. The key stays free, for this request or another.",
    "known": "Nothing is recorded of this request. The key is used up already, by the request that came first.",
    "open": "It is not known here whether the request was recorded. The same request with the same key is safe at any"
    " time: it is carried out once. `GET /v1/ledgers/{ledger}/operations/{key}` tells what became of it.",
    "none": "No key is concerned: requests that can meet this take none. Nothing is recorded.",
}
"""What each use of a key is, in words."""


class Fact(NamedTuple):
    """What becomes of the idempotency key of a request that meets a problem, and what its sender can do."""

    key: KeyUse
    remedy: str


_AGAIN = "Then send it under a new key."

FACTS: Mapping[str, Fact] = {
    # The caller, the load, the message.
    "unauthenticated": Fact(
        "free", "Send a key that is valid: it may be mistyped, revoked, or past its end."
    ),
    "forbidden": Fact("free", "Use a key that has the role and the ledger, or ask an operator for one."),
    "overloaded": Fact("free", "Wait as long as Retry-After says, and send the same request again."),
    "head_too_large": Fact("free", "Send fewer and shorter headers, and a shorter path and query."),
    "malformed_request": Fact("free", "Send a well-formed request of HTTP/1.1, on a new connection."),
    "request_timeout": Fact("free", "Send the request again, all of it within ten seconds."),
    "body_too_large": Fact("free", "Send less at once: of a batch, several smaller ones."),
    "unsupported_media_type": Fact("free", "Send JSON, and say so: Content-Type: application/json."),
    "malformed_json": Fact("free", "Send one JSON value in UTF-8, each member of an object once."),
    "idempotency_key_missing": Fact(
        "free", "Choose a key, keep it with what you want done, and send it along."
    ),
    "idempotency_key_invalid": Fact("free", "Choose another key; a UUID will do."),
    "key_exists": Fact("none", "Choose another name, or revoke the key that has this one."),
    "checkpoint_not_found": Fact(
        "none", "Take a size from `GET /v1/audit/checkpoints`: not every size was signed."
    ),
    "cursor_invalid": Fact("none", "Begin anew without a cursor, and take each next_cursor as it is."),
    "cursor_mismatch": Fact("none", "Send the filters and order that the cursor came with, or begin anew."),
    "not_found": Fact("free", "Compare the path with those in /docs."),
    "method_not_allowed": Fact("free", "Use a method that Allow names."),
    # The shape, the ledger, the key.
    "invalid_request": Fact("free", "Mend what each of `errors` points at, and send the request again."),
    "ledger_not_found": Fact("free", "Check the name, or open the ledger; then send the request again."),
    "idempotency_key_reused": Fact(
        "known",
        "If this is another request, give it a key of its own. If it was to be the same, send it exactly as before:"
        " a default left out and the same default written are different.",
    ),
    # What is named, its version, balance.
    "account_not_found": Fact(
        "free", "Check the address that is named, or open the account; then send the request again."
    ),
    "transaction_not_found": Fact(
        "free",
        "Check ledger and id. If the transaction may still be under way, ask for its operation; then send the request"
        " again.",
    ),
    "operation_unknown": Fact("free", "Send the request: nothing of it was recorded, so it happens once."),
    "payout_not_found": Fact("none", "Check ledger and id."),
    "projection_not_found": Fact("none", "Choose one that `GET /v1/projections` lists."),
    "dead_letter_not_found": Fact("none", "Choose one that `GET /v1/dead-letters` lists."),
    "webhook_not_found": Fact("none", "Choose one that `GET /v1/webhooks` lists."),
    "delivery_not_found": Fact("none", "Choose one that the webhook's deliveries list."),
    "version_mismatch": Fact(
        "none", "Read the account, decide on what it is now, and send the change with its ETag."
    ),
    "unbalanced_transaction": Fact(
        "free", "Make debits and credits equal in each asset of `imbalances`, and send the request again."
    ),
    # The rules.
    "ledger_exists": Fact(
        "none", "Use the ledger as it is, or choose another name. Metadata of a ledger stays."
    ),
    "account_exists": Fact(
        "used_up",
        "Use the account as it is: limits and metadata can be changed, asset and normal side cannot. Or choose"
        " another address; of a payout, have the provider's clearing account put right by an operator.",
    ),
    "asset_scale_conflict": Fact("none", "Use the asset as it is registered, or a code of its own."),
    "hold_expired": Fact(
        "used_up", "Nothing is held any more. Make a new hold, if the money is still wanted."
    ),
    "hold_not_pending": Fact(
        "used_up", "Look at the transaction: what was to be done may have been done, under another key."
    ),
    "hold_reserved": Fact("used_up", "Look at the payout: its hold ends with it."),
    "payout_ended": Fact("none", "Look at the payout. If its end is in doubt, have it reconciled."),
    "not_reversible": Fact(
        "used_up",
        "Look at the transaction: it may be reversed already. What never was posted needs no reversal.",
    ),
    "account_closed": Fact("used_up", f"Use another account: a closed one is never opened again. {_AGAIN}"),
    "account_frozen": Fact("used_up", f"Have the account unfrozen, or use another. {_AGAIN}"),
    "account_not_empty": Fact(
        "none", "Move the balance away, and let what is pending be settled or voided; then close it."
    ),
    "amount_exceeds_hold": Fact("used_up", f"Ask for `held` at most. {_AGAIN}"),
    "amount_exceeds_reversible": Fact("used_up", f"Ask for `reversible` at most. {_AGAIN}"),
    "amount_overflow": Fact(
        "used_up", f"Use another account: the total of this one cannot grow by so much. {_AGAIN}"
    ),
    "insufficient_funds": Fact(
        "used_up",
        f"Ask for `shortfall` less, pay that much in first, or have min_balance lowered. {_AGAIN}",
    ),
    "balance_limit_exceeded": Fact("used_up", f"Ask for `excess` less, or have max_balance raised. {_AGAIN}"),
    "batch_rejected": Fact(
        "free",
        "Mend or leave out the item at `index`, whose own refusal is `problem`, and send the batch again, with the same"
        " keys.",
    ),
    # Operating.
    "bootstrap_key_fixed": Fact("none", "Change it where the service is started."),
    "dead_letter_closed": Fact("none", "Look at the letter. What was discarded comes anew with a rebuild."),
    "rebuild_not_under_way": Fact("none", "Look at the projection; ask for a rebuild if one is wanted."),
    "rebuild_needed": Fact("none", "Let it go on, pause it, or ask for it anew."),
    # The answer.
    "projection_behind": Fact(
        "none",
        "Wait as long as Retry-After says and ask again, or wait longer (`Prefer: wait=S`). If `state` is not"
        " `running`, or there is a `dead_letter`, an operator has to act.",
    ),
    "journal_unavailable": Fact("open", "Send the same request with the same key again, after Retry-After."),
    "internal_error": Fact(
        "open", "Send the same request with the same key again; if it stays so, report the correlation id."
    ),
}
"""The facts of each problem, by code."""
