"""Keys: who may call, who gave and took which key, and how often requests were denied."""

import asyncio

from api.console.actions.action import Action, action
from api.console.actions.fields import Field
from api.console.denials import denials_in
from api.console.formats import grouped
from api.console.view import Shown, View, page
from api.security.keys import ROLE_MEANINGS, ROLES

KEYS_SHOWN = 50
TRAIL_SHOWN = 50
RECENT = 10

TRAIL_TYPES = ("key.made", "key.rotated", "key.revoked")

_KEY = "/v1/keys/{id}"


@page("/console/keys")
async def show_keys(view: View) -> Shown:
    """Show the keys, newest first, what each may do, and what happened to keys of late."""
    given = view.asked("cursor", "state")
    listed, trail = await asyncio.gather(
        view.api.get("/keys", order="desc", page_size=KEYS_SHOWN, **given),
        view.api.get("/audit/events", order="desc", page_size=RECENT),
    )
    values = {**listed.content, "trail": trail.content["data"], "meanings": ROLE_MEANINGS}
    return Shown("Keys", _sentence(len(listed.content["data"]), given["state"]), values, trail.position)


def _sentence(many: int, state: str | None) -> str:
    kind = {"active": "valid", None: ""}.get(state, state or "")
    words = f"{many} {kind} key{'' if many == 1 else 's'}".replace("  ", " ")
    return f"You see {words}, the newest first. Everything done with a key is recorded under its name."


@page("/console/audit/events", template="trail.html")
async def show_trail(view: View) -> Shown:
    """Show what happened to keys: who made, rotated and revoked which."""
    given = view.asked("cursor", "key_id", "actor", "correlation_id", "type", "from", "to")
    found = await view.api.get(
        "/audit/events", order=view.query.get("order") or "desc", page_size=TRAIL_SHOWN, **given
    )
    values = {**found.content, "types": TRAIL_TYPES, "head": found.head}
    sentence = "Who made, rotated and revoked which key. This is kept for ever in the signed journal."
    return Shown("The trail of keys", sentence, values, found.position)


@page("/console/keys/denied", template="denied.html")
async def show_denied(view: View) -> Shown:
    """Show how often requests were denied, by route."""
    why = view.why_not("GET", "/metrics")
    metrics = None if why else await view.api.call("GET", "/metrics", base="")
    denied = denials_in(metrics.text) if metrics and not metrics.is_refusal else []
    times = sum(each.without_key + each.not_allowed for each in denied)
    many = (
        f"{grouped(times)} requests were" if times > 1 else "One request was" if times else "No request was"
    )
    sentence = why or f"{many} denied since the processes started."
    return Shown("Denied requests", sentence, {"denied": denied[:100]})


action(
    Action(
        "make-key",
        "Make a key",
        "Make a key?",
        "A new key is made. It is shown once, on the next page, and can never be read again.",
        "/v1/keys",
        path="/keys/make",
        fields=(
            Field(
                "name",
                "Name",
                is_required=True,
                hint="Everything done with the key is recorded under this name.",
            ),
            Field("roles", "What it may do", "list", choices=ROLES, meanings=ROLE_MEANINGS),
            Field("ledgers", "Ledgers", "list", hint="Names with commas between them; * is every ledger."),
            Field(
                "ledgers_to_come",
                "Ledgers that are not made yet",
                "list",
                hint="Granted too, once they are there.",
            ),
        ),
        shows_answer=True,
    )
)
action(
    Action(
        "rotate-key",
        "Rotate",
        "Replace this key by a new one?",
        "A new key with the same name, roles and ledgers is made, and shown once. The old key ends, and its sessions"
        " here with it, when the overlap is over.",
        f"{_KEY}/rotate",
        fields=(
            Field(
                "overlap_seconds",
                "Overlap in seconds",
                "whole",
                hint="So long both are valid. 3600 is an hour; empty ends the old key at once.",
            ),
        ),
        leads_to="/keys",
        shows_answer=True,
    )
)
action(
    Action(
        "revoke-key",
        "Revoke",
        "Take this key back for ever?",
        "Whoever uses it is refused within a second, in what is under way too, and its sessions here end. If it is the"
        " key with which you signed in, you are signed out.",
        _KEY,
        method="DELETE",
        path="/keys/{id}/revoke",
        leads_to="/keys",
        is_grave=True,
    )
)
