"""The thing that an action is about, in a few facts, so that nobody acts on another one by mistake."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from api.console.actions.action import Action, filled, named_installation
from api.console.formats import money
from api.console.inside import Reply
from api.console.permission import has_route
from api.console.view import View
from projections.diagnosis.glossary import Thing, term

_MEMBERS = (
    *("name", "url", "description", "address", "account", "balance", "amount", "provider", "destination"),
    *("reference", "kind", "projection", "type", "stream", "position", "roles", "ledgers", "status", "state"),
)
_MONEY = frozenset({"balance", "amount"})
_THINGS: Mapping[str, Thing] = {
    "accounts": "account",
    "transactions": "transaction",
    "payouts": "payout",
    "projections": "projection",
    "dead-letters": "dead_letter",
    "webhooks": "webhook",
    "deliveries": "delivery",
}
"""How the glossary calls what has a path of this kind."""


class Fact(NamedTuple):
    """A fact about a thing: a name, and a value in words."""

    label: str
    value: Any


async def subject_of(view: View, declared: Action) -> Reply | None:
    """Read the thing that an action is about; None if it is about none."""
    route, has_thing, _ = declared.route.rpartition("}")
    if not has_thing:
        return None
    if not has_route("GET", f"{route}}}"):
        # The API shows keys only as a list. The first event of a key tells what it may do.
        return await view.api.look("/audit/events", key_id=view.names["id"], page_size=1)
    path = filled(f"{route}}}".removeprefix("/v1"), view.names, escape=False)
    return await view.api.look(path, **named_installation(view, "GET", f"{route}}}"))


def facts_of(declared: Action, subject: Reply | None) -> list[Fact]:
    """Return what tells the thing of an action from others; nothing if the caller may not read it."""
    if subject is None or subject.is_refusal:
        return []
    thing = subject.content
    if "data" in thing:
        thing = next((event["payload"] for event in thing["data"]), {})
    kind = _THINGS.get(declared.route.rpartition("/{")[0].rpartition("/")[2])
    return list(_told(thing, kind))


def _told(thing: Mapping[str, Any], kind: Thing | None) -> Iterator[Fact]:
    for member in _MEMBERS:
        if (value := thing.get(member)) in (None, "", [], {}):
            continue
        if member in _MONEY:
            value = money(value, thing.get("asset"))
        elif member in ("status", "state") and kind:
            value = term(kind, value).words
        elif isinstance(value, Mapping):
            value = ", ".join(f"{name}: {each}" for name, each in value.items())
        elif isinstance(value, list):
            value = ", ".join(value)
        yield Fact("URL" if member == "url" else member.capitalize(), value)
