"""What was changed about an account apart from its amounts: its limits, metadata and status, by whom and when."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from api.console.formats import figure

TYPES = (
    "account.opened",
    "account.limits_changed",
    "account.metadata_changed",
    "account.frozen",
    "account.unfrozen",
    "account.closed",
)
LIMITS = ("min_balance", "max_balance")

_WORDS = {
    "account.opened": "opened",
    "account.metadata_changed": "metadata replaced",
    "account.frozen": "frozen",
    "account.unfrozen": "unfrozen",
    "account.closed": "closed",
}


class Change(NamedTuple):
    """A change in words, and the event that recorded it."""

    words: str
    event: Mapping[str, Any]


def changes_of(events: Sequence[Mapping[str, Any]], asset: str, *, is_whole: bool) -> list[Change]:
    """Return changes from events of `TYPES`, newest first.

    A change of limits tells both the former and the new one. If the events are not the `is_whole` history, the former
    limits of the oldest change are not known, and are left out.
    """
    limits: Mapping[str, Any] | None = None
    told: list[Change] = []
    for event in sorted(events, key=lambda event: event["position"]):
        payload = event["payload"] or {}
        if event["type"] == "account.limits_changed":
            told.append(Change(_limits_in_words(limits, payload, asset), event))
            limits = payload
        else:
            told.append(Change(_WORDS[event["type"]], event))
            limits = payload if event["type"] == "account.opened" and is_whole else limits
    return told[::-1]


def _limits_in_words(before: Mapping[str, Any] | None, after: Mapping[str, Any], asset: str) -> str:
    if before is None:
        parts = [f"{name} set to {_limit(after.get(name), asset)}" for name in LIMITS]
    else:
        parts = [
            f"{name} changed from {_limit(before.get(name), asset)} to {_limit(after.get(name), asset)}"
            for name in LIMITS
            if before.get(name) != after.get(name)
        ]
    return ", ".join(parts)


def _limit(amount: int | None, asset: str) -> str:
    return "no limit" if amount is None else figure(amount, asset)
