"""What is safe to do: one stable code for each, with the words that tell it, wherever something is judged.

Where it is something to be done, the words have a command that is ready to paste, with the ids in it, and the request
that does the same.
"""

from collections.abc import Mapping
from typing import Literal

from projections.registry import NATS

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
    "restart_projector",
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
    "end_hold": "Settle or void the hold, under a key of its own: POST /v1/ledgers/{ledger}/transactions/{id}/settle or"
    " POST /v1/ledgers/{ledger}/transactions/{id}/void. Doing neither leaves the amounts held.",
    "hold_again": "If it is still wanted, make a new hold under a new key: this one cannot be settled any more.",
    "ask_provider": "Ask the provider, as often as wanted: `tallystick payouts reconcile {id} --ledger {ledger}`, or"
    " POST /v1/ledgers/{ledger}/payouts/{id}/reconcile. Never pay out the same again under another key meanwhile: the"
    " money may have left.",
    "resolve_payout": "Find out at the provider what it did. If it paid: `tallystick payouts complete {id} --ledger"
    " {ledger} --reason 'WHY'`, or POST /v1/ledgers/{ledger}/payouts/{id}/complete; if it did not: `tallystick payouts"
    " fail {id} --ledger {ledger} --reason 'WHY' --confirm not-paid`, or POST"
    " /v1/ledgers/{ledger}/payouts/{id}/fail. Nothing moves before that. Never pay out the same again meanwhile.",
    "pay_out_again": "The money is the account's again. If it is still to be paid out, do so under a new key.",
    "decide_dead_letter": "Mend what made the event fail, then retry it: `tallystick dead-letters retry {id}`, or POST"
    " /v1/dead-letters/{id}/retry; or discard it, for a reason: `tallystick dead-letters discard {id} --reason 'WHY'`,"
    " or POST /v1/dead-letters/{id}/discard. Money is not touched by either.",
    "mend_projection": "Mend what its error says: `tallystick doctor` shows it, with the event. What fails goes on by"
    " itself then; what has halted is resumed: `tallystick projections resume {id}`, or POST"
    " /v1/projections/{id}/resume. If its tables are wrong, make it anew: `tallystick replay {id}`, or POST"
    " /v1/projections/{id}/rebuild. The journal is not touched by any of this.",
    "resume_projection": "Resume it once the reason for pausing it is gone: `tallystick projections resume {id}`, or"
    " POST /v1/projections/{id}/resume.",
    "start_projector": "See that `tallystick serve` or, beside one that runs with --no-projector, `tallystick project`"
    " runs and reaches the database. Starting another is harmless, and changes nothing where one runs already.",
    "restart_projector": "Restart the projector: kill its process, and `tallystick serve` starts it anew. Starting"
    " another beside it changes nothing, since it only waits for the place. `tallystick projections restart {id}` takes"
    " the place from it. `tallystick doctor` shows who has it, and whether a session blocks it.",
    "start_worker": "See that `tallystick serve` runs, and what its log says of {id}. Starting another is harmless, and"
    " so is the same request under the same key.",
    "retry_delivery": "When the receiver is mended, retry it: `tallystick webhooks retry {id} {position}`, or POST"
    " /v1/webhooks/{id}/deliveries/{position}/retry; or discard it, for a reason: `tallystick webhooks discard {id}"
    " {position} --reason 'WHY'`, or POST /v1/webhooks/{id}/deliveries/{position}/discard. The receiver knows what it"
    " had before by the id of the message.",
    "enable_webhook": "When the receiver is mended, enable it: `tallystick webhooks enable {id}`, or POST"
    " /v1/webhooks/{id}/enable. It gets what has waited, in order.",
    "see_operations": "See the verdict of each operation.",
    "end_session": "Find out what it does; then end it in psql, by the command given. What it has not committed is"
    " undone, and whoever waits for it goes on at once.",
}
"""The words of each; what is to be filled in is the thing's own: its id or name, its ledger, the position."""

_OF_OTHERS: Mapping[tuple[Remedy, str], str] = {
    (
        "wait",
        "webhooks",
    ): "Wait: it is tried again by itself. `tallystick webhooks deliveries {id} --state pending`, or"
    " GET /v1/webhooks/{id}/deliveries, shows what the receiver answers and when it is tried next. If it shows no"
    " attempts at all, see that `tallystick serve` or `tallystick publish` runs.",
    (
        "wait",
        "projections",
    ): "Wait, and see how far it is: `tallystick projections list`, or GET /v1/projections/{id}."
    " What it shows is late meanwhile, and nothing is lost.",
    (
        "start_projector",
        NATS,
    ): "See that `tallystick serve` or `tallystick publish` runs with TALLYSTICK_NATS_URL set,"
    " and reaches the broker and the database. Starting another is harmless.",
    (
        "restart_projector",
        NATS,
    ): "Restart the publisher: kill its process, and `tallystick serve` starts it anew."
    " `tallystick projections restart nats` takes the place from it.",
    (
        "mend_projection",
        NATS,
    ): "Mend what its error says: see that the broker runs, and that TALLYSTICK_NATS_URL leads"
    " to it. What fails goes on by itself then; what has halted is resumed: `tallystick projections resume nats`, or"
    " POST /v1/projections/nats/resume.",
}
"""What is said in other words of what is no request: by the kind of thing, or its name."""


def safe_to_do(remedy: Remedy, resource: str = "") -> str:
    """Return what is safe to do about something, in words, by the path where it is found."""
    names = {"id": "ID", "ledger": "LEDGER", "position": "POSITION", **names_of(resource)}
    words = (
        _OF_OTHERS.get((remedy, names["id"])) or _OF_OTHERS.get((remedy, kind_of(resource))) or SAFE[remedy]
    )
    return words.format(**names)


def names_of(resource: str) -> dict[str, str]:
    """Return the names in the path of a thing: its id, its ledger, the position of a delivery."""
    match resource.split("/")[2:]:
        case ["ledgers", ledger, _, id]:
            return {"ledger": ledger, "id": id}
        case ["webhooks", id, "deliveries", position]:
            return {"id": id, "position": position}
        case [_, id]:
            return {"id": id}
        case _:
            return {}


def kind_of(resource: str) -> str:
    """Return the kind of thing that a path leads to, as it stands there."""
    parts = resource.split("/")
    return parts[2] if len(parts) > 2 else ""
