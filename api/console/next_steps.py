"""What is safe to do next, as actions of the console: a remedy's code and the thing it is for, made into buttons.

The words come from the remedies themselves. Here stands only which of the console's actions does what they say.
"""

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from projections.diagnosis.remedies import Remedy, kind_of, names_of


class Step(NamedTuple):
    """Something to do. `action` is the name of an action, `names` the names in its path.

    `why_unsafe` says why it must not be done now; None if it is safe.
    """

    action: str
    names: Mapping[str, str]
    why_unsafe: str | None = None


_SAFE: Mapping[Remedy, tuple[str, ...]] = {
    "ask_provider": ("reconcile-payout",),
    "resolve_payout": ("complete-payout", "fail-payout"),
    "decide_dead_letter": ("retry-dead-letter", "discard-dead-letter"),
    "mend_projection": ("resume-projection", "rebuild-projection"),
    "resume_projection": ("resume-projection",),
    "retry_delivery": ("retry-delivery", "discard-delivery"),
    "enable_webhook": ("enable-webhook",),
}
"""The actions that carry out a remedy, the usual one first. A remedy that is missing is carried out elsewhere."""

_PAYS_TWICE = "The money may have left. A second payout may pay it twice."
_UNSAFE: Mapping[Remedy, tuple[tuple[str, str], ...]] = {
    "ask_provider": (("request-payout", _PAYS_TWICE),),
    "resolve_payout": (("request-payout", _PAYS_TWICE),),
}
"""The actions that suggest themselves and must not be done, each with the reason."""

_COMMAND = re.compile(r"`([^`]+)`|To end it: (SELECT [^;]+;)")


def next_steps(remedy: Remedy, resource: str) -> list[Step]:
    """Return what to do about a thing, the safe steps first. `resource` is its path in the API."""
    names = _names_of(resource)
    safe = [Step(action, names) for action in _SAFE.get(remedy, ())]
    return safe + [Step(action, names, why) for action, why in _UNSAFE.get(remedy, ())]


def commands_in(words: str) -> list[str]:
    """Return the commands that an explanation contains, ready to paste, without their repetitions."""
    return list(dict.fromkeys(_commands_in(words)))


def page_of(remedy: Remedy, resource: str) -> str:
    """Return the path, as the API writes it, of the page that shows a thing and how it goes on."""
    if remedy == "wait" and kind_of(resource) == "webhooks":
        return f"{resource}/deliveries"
    return resource


def _commands_in(words: str) -> Iterator[str]:
    for quoted, statement in _COMMAND.findall(words):
        if statement or quoted.startswith("tallystick "):
            yield statement or quoted


def _names_of(resource: str) -> Mapping[str, str]:
    """Return the names in a thing's path, as the routes of its actions call them."""
    names = names_of(resource)
    if "position" in names:
        return {"id": names["id"], "delivery": names["position"]}
    return {"name": names["id"]} if kind_of(resource) == "projections" else names
