"""What is safe to do next, and what is not: a remedy's code and the thing it is for, made into actions of the console.

The words come from the remedies themselves. Here stands which actions do what they say, which page shows more, and why
what suggests itself instead is not safe.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple
from urllib.parse import parse_qsl, quote

from api.console.formats import link
from projections.diagnosis.remedies import Remedy, kind_of, names_of
from projections.registry import NATS


class Step(NamedTuple):
    """A safe step: an action with the names in its path or, if it has none, the page at an address.

    `given` are the parameters of the action's page, such as the installation of the thing.
    """

    action: str = ""
    names: Mapping[str, str] = {}
    label: str = ""
    address: str = ""
    given: Mapping[str, str] = {}


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
    "name_installation": _MAY_HAVE_LEFT,
    "send_again": "If the first request still arrives, both would be done. Under one key only one can.",
}


def next_steps(remedy: Remedy, resource: str) -> list[Step]:
    """Return what is safe to do about a thing: its actions, otherwise the pages that help.

    `resource` is the thing's path in the API, empty if there is no single one.
    """
    names, given = _names_of(resource), dict(parse_qsl(resource.partition("?")[2]))
    steps = [
        Step(action, names, given=given)
        for action in _SAFE.get(remedy, ())
        if names and (action, names.get("name")) != ("rebuild-projection", NATS)
    ]
    return steps or list(_pages(remedy, resource))


def unsafe_steps(remedy: Remedy, resource: str) -> list[Unsafe]:
    """Return what suggests itself while a thing needs a remedy and is not safe, with the reasons."""
    kind, unsafe = _kind_of(resource), []
    if kind in _UNDER_A_NEW_KEY and remedy in _WHY_NO_NEW_KEY:
        unsafe.append(Unsafe(_UNDER_A_NEW_KEY[kind], _WHY_NO_NEW_KEY[remedy]))
    if remedy == "ask_provider":
        why = "A time-out is not a failure. If the money left, the account would have it twice."
        unsafe.append(Unsafe("Give the money back to the account", why))
    return unsafe


def _pages(remedy: Remedy, resource: str) -> Iterator[Step]:
    """Yield where a new posting is made, if the remedy is one, and the thing's own page."""
    ledger, kind = names_of(resource).get("ledger"), _kind_of(resource)
    if ledger and kind == "transactions" and remedy in _MADE_AGAIN:
        yield Step(label="Compose a new one", address=f"/console/ledgers/{quote(ledger)}/try")
    if kind in _SEE:
        yield Step(label=_SEE[kind], address=link(resource))


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
