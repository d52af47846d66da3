"""Events: the journal's tail with every filter of the API, and one event with what it did."""

import asyncio
import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from api.console.effects import MAX_ACCOUNTS, Effect, Span, effect, recorded_together, span_of
from api.console.formats import grouped, words_of
from api.console.inside import Refused, Reply
from api.console.view import Shown, View, page
from api.problems import PathNotFound
from api.resources.journal.event_schemas import TYPES
from domain.model.times import Instant
from domain.transparency.leaves import hash_of_item, leaf_bytes, stored_state

EVENTS_SHOWN = 50
NEIGHBOURS = 40
"""So many events on either side of one are looked at, for those of the same command."""

MAX_CHARACTERS = 20_000
"""So much of an event's content is shown, and so long a leaf. The API shows all of it."""

FILTERS = ("account", "transaction_id", "correlation_id", "actor", "type", "from", "to", "after")
_UNREADABLE = (HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY)


@page("/console/ledgers/{ledger}/events")
async def show_events(view: View) -> Shown:
    """Show the events of a ledger that the filters leave, newest first unless the address says otherwise."""
    given = {name: value for name, value in view.asked(*FILTERS).items() if value}
    order = "asc" if view.query.get("order") == "asc" else "desc"
    query = {**given, **view.asked("cursor", "min_position"), "order": order, "page_size": EVENTS_SHOWN}
    listed = await view.api.look(view.resource, **query)
    values = {"types": TYPES, "order": order, "problem": None, "head": listed.head}
    if listed.status in _UNREADABLE:
        empty = {"data": [], "next_cursor": None, "problem": listed.content}
        return Shown("Events", "The filters cannot be read.", {**values, **empty}, status=listed.status)
    if listed.is_refusal:
        raise Refused(listed)
    sentence = _sentence(view.ledger, listed, order, bool(given))
    return Shown("Events", sentence, {**values, **listed.content}, listed.position)


def _sentence(ledger: str, listed: Reply, order: str, is_filtered: bool) -> str:
    which = "that the filters leave, " if is_filtered else ""
    order_words = "newest first" if order == "desc" else "oldest first"
    if not listed.content["data"]:
        return f"Up to position {grouped(listed.position or 0)} there is no such event of {ledger}."
    return f"Every event of {ledger} up to position {grouped(listed.position or 0)}, {which}{order_words}."


@page("/console/ledgers/{ledger}/events/{position}", template="event.html", is_live=False)
async def show_event(view: View) -> Shown:
    """Show one event: its content and its place, what else its command recorded, and what it did to accounts."""
    position = _position(view)
    events, installation = await _around(view, position)
    event = next((each for each in events if each["position"] == position), None)
    if event is None:
        raise PathNotFound(f"Position {position} has no event of the ledger {view.ledger} that is indexed.")
    together = recorded_together(position, events)
    span = span_of(view.ledger, event, together)
    payload = json.dumps(event["payload"], ensure_ascii=False, indent=2)
    values = {
        "event": event,
        "thing": _thing(event["stream"]),
        "payload": payload[:MAX_CHARACTERS],
        "is_cut": len(payload) > MAX_CHARACTERS,
        "together": together,
        "span": span,
        "effects": await _effects(view, span),
        "others": max(len(span.addresses) - MAX_ACCOUNTS, 0),
        "leaf": _leaf(event),
        "log": installation,
        **_neighbours(position, events),
    }
    return Shown(f"Event {grouped(position)}", _told(event), values)


async def _around(view: View, position: int) -> tuple[list[dict[str, Any]], str | None]:
    """Return the events of the ledger around a position, and its installation; only the event there if they are too
    large together."""
    path = f"/ledgers/{view.ledger}/events"
    after = max(position - 1 - NEIGHBOURS, 0)
    reply = await view.api.get(path, after=after, page_size=2 * NEIGHBOURS + 1)
    events: list[dict[str, Any]] = reply.content["data"]
    if events and events[-1]["position"] < position:
        events = (await view.api.get(path, after=position - 1, page_size=1)).content["data"]
    return events, reply.installation


def _position(view: View) -> int:
    text = view.names["position"]
    if not (text.isascii() and text.isdecimal() and len(text) < 19 and int(text)):
        raise PathNotFound(f"{text[:40]} is not a position.")
    return int(text)


def _told(event: Mapping[str, Any]) -> str:
    what, by = words_of(event["type"].replace(".", " ")), event["actor"] or "somebody unknown"
    when: Instant | None = event["recorded_at"]
    at = f" on {when[:10]} at {when[11:19]} UTC" if when else ""
    return f"{what.capitalize()}, recorded by {by}{at}."


def _neighbours(position: int, events: list[dict[str, Any]]) -> dict[str, int | None]:
    """Return the positions of the events before and after one, in its ledger."""
    positions = [each["position"] for each in events]
    return {
        "previous": max((each for each in positions if each < position), default=None),
        "following": min((each for each in positions if each > position), default=None),
    }


def _thing(stream: str) -> str | None:
    """Return the path of the thing to which a stream belongs, below `/v1`; None if it has none."""
    ledger, _, rest = stream.partition("/")
    return f"/v1/ledgers/{ledger}" + ("" if rest == "ledger" else f"/{rest}")


def _leaf(event: Mapping[str, Any]) -> str | None:
    """Return the leaf of an event as text, from which its leaf hash is computed; None if it was stored in a form of
    another program, which the event as shown does not tell, or if it is too long for a page."""
    try:
        state = stored_state(event)
        if hash_of_item(event).hex() != event["leaf_hash"]:
            return None
    except (TypeError, ValueError):
        return None
    leaf = leaf_bytes(event["position"], event["stream"], event["version"], event["type"], state)
    return leaf.decode() if len(leaf) <= 2 * MAX_CHARACTERS else None


async def _effects(view: View, span: Span) -> list[Effect]:
    addresses = span.addresses[:MAX_ACCOUNTS]
    reads = [_account(view, address, at) for address in addresses for at in (span.before, span.after)]
    found = await asyncio.gather(*reads)
    told = map(effect, addresses, found[::2], found[1::2])
    return [each for each in told if each is not None]


async def _account(view: View, address: str, position: int) -> dict[str, Any] | None:
    """Return an account as it stood at a position, None if it was not open then."""
    path = f"/ledgers/{view.ledger}/accounts/{address}"
    reply = await view.api.look(path, at_position=position)
    if reply.status == HTTPStatus.NOT_FOUND:
        return None
    if reply.is_refusal:
        raise Refused(reply)
    account: dict[str, Any] = reply.content
    return account
