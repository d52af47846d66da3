"""An account's balance over time, from the part of its statement that is shown and readings of the time before it."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC
from typing import Any, NamedTuple
from urllib.parse import urlencode

from api.console.drawings.balance_chart import Chart, Point, drawn, steps_of
from api.console.formats import figure, grouped
from api.console.inside import Reply
from api.console.pages.books.changes import LIMITS
from api.console.pages.books.moments import Moment, bounds_of
from api.console.view import View
from domain.model.times import Instant, instant, moment

READINGS = 10
"""How many balances are read of the time before the entries shown."""


class Place(NamedTuple):
    """A moment that the slider stops at: the parameters of the page that shows it, and what it is called."""

    asked: Mapping[str, str]
    words: str

    @property
    def query(self) -> str:
        """The parameters as they stand in an address."""
        return urlencode(self.asked)


class History(NamedTuple):
    """The chart of a balance, and the places of its slider, oldest first. `shown` is the place that the page shows."""

    chart: Chart | None
    readings: int
    places: Sequence[Place]
    shown: int


async def history_of(
    view: View, account: Mapping[str, Any], entries: Reply, by: str, past: Moment | None, now: Instant
) -> History:
    """Return the history of an account that a page of its statement, newest first, shows."""
    if entries.is_refusal:
        return History(None, 0, [], 0)
    page = entries.content
    listed = page["data"][::-1]
    is_newest = not view.query.get("cursor") and not view.query.get("to")
    readings = await _readings(view, account, listed, by) if listed and page["next_cursor"] else []
    steps = steps_of(listed, by, account["normal_side"])
    until = now if is_newest or not steps else steps[-1].at
    limits = {name: account[name] for name in LIMITS}
    chart = drawn(steps, readings, until, limits, _time_of(past, listed, by))
    # The slider shows the account as it was recorded, so it stops at recorded times only.
    places = _places(listed, readings, account["asset"]) if by == "recorded" and is_newest else []
    return History(chart, len(readings), places, _index_of(past, places))


async def _readings(
    view: View, account: Mapping[str, Any], listed: Sequence[Mapping[str, Any]], by: str
) -> list[Point]:
    """Read the balance at even times between the beginning and the first entry that is listed."""
    begin = bounds_of(view.query)["from"] or account["opened_at"]
    times = _between(begin, listed[0][f"{by}_at"], READINGS)
    replies = await asyncio.gather(
        *(view.api.look(f"{view.resource}/balance", at=time, clock=by) for time in times)
    )
    return [Point(reply.content["at"], reply.content["balance"]) for reply in replies if not reply.is_refusal]


def _between(begin: Instant, end: Instant, many: int) -> list[Instant]:
    """Return `many` times from `begin` on, evenly spaced, all before `end`. There is none if `end` is not later."""
    first, span = moment(begin), moment(end) - moment(begin)
    if span.total_seconds() <= 0:
        return []
    return [instant((first + span * number / many).astimezone(UTC)) for number in range(many)]


def _time_of(past: Moment | None, listed: Sequence[Mapping[str, Any]], by: str) -> Instant | None:
    """Return where a moment stands on the clock of the chart, None if that cannot be told from the entries listed."""
    if past is None:
        return None
    if past.at is not None:
        return past.at
    asked = past.asked["at_position"]
    before = [entry for entry in listed if asked.isdecimal() and entry["position"] <= int(asked)]
    return before[-1][f"{by}_at"] if before else None


def _places(listed: Sequence[Mapping[str, Any]], readings: Sequence[Point], asset: str) -> list[Place]:
    read = [Place({"at": at}, f"{_second(at)} · {figure(balance, asset)}") for at, balance in readings]
    changes = [
        Place(
            {"at_position": str(entry["position"])},
            f"position {grouped(entry['position'])} · {_second(entry['recorded_at'])}"
            f" · {figure(entry['balance_after'], asset)}",
        )
        for entry in listed
    ]
    return [*read, *changes, Place({}, "now")]


def _index_of(past: Moment | None, places: Sequence[Place]) -> int:
    """Return the place that a moment is, the last one if it is none of them."""
    asked = dict(past.asked) if past else {}
    return next((index for index, place in enumerate(places) if place.asked == asked), len(places) - 1)


def _second(time: Instant) -> str:
    return f"{time[:10]} {time[11:19]}"
