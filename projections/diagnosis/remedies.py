"""Remedies: a stable code for each thing that is safe to do, and the words that explain it to an operator.

The words of an action contain a command with the ids filled in, ready to paste, and the HTTP request that does the
same.
"""

import re
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
    "name_installation",
    "finish_move",
    "finish_or_cancel_move",
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
    "send_again": "Send the request under the same key, for the first time or again: it takes effect at most once.",
    "wait": "Wait, and ask again. The same request under the same key is harmless meanwhile.",
    "use_new_key": "If you still want it done, send it under a new key. The answer under this key is final.",
    "end_hold": "Settle or void the hold, under a new key: POST /v1/ledgers/{ledger}/transactions/{id}/settle or"
    " POST /v1/ledgers/{ledger}/transactions/{id}/void. If you do neither, the amounts stay held.",
    "hold_again": "If you still want it, make a new hold under a new key. This hold can no longer be settled.",
    "ask_provider": "Ask the provider, as often as you like: `tallystick payouts reconcile {id} --ledger {ledger}`, or"
    " POST /v1/ledgers/{ledger}/payouts/{id}/reconcile. Do not pay out the same again under another key meanwhile: the"
    " money may have left.",
    "resolve_payout": "Find out at the provider what it did. If it paid: `tallystick payouts complete {id} --ledger"
    " {ledger} --reason 'WHY'`, or POST /v1/ledgers/{ledger}/payouts/{id}/complete. If it did not: `tallystick payouts"
    " fail {id} --ledger {ledger} --reason 'WHY' --confirm not-paid`, or POST"
    " /v1/ledgers/{ledger}/payouts/{id}/fail. No money moves until you do. Do not pay out the same again meanwhile.",
    "name_installation": "Name the installation that holds the receiving ledger in TALLYSTICK_INSTALLATIONS, with its"
    " database, and start the services again: the bridge then ends by itself. `tallystick doctor` names each that is"
    " left out. Do not send the same again under another key meanwhile: it may have arrived.",
    "finish_move": "Run `tallystick place {ledger} --on {to} --yes` with the TALLYSTICK_INSTALLATIONS of the service:"
    " the move goes on where it was cut off. Running it twice is harmless. Nothing is lost meanwhile, and whoever sends"
    " a request again under the same key is safe.",
    "finish_or_cancel_move": "Run `tallystick place {ledger} --on {to} --yes` with the TALLYSTICK_INSTALLATIONS of the"
    " service: the move goes on. Or `tallystick place {ledger} --cancel`: the ledger is written again where it was."
    " Nothing is lost meanwhile, and whoever sends a request again under the same key is safe.",
    "pay_out_again": "The money is back in the account. If it is still to be paid out, do so under a new key.",
    "decide_dead_letter": "Mend what made the event fail, then retry it: `tallystick dead-letters retry {id}`, or POST"
    " /v1/dead-letters/{id}/retry. Or discard it, with a reason: `tallystick dead-letters discard {id} --reason 'WHY'`,"
    " or POST /v1/dead-letters/{id}/discard. Neither touches money.",
    "mend_projection": "Mend what its error names: `tallystick doctor` shows the error and the event. A failing"
    " projection then continues by itself. A halted one must be resumed: `tallystick projections resume {id}`, or POST"
    " /v1/projections/{id}/resume. If its tables are wrong, rebuild it: `tallystick replay {id}`, or POST"
    " /v1/projections/{id}/rebuild. None of this touches the journal.",
    "resume_projection": "Resume it once the reason for the pause is gone: `tallystick projections resume {id}`, or"
    " POST /v1/projections/{id}/resume.",
    "start_projector": "Check that `tallystick serve` runs and reaches the database. If it runs with --no-projector,"
    " check that `tallystick project` runs beside it. Starting another is harmless: if one runs, nothing changes.",
    "restart_projector": "Restart the projector: kill its process, and `tallystick serve` starts a new one. Starting"
    " another beside it does not help: that one only waits for the place. `tallystick projections restart {id}` takes"
    " the place from it. `tallystick doctor` shows which process has the place, and whether a session blocks it.",
    "start_worker": "Check that `tallystick serve` runs, and what its log says about {id}. Starting another is"
    " harmless. So is sending the same request under the same key.",
    "retry_delivery": "When the receiver is mended, retry it: `tallystick webhooks retry {id} {position}`, or POST"
    " /v1/webhooks/{id}/deliveries/{position}/retry. Or discard it, with a reason: `tallystick webhooks discard {id}"
    " {position} --reason 'WHY'`, or POST /v1/webhooks/{id}/deliveries/{position}/discard. The receiver recognises"
    " messages that it had before by their ids.",
    "enable_webhook": "When the receiver is mended, enable the webhook: `tallystick webhooks enable {id}`, or POST"
    " /v1/webhooks/{id}/enable. It then gets everything that has waited, in order.",
    "see_operations": "See the verdict of each operation.",
    "end_session": "Find out what the session does, then end it in psql with the command given. Its uncommitted work is"
    " undone, and whatever waits for it continues at once.",
}
"""The words of each remedy. The placeholders take the id or name of the thing, its ledger and the position, and the
installation that a ledger moves to."""

_OF_OTHERS: Mapping[tuple[Remedy, str], str] = {
    (
        "wait",
        "webhooks",
    ): "Wait: the delivery is retried automatically. `tallystick webhooks deliveries {id} --state pending`, or"
    " GET /v1/webhooks/{id}/deliveries, shows what the receiver answers and when the next attempt is. If it shows no"
    " attempts at all, check that `tallystick serve` or `tallystick publish` runs.",
    (
        "wait",
        "projections",
    ): "Wait, and watch its progress: `tallystick projections list`, or GET /v1/projections/{id}."
    " Its answers are late meanwhile, and nothing is lost.",
    (
        "start_projector",
        NATS,
    ): "Check that `tallystick serve` or `tallystick publish` runs with TALLYSTICK_NATS_URL set,"
    " and reaches the broker and the database. Starting another is harmless.",
    (
        "restart_projector",
        NATS,
    ): "Restart the publisher: kill its process, and `tallystick serve` starts a new one."
    " `tallystick projections restart nats` takes the place from it.",
    (
        "mend_projection",
        NATS,
    ): "Mend what its error names: check that the broker runs, and that TALLYSTICK_NATS_URL leads"
    " to it. A failing publisher then continues by itself. A halted one must be resumed: `tallystick projections"
    " resume nats`, or POST /v1/projections/nats/resume.",
}
"""Words that replace those of `SAFE` for webhooks and projections, by the kind of thing or its name."""


_COMMAND = re.compile(r"`(tallystick [^`]*)`")
_NAME_NONE = ("serve", "keys", "place")
"""The commands that serve all installations of a placement, move between them, or work on home for all."""

_REQUEST_THAT_NAMES_ONE = re.compile(r"(?<=[A-Z] )/v1/projections/[\w/]+")


def safe_to_do(
    remedy: Remedy, resource: str = "", installation: str | None = None, bound_for: str | None = None
) -> str:
    """Return the words of a remedy, with the names filled in from the path `resource` of the thing it is for.

    `installation` is the one of a placement that has the thing: commands and requests name it where they must.
    `bound_for` is the one that a ledger moves to.
    """
    names = {"id": "ID", "ledger": "LEDGER", "position": "POSITION", **names_of(resource)}
    names["to"] = bound_for or "INSTALLATION"
    words = (
        _OF_OTHERS.get((remedy, names["id"])) or _OF_OTHERS.get((remedy, kind_of(resource))) or SAFE[remedy]
    )
    words = words.format(**names)
    return words if installation is None else on_installation(words, installation)


def on_installation(words: str, installation: str) -> str:
    """Return the words of a remedy for a thing of one installation of a placement."""
    words = _COMMAND.sub(lambda found: f"`{command_on(found[1], installation)}`", words)
    return _REQUEST_THAT_NAMES_ONE.sub(rf"\g<0>?installation={installation}", words)


def command_on(command: str, installation: str) -> str:
    """Return a command for one installation of a placement. One that names none stays as it is."""
    program, *words = command.split()
    is_for_one = program == "tallystick" and words[:1] and words[0] not in _NAME_NONE
    return f"{command} --installation {installation}" if is_for_one else command


def resource_on(resource: str, installation: str) -> str:
    """Return the path of a thing of one installation of a placement. That of a projection must name it."""
    names_it = kind_of(resource) == "projections" and "?" not in resource
    return f"{resource}?installation={installation}" if names_it else resource


def not_named(installation: str) -> str:
    """Return why a bridge waits that leads to an installation which the placement does not name, in words."""
    return f"The receiving ledger is in the installation {installation}, which the placement does not name."


def names_of(resource: str) -> dict[str, str]:
    """Return the names in the path of a thing: its id, its ledger, the position of its delivery."""
    match resource.partition("?")[0].split("/")[2:]:
        case ["ledgers", ledger, _, id]:
            return {"ledger": ledger, "id": id}
        case ["ledgers", ledger]:
            return {"ledger": ledger}
        case ["webhooks", id, "deliveries", position]:
            return {"id": id, "position": position}
        case [_, id]:
            return {"id": id}
        case _:
            return {}


def kind_of(resource: str) -> str:
    """Return the kind of thing that a path leads to, as the path writes it, such as `webhooks`; empty if none."""
    parts = resource.split("/")
    return parts[2] if len(parts) > 2 else ""
