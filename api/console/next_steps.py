"""What is safe to do next, and what is not: a remedy's code and the thing it is for, made into actions of the console.

The words come from the remedies themselves. Here stands which actions do what they say, which page shows more, and why
what suggests itself instead is not safe.
"""

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple
from urllib.parse import quote

from api.console.formats import link
from projections.diagnosis.remedies import Remedy, kind_of, names_of


class Step(NamedTuple):
    """Something to do. `action` is the name of an action, `names` the names in its path.

    `why_unsafe` says why it must not be done now; None if it is safe.
    """

    action: str
    names: Mapping[str, str]
    why_unsafe: str | None = None


class Place(NamedTuple):
    """A page that shows more."""

    label: str
    address: str


class Unsafe(NamedTuple):
    """What somebody might want to do, in words, and why it is not safe."""

    label: str
    why: str


_SAFE: Mapping[Remedy, tuple[str, ...]] = {
    "end_hold": ("settle-hold", "void-hold"),
    "ask_provider": ("reconcile-payout",),
    "resolve_payout": ("complete-payout", "fail-payout"),
    "decide_dead_letter": ("retry-dead-letter", "discard-dead-letter"),
    "mend_projection": ("resume-projection", "rebuild-projection"),
    "resume_projection": ("resume-projection",),
    "retry_delivery": ("retry-delivery", "discard-delivery"),
    "enable_webhook": ("enable-webhook",),
}
"""The actions that carry out a remedy, the usual one first. A remedy that is missing is carried out elsewhere."""

_MADE_AGAIN: frozenset[Remedy] = frozenset({"use_new_key", "hold_again"})
"""The remedies that are a new posting."""

_SEE: Mapping[str, str] = {
    "transactions": "See the transaction",
    "payouts": "See the payout",
    "webhooks": "See what the receiver answers",
    "projections": "See the projection",
    "dead-letters": "See the dead letter",
}

_UNDER_A_NEW_KEY = {
    "transactions": "Send the same again under a new key",
    "payouts": "Pay out again under a new key",
}
_GOES_ON = "The recorded request is still carried out. Under a new key it would be done twice."
_MAY_HAVE_LEFT = "The money may have left. A second payout may pay it twice."
_WHY_NO_NEW_KEY: Mapping[Remedy, str] = {
    "nothing": "It is recorded already. Under a new key it would be done a second time.",
    "wait": _GOES_ON,
    "start_worker": _GOES_ON,
    "end_hold": "The amounts are held already. Under a new key they would be held twice.",
    "ask_provider": _MAY_HAVE_LEFT,
    "resolve_payout": _MAY_HAVE_LEFT,
    "send_again": "If the first request still arrives, both would be done. Under one key only one can.",
}

_COMMAND = re.compile(r"`([^`]+)`|To end it: (SELECT [^;]+;)")


def next_steps(remedy: Remedy, resource: str) -> list[Step]:
    """Return what to do about a thing, the safe steps first. `resource` is its path in the API."""
    names = _names_of(resource)
    safe = [Step(action, names) for action in _SAFE.get(remedy, ())]
    return safe + [Step("request-payout", names, why) for _, why in _again(remedy, resource, "payouts")]


def unsafe_steps(remedy: Remedy, resource: str) -> list[Unsafe]:
    """Return what suggests itself while a thing needs a remedy and is not safe, with the reasons."""
    unsafe = [again for kind in _UNDER_A_NEW_KEY for again in _again(remedy, resource, kind)]
    if remedy == "ask_provider":
        why = "A time-out is not a failure. If the money left, the account would have it twice."
        unsafe.append(Unsafe("Give the money back to the account", why))
    return unsafe


def places(remedy: Remedy, resource: str) -> list[Place]:
    """Return the pages that help: where a new posting is made, if the remedy is one, and the thing's own."""
    ledger, kind = names_of(resource).get("ledger"), _kind_of(resource)
    found = [Place(_SEE[kind], link(resource))] if kind in _SEE else []
    if ledger and kind == "transactions" and remedy in _MADE_AGAIN:
        found.insert(0, Place("Compose a new one", f"/console/ledgers/{quote(ledger)}/try"))
    return found


def commands_in(words: str) -> list[str]:
    """Return the commands that an explanation contains, ready to paste, without their repetitions."""
    return list(dict.fromkeys(_commands_in(words)))


def page_of(remedy: Remedy, resource: str) -> str:
    """Return the path, as the API writes it, of the page that shows a thing and how it goes on."""
    if remedy == "wait" and kind_of(resource) == "webhooks" and "/deliveries" not in resource:
        return f"{resource}/deliveries"
    return resource


def _again(remedy: Remedy, resource: str, kind: str) -> Iterator[Unsafe]:
    """Yield that a request for a thing of this kind must not be made again, if that is so."""
    if kind == _kind_of(resource) and (why := _WHY_NO_NEW_KEY.get(remedy)):
        yield Unsafe(_UNDER_A_NEW_KEY[kind], why)


def _commands_in(words: str) -> Iterator[str]:
    for quoted, statement in _COMMAND.findall(words):
        if statement or quoted.startswith("tallystick "):
            yield statement or quoted


def _kind_of(resource: str) -> str:
    """Return the kind of a thing, also of one in a ledger: `payouts` for `/v1/ledgers/main/payouts/ID`."""
    parts = resource.split("/")
    return parts[4] if kind_of(resource) == "ledgers" and len(parts) > 4 else kind_of(resource)


def _names_of(resource: str) -> Mapping[str, str]:
    """Return the names in a thing's path, as the routes of its actions call them."""
    names = names_of(resource)
    if "position" in names:
        return {"id": names["id"], "delivery": names["position"]}
    return {"name": names["id"]} if kind_of(resource) == "projections" else names
