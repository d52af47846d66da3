"""The next steps: what is safe to do about a thing, as actions of the console, and what is not safe, with the reason.

A remedy of the diagnosis says in words what is safe. Here each remedy leads to the actions that carry it out, or to the
page where somebody sees more.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple
from urllib.parse import quote

from api.console.actions import ACTIONS
from api.console.formats import link
from projections.diagnosis.remedies import Remedy, kind_of, names_of


class Step(NamedTuple):
    """A safe step: an action with the names that it takes, or the page at an address."""

    label: str
    action: str = ""
    names: Mapping[str, str] = {}
    address: str = ""


class Unsafe(NamedTuple):
    """What somebody might want to do, and why it is not safe."""

    label: str
    why: str


_ACTIONS: Mapping[Remedy, tuple[str, ...]] = {
    "end_hold": ("settle-hold", "void-hold"),
    "ask_provider": ("reconcile-payout",),
    "resolve_payout": ("complete-payout", "fail-payout"),
    "decide_dead_letter": ("retry-dead-letter", "discard-dead-letter"),
    "mend_projection": ("resume-projection", "rebuild-projection"),
    "resume_projection": ("resume-projection",),
    "retry_delivery": ("retry-delivery", "discard-delivery"),
    "enable_webhook": ("enable-webhook",),
}
"""The actions that carry out a remedy."""

_AGAIN: frozenset[Remedy] = frozenset({"use_new_key", "hold_again", "pay_out_again"})
"""The remedies that are a new request."""

_LABELS: Mapping[str, str] = {
    "transactions": "See the transaction",
    "payouts": "See the payout",
    "webhooks": "See the deliveries",
    "projections": "See the projection",
    "dead-letters": "See the dead letter",
}

_REQUESTS = {"transactions": "Send it again under a new key", "payouts": "Pay out again under a new key"}
_TWICE = "It is recorded already. Under a new key it would be done a second time."
_GOES_ON = "The recorded request is still carried out. Under a new key it would be done twice."
_MAY_HAVE_LEFT = "The money may have left. Under a new key it could leave twice."

_OF_NEW_KEY: Mapping[Remedy, str] = {
    "nothing": _TWICE,
    "wait": _GOES_ON,
    "start_worker": _GOES_ON,
    "end_hold": "The amounts are held already. Under a new key they would be held twice.",
    "ask_provider": _MAY_HAVE_LEFT,
    "resolve_payout": _MAY_HAVE_LEFT,
    "send_again": "If the first request still arrives, both would be done. Under one key only one can.",
}
"""Why a new key would be unsafe."""


def next_steps(remedy: Remedy, resource: str) -> list[Step]:
    """Return the safe steps of a remedy for the thing at a path of the API. Some remedies only ask for patience."""
    names = _names(resource)
    steps = [
        Step(ACTIONS[name].label, name, names)
        for name in _ACTIONS.get(remedy, ())
        if name in ACTIONS and names
    ]
    return steps or list(_pages(remedy, resource))


def unsafe_steps(remedy: Remedy, resource: str) -> list[Unsafe]:
    """Return what is not safe while a remedy holds for the thing at a path of the API, with the reasons."""
    return list(_unsafe(remedy, kind_of_thing(resource)))


def kind_of_thing(resource: str) -> str:
    """Return the kind of the thing at a path, as the path writes it: `payouts` for `/v1/ledgers/main/payouts/ID`."""
    parts = resource.split("/")
    return parts[4] if kind_of(resource) == "ledgers" and len(parts) > 4 else kind_of(resource)


def _unsafe(remedy: Remedy, kind: str) -> Iterator[Unsafe]:
    if kind in _REQUESTS and remedy in _OF_NEW_KEY:
        yield Unsafe(_REQUESTS[kind], _OF_NEW_KEY[remedy])
    if kind == "payouts" and remedy == "ask_provider":
        yield Unsafe(
            "Give the money back to the account",
            "A time-out is not a failure. If the money left, the account would have it twice.",
        )
    if remedy == "end_session":
        yield Unsafe("Restart the service", "The session stays, and keeps the service waiting.")


def _pages(remedy: Remedy, resource: str) -> Iterator[Step]:
    """Yield the pages that help with a remedy: where a new request is made, and the thing itself."""
    ledger, kind = names_of(resource).get("ledger"), kind_of_thing(resource)
    if remedy in _AGAIN and ledger and kind == "transactions":
        yield Step("Compose a new one", address=f"/console/ledgers/{quote(ledger)}/try")
    if kind in _LABELS:
        yield Step(_LABELS[kind], address=page_of(resource))


def page_of(resource: str) -> str:
    """Return the address of a thing's page. A webhook's deliveries share one page."""
    if kind_of(resource) == "webhooks" and "deliveries" in resource.split("/"):
        return link(resource.rpartition("/")[0])
    return link(resource)


def _names(resource: str) -> dict[str, str]:
    """Return the names of a thing as the routes of its actions call them."""
    names = names_of(resource)
    match kind_of(resource):
        case "projections" if "id" in names:
            return {"name": names["id"]}
        case "webhooks" if "position" in names:
            return {"id": names["id"], "delivery": names["position"]}
    return names
