"""What is safe to do: one stable code for each, with the words that tell it, wherever something is judged."""

from collections.abc import Mapping
from typing import Literal

Remedy = Literal[
    "nothing",
    "send_again",
    "wait",
    "use_new_key",
    "end_hold",
    "hold_again",
    "ask_provider",
    "resolve_payout",
    "pay_out_again",
    "decide_dead_letter",
    "mend_projection",
    "resume_projection",
    "start_projector",
    "start_worker",
    "retry_delivery",
    "enable_webhook",
    "see_operations",
    "end_session",
]

SAFE: Mapping[Remedy, str] = {
    "nothing": "Nothing needs to be done. The same request under the same key is answered as before.",
    "send_again": "Send the request, or send it again, under the same key: it takes effect once at most.",
    "wait": "Wait, and ask again. The same request under the same key is harmless meanwhile.",
    "use_new_key": "If it is still wanted, send it under a new key. Under this one the answer is final.",
    "end_hold": "Settle or void the hold, under a key of its own. Doing neither leaves the amounts held.",
    "hold_again": "If it is still wanted, make a new hold under a new key: this one cannot be settled any more.",
    "ask_provider": "Ask the provider: POST …/payouts/{id}/reconcile, as often as wanted. Never pay out the same again"
    " under another key meanwhile: the money may have left.",
    "resolve_payout": "Find out at the provider what it did, then POST …/payouts/{id}/complete or …/fail with the"
    " reason. Nothing moves before that. Never pay out the same again meanwhile.",
    "pay_out_again": "The money is the account's again. If it is still to be paid out, do so under a new key.",
    "decide_dead_letter": "Mend what made the event fail, then POST /v1/dead-letters/{id}/retry; or discard it, with a"
    " reason. Money is not touched by either.",
    "mend_projection": "See its last_error, mend that, then POST /v1/projections/{name}/resume, or rebuild it. The"
    " journal is not touched by either.",
    "resume_projection": "POST /v1/projections/{name}/resume, once the reason for pausing it is gone.",
    "start_projector": "See that `tallystick serve` or `tallystick project` runs and reaches the database. Starting"
    " another is harmless.",
    "start_worker": "See that `tallystick serve` runs, and what its log says of this id. Starting another is harmless,"
    " and so is the same request under the same key.",
    "retry_delivery": "When the receiver is mended, POST /v1/webhooks/{id}/deliveries/{position}/retry; or discard it,"
    " with a reason. The receiver knows what it had before by the id of the message.",
    "enable_webhook": "When the receiver is mended, POST /v1/webhooks/{id}/enable: it gets what has waited, in order.",
    "see_operations": "See the verdict of each operation.",
    "end_session": "Find out what it does; then end it in psql, by the command given. What it has not committed is"
    " undone, and whoever waits for it goes on at once.",
}
