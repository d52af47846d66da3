"""Instants as text: always RFC 3339 in UTC with six digits of fraction.

In this form text order is time order, so decisions compare instants without parsing them, and instants are shown as
they are stored. Clocks are read at the edge and passed in.
"""

from datetime import UTC, datetime, timedelta
from typing import Annotated

from msgspec import Meta

# The format is only for schemas of events; decoding checks nothing more.
Instant = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]

FORMAT = "%Y-%m-%dT%H:%M:%S.%fZ"
EARLIEST: Instant = "0001-01-01T00:00:00.000000Z"


def instant(moment: datetime) -> Instant:
    """Return the instant of an aware datetime."""
    text = moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds")
    return text + "Z"


def moment(instant: Instant) -> datetime:
    """Return the aware datetime of an instant."""
    return datetime.fromisoformat(instant)


def later(since: Instant, seconds: float) -> Instant:
    """Return the instant this many seconds after `since`."""
    return instant(moment(since) + timedelta(seconds=seconds))


def seconds_until(now: Instant, then: Instant) -> float:
    """Return how many seconds after `now` the instant `then` is."""
    return (moment(then) - moment(now)).total_seconds()
