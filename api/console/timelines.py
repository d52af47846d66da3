"""The moments of a trace as a page tells them: on whose side each happened, how it is to be taken, and how long after
the first.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any, Literal, NamedTuple

from api.console.formats import link, request_page
from domain.model.times import Instant, moment
from projections.diagnosis.glossary import Tone
from projections.diagnosis.trace.timeline import MomentKind

Lane = Literal["client", "journal", "projections", "provider", "receivers"]
LANES: tuple[Lane, ...] = ("client", "journal", "projections", "provider", "receivers")

MAX_TOLD_ONE_BY_ONE = 12
"""Events of one command are told one by one up to this number. More of them are told together, as are all projections
that had reached the story.
"""

_TOLD: Mapping[MomentKind, tuple[Lane, Tone]] = {
    "request_accepted": ("client", "calm"),
    "request_decided": ("client", "good"),
    "request_refused": ("client", "bad"),
    "request_replayed": ("client", "calm"),
    "key_mismatched": ("client", "bad"),
    "payout_resolved": ("client", "calm"),
    "event_recorded": ("journal", "good"),
    "projection_reached": ("projections", "good"),
    "projection_behind": ("projections", "wait"),
    "projection_held": ("projections", "bad"),
    "dead_letter_opened": ("projections", "bad"),
    "dead_letter_closed": ("projections", "calm"),
    "provider_called": ("provider", "calm"),
    "provider_silent": ("provider", "doubt"),
    "provider_answered": ("provider", "good"),
    "provider_called_back": ("provider", "good"),
    "delivery_sent": ("receivers", "calm"),
    "delivery_duplicated": ("receivers", "calm"),
    "delivery_acknowledged": ("receivers", "good"),
    "delivery_waiting": ("receivers", "wait"),
    "delivery_failed": ("receivers", "bad"),
    "delivery_suppressed": ("receivers", "calm"),
}


class Told(NamedTuple):
    """A moment, or several (`number`) that are told as one, in the lane where it happened.

    `after_seconds` counts from the first moment of the story; None if the time is unknown or still to come.
    `address` is the page of what it happened to.
    """

    time: Instant | None
    after_seconds: float | None
    lane: Lane
    tone: Tone
    what: str
    words: str
    actor: str | None
    subject: str
    address: str
    position: int | None
    number: int = 1


def told(timeline: Sequence[Mapping[str, Any]], ledger: str) -> list[Told]:
    """Return a trace's timeline as it is told. The order stays."""
    begin = next((moment(each["time"]) for each in timeline if each["time"]), None)
    return [_told(moments, ledger, begin) for moments in _together(timeline)]


def _together(timeline: Iterable[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    """Yield the moments one by one, except those of which many say the same."""
    for (kind, _), group in groupby(timeline, _likeness):
        moments = list(group)
        is_one = kind == "projection_reached" or (
            kind == "event_recorded" and len(moments) > MAX_TOLD_ONE_BY_ONE
        )
        yield from [moments] if is_one else [[each] for each in moments]


def _likeness(each: Mapping[str, Any]) -> tuple[str, Instant | None]:
    """Return what neighbours share that may be told together: events share their command's time."""
    return each["kind"], None if each["kind"] == "projection_reached" else each["time"]


def _told(moments: Sequence[Mapping[str, Any]], ledger: str, begin: datetime | None) -> Told:
    last, number = moments[-1], len(moments)
    lane, tone = _TOLD[last["kind"]]
    after = (moment(last["time"]) - begin).total_seconds() if last["time"] and begin else None
    return Told(
        last["time"],
        after,
        lane,
        tone,
        last["kind"].replace("_", " "),
        _words(moments),
        last["actor"],
        *_subject(moments, ledger),
        last["position"],
        number,
    )


def _words(moments: Sequence[Mapping[str, Any]]) -> str:
    last, number = moments[-1], len(moments)
    if number == 1:
        return str(last["words"])
    if last["kind"] == "projection_reached":
        names = ", ".join(each["subject"].removeprefix("projections/") for each in moments)
        return f"{number} projections had reached it by then: {names}"
    return f"{number} events together, the last: {last['words']}"


def _subject(moments: Sequence[Mapping[str, Any]], ledger: str) -> tuple[str, str]:
    """Return the name of what moments happened to, and the address of its page."""
    last = moments[-1]
    if len(moments) > 1 and last["kind"] == "projection_reached":
        return "projections", link("/v1/projections")
    return last["subject"], page_of_subject(last["kind"], last["subject"], last["position"], ledger)


def page_of_subject(kind: str, subject: str, position: int | None, ledger: str) -> str:
    """Return the address of the page of a moment's subject."""
    if kind.startswith(("request_", "key_")):
        return request_page(subject, ledger)
    if kind == "event_recorded":
        of, _, rest = subject.partition("/")
        return link(f"/v1/ledgers/{of}" if rest == "ledger" else f"/v1/ledgers/{of}/{rest}")
    if subject.startswith("payouts/"):
        return link(f"/v1/ledgers/{ledger}/{subject}")
    if subject.startswith("webhooks/"):
        return link(f"/v1/{subject}/deliveries/{position}")
    return link(f"/v1/{subject}")


def who_sent(timeline: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the moments at which somebody sent the request: the first time, again, or another one under its key."""
    return [
        each
        for each in timeline
        if each["kind"] in ("request_accepted", "request_replayed", "key_mismatched")
    ]
