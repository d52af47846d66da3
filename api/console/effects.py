"""What an event did: accounts before and after it, side by side, with the differences marked. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from domain.model.streams import account_stream, name_of

MAX_ACCOUNTS = 4
"""So many accounts are shown before and after one command."""

_SUMS = (
    ("Posted debits", ("posted", "debits")),
    ("Posted credits", ("posted", "credits")),
    ("Pending debits", ("pending", "debits")),
    ("Pending credits", ("pending", "credits")),
    ("Balance", ("balance",)),
    ("Available", ("available",)),
    ("Lowest balance allowed", ("min_balance",)),
    ("Highest balance allowed", ("max_balance",)),
)


class Line(NamedTuple):
    """A fact about an account before and after. Those that `are_money` are minor units of its asset."""

    label: str
    before: Any
    after: Any
    are_money: bool

    @property
    def is_changed(self) -> bool:
        """Whether the event changed it."""
        return bool(self.before != self.after)


class Effect(NamedTuple):
    """An account before and after, fact by fact."""

    address: str
    asset: str
    lines: Sequence[Line]


def effect(address: str, was: Any, now: Any) -> Effect | None:
    """Return how an account changed between two positions, None if it is there at neither.

    `was` and `now` are the account as the API answers, None where it was not open.
    """
    shown = now or was
    if shown is None:
        return None
    sums = [Line(label, _member(was, path), _member(now, path), True) for label, path in _SUMS]
    status = Line("Status", _member(was, ("status",)), _member(now, ("status",)), False)
    metadata = [
        Line(f"Metadata {name}", _member(was, ("metadata", name)), _member(now, ("metadata", name)), False)
        for name in sorted({*_names(was), *_names(now)})
    ]
    return Effect(address, shown["asset"], [*sums, status, *metadata])


def _member(account: Any, path: Sequence[str]) -> Any:
    for name in path:
        account = None if account is None else account.get(name)
    return account


def _names(account: Any) -> Iterable[str]:
    return () if account is None else account["metadata"]


def recorded_together(position: int, events: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the events of one command: those around a position without a gap and with the same cause.

    `events` are in the order of positions, and one of them is at the position.
    """
    by_position = {event["position"]: event for event in events}
    cause = by_position[position]["causation_id"]

    def belongs(at: int) -> bool:
        return at in by_position and by_position[at]["causation_id"] == cause

    first = last = position
    while belongs(first - 1):
        first -= 1
    while belongs(last + 1):
        last += 1
    return [by_position[at] for at in range(first, last + 1)]


class Span(NamedTuple):
    """Two positions between which accounts changed, and the addresses of the accounts."""

    before: int
    after: int
    addresses: Sequence[str]


def span_of(ledger: str, event: Mapping[str, Any], together: Sequence[Mapping[str, Any]]) -> Span:
    """Return between which positions an event changed which accounts.

    An account's own event changed that account at its position. Any other event belongs to a command, whose events
    `together` changed theirs.
    """
    if own := accounts_of(ledger, [event]):
        return Span(event["position"] - 1, event["position"], own)
    return Span(together[0]["position"] - 1, together[-1]["position"], accounts_of(ledger, together))


def accounts_of(ledger: str, events: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the addresses of the accounts whose own events are among these, each once, in their order."""
    beginning = account_stream(ledger, "")
    streams = (event["stream"] for event in events)
    return list(dict.fromkeys(name_of(stream) for stream in streams if stream.startswith(beginning)))
