"""The times and positions that the address of a page names, as parameters of the API.

A form sends days, and a day means the whole of it in UTC. An exact time is handed on as it is.
"""

import re
from collections.abc import Mapping
from datetime import date, timedelta
from typing import NamedTuple

from api.console.formats import grouped
from domain.model.times import Instant

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_CLOCK = re.compile(r"[0-9]{2}:[0-9]{2}(:[0-9]{2})?")
_LAST_MICROSECOND = "23:59:59.999999Z"


class Moment(NamedTuple):
    """A moment of the past: what to ask the API for, and how the moment is called."""

    asked: Mapping[str, str]
    words: str

    @property
    def at(self) -> str | None:
        """The recorded time, None if a position was named."""
        return self.asked.get("at")


def moment_of(query: Mapping[str, str], now: Instant) -> Moment | None:
    """Return the moment that an address names, None for the present. A day that is not over is the present."""
    if position := query.get("at_position"):
        return Moment({"at_position": position}, f"at position {grouped(position)}")
    given, clock = query.get("at", ""), query.get("time", "")
    if not given:
        return None
    if not _DAY.fullmatch(given):
        return Moment({"at": given}, f"at {given}")
    if _CLOCK.fullmatch(clock):
        return Moment(
            {"at": f"{given}T{clock if len(clock) > 5 else f'{clock}:00'}Z"}, f"at {given} {clock} UTC"
        )
    end = f"{given}T{_LAST_MICROSECOND}"
    return Moment({"at": end}, f"at the end of {given} UTC") if end < now else None


def bounds_of(query: Mapping[str, str], first: str = "from", last: str = "to") -> dict[str, str | None]:
    """Return the bounds of a list of the API: its upper bound is exclusive, so a last day ends with the next one."""
    since, until = query.get(first) or None, query.get(last) or None
    if since and _DAY.fullmatch(since):
        since = f"{since}T00:00:00Z"
    if until and _DAY.fullmatch(until):
        until = _day_after(until)
    return {first: since, last: until}


def _day_after(day: str) -> str:
    try:
        return f"{date.fromisoformat(day) + timedelta(days=1)}T00:00:00Z"
    except (ValueError, OverflowError):
        return day  # the API refuses it, and says why
