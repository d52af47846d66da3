"""The story of a request: what became of a key, or of everything under a correlation id, and what is safe to do now."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from api.console.actions.next_steps import next_steps, unsafe_steps
from api.console.assets import with_assets
from api.console.drawings.lanes import lanes
from api.console.inside import Refused, Reply
from api.console.pages.payouts import sentence_of
from api.console.timelines import told, who_sent
from api.console.view import Shown, View, page
from api.problems import PathNotFound
from domain.model.errors import OperationUnknown
from domain.model.idempotency import is_key
from domain.model.times import Instant, instant

MAX_MOMENTS = 100
MAX_ENTRIES = 10
MAX_OPERATIONS = 50
"""How many of each a page shows. Moments have further pages."""


@page("/console/ledgers/{ledger}/operations/{key}", template="story.html")
async def show_operation(view: View) -> Shown:
    """Show what became of a keyed request."""
    key = view.names["key"]
    if not is_key(key):
        raise PathNotFound(
            "This is no idempotency key: one is 1 to 255 visible ASCII characters, and has no slash."
        )
    # The position is asked for first, so that nothing recorded up to there can be missed.
    position = (await view.api.look(f"/ledgers/{view.ledger}")).position
    reply = await view.api.look(f"{view.resource}/trace")
    if reply.is_refusal:
        return _unknown(view, key, reply, position)
    trace = reply.content
    (operation,) = trace["operations"]
    thing = await _thing(view, operation["resource"], trace["position"])
    entries = thing.get("entries", []) if thing else []
    shown = await with_assets(view.api, view.ledger, entries[:MAX_ENTRIES])
    values = {
        **_told(view, trace),
        "operation": operation,
        "thing": thing,
        "entries": shown,
        "amounts": amounts(shown) if len(shown) == len(entries) else {},
        "all_entries": len(entries),
        "sent": who_sent(trace["timeline"]),
    }
    said = sentence(trace["verdict"], thing, instant(datetime.now(UTC)))
    return Shown(f"Request {key}", said, values, trace["position"])


@page("/console/ledgers/{ledger}/trace", template="story.html")
async def show_conversation(view: View) -> Shown:
    """Show everything that has a correlation id."""
    correlation_id = view.query.get("correlation_id", "")
    trace = (await view.api.get(f"/ledgers/{view.ledger}/trace", correlation_id=correlation_id)).content
    values = {**_told(view, trace), "operation": None, "thing": None, "sent": []}
    title = f"Correlation id {correlation_id}"
    return Shown(title, trace["verdict"]["what_happened"], values, trace["position"])


def _unknown(view: View, key: str, reply: Reply, position: int | None) -> Shown:
    """Show that nothing is recorded under a key, if that is what the API says."""
    if reply.content["code"] != OperationUnknown.code:
        raise Refused(reply)
    values = {
        "key": key,
        "is_safe": reply.content.get("retry") == "safe",
        "unsafe": unsafe_steps("send_again", f"/v1/ledgers/{view.ledger}/transactions"),
    }
    return Shown(
        f"Request {key}",
        f"Nothing is recorded under this key in the ledger {view.ledger}.",
        values,
        position,
        reply.status,
        "unknown_request.html",
    )


async def _thing(view: View, resource: str, position: int) -> Mapping[str, Any] | None:
    """Return what a request made, as it was at a position up to which its story was read just before.

    None if it has changed since: then the page is soon made again. None too if it is not made yet, or the caller may
    not read it.
    """
    reply = await view.api.look(resource.removeprefix("/v1"))
    return None if reply.is_refusal or reply.content["position"] > position else reply.content


def _told(view: View, trace: Mapping[str, Any]) -> dict[str, Any]:
    verdict, operations = trace["verdict"], trace["operations"]
    resource = operations[0]["resource"] if len(operations) == 1 else ""
    moments = told(trace["timeline"], trace["ledger"])
    first = min(_whole(view.query.get("from", "")), max(len(moments) - 1, 0))
    shown = moments[first : first + MAX_MOMENTS]
    return {
        "trace": trace,
        "steps": next_steps(verdict["remedy"], resource),
        "unsafe": unsafe_steps(verdict["remedy"], resource),
        "concerns": [(of, next_steps(of["remedy"], of["resource"] or "")) for of in verdict["concerns"]],
        "begins": next((of.time for of in moments if of.time), None),
        "moments": shown,
        "lanes": lanes(shown),
        "earlier": max(first - MAX_MOMENTS, 0) if first else None,
        "later": first + MAX_MOMENTS if len(moments) > first + MAX_MOMENTS else None,
        "total": len(moments),
        "operations": operations[:MAX_OPERATIONS],
    }


def sentence(verdict: Mapping[str, Any], thing: Mapping[str, Any] | None, now: Instant) -> str:
    """Return what happened in one sentence, for a payout with the time at which the ledger acts next."""
    if thing is None or "provider" not in thing:
        return str(verdict["what_happened"])
    return sentence_of(thing, now)


def amounts(entries: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Return how much entries debit, by asset; empty if an asset is not known. Credits are as much."""
    totals: dict[str, int] = {}
    for entry in entries:
        if entry["asset"] is None:
            return {}
        if entry["direction"] == "debit":
            totals[entry["asset"]] = totals.get(entry["asset"], 0) + entry["amount"]
    return totals


def _whole(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 7 else 0
