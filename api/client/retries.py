"""When a request is sent again: which answers allow it, after what pause, and until when. Pure."""

from collections.abc import Mapping
from dataclasses import astuple, dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

REPEATABLE = frozenset({408, 425, 429, 502, 503, 504})
"""The statuses after which the same request may be sent again. A refusal is final and is never repeated."""


@dataclass(frozen=True, slots=True)
class Policy:
    """How long a call goes on, and how often it tries. All times are in seconds.

    Raises `ValueError` for a number below zero, and for a last deadline before the first.
    """

    deadline_seconds: float = 30.0
    """After this, a keyed request is no longer just repeated: the client asks what became of its key."""
    last_deadline_seconds: float = 60.0
    """After this the call ends, whatever is known."""
    attempt_seconds: float = 10.0
    """How long one attempt may take."""
    max_attempts: int = 30
    """How many attempts the first deadline allows."""
    first_pause_seconds: float = 0.05
    longest_pause_seconds: float = 2.0

    def __post_init__(self) -> None:
        if not all(number >= 0 for number in astuple(self)):
            raise ValueError(f"a number below zero in {self}")
        if self.last_deadline_seconds < self.deadline_seconds:
            raise ValueError(f"the last deadline is before the first in {self}")

    def pause_seconds(self, attempts: int, chance: float, retry_after_seconds: float = 0.0) -> float:
        """Return the pause after so many attempts: a random part of a bound that doubles each time.

        The random part keeps many clients from coming back at once; `chance` is from 0 to 1. The pause is at least what
        the service asked for.
        """
        bound = min(self.longest_pause_seconds, self.first_pause_seconds * 2.0 ** min(attempts - 1, 30))
        return retry_after_seconds + bound * chance


@dataclass(slots=True)
class Attempts:
    """The attempts of one call until a moment."""

    policy: Policy
    until: float
    allowed: int
    made: int = 0
    is_last: bool = False
    """Whether nothing follows them. Then a service that asks for more time than is left is asked once more before."""

    def next_pause(self, now: float, chance: float, retry_after_seconds: float = 0.0) -> float | None:
        """Return the pause before the next attempt, None if there is no time or no attempt left."""
        if self.is_last:
            retry_after_seconds = min(retry_after_seconds, max(0.0, self.until - now) / 2)
        pause = self.policy.pause_seconds(self.made, chance, retry_after_seconds)
        return None if self.made >= self.allowed or now + pause >= self.until else pause

    def seconds_left(self, now: float, at_most: float) -> float:
        """Return how long the next attempt may take."""
        return max(0.001, min(at_most, self.until - now))


def retry_after_seconds(headers: Mapping[str, str], now: datetime | None = None) -> float:
    """Return for how long the service asks to wait: seconds or a date, 0 if it does not say.

    A date counts from the service's own `Date`, whatever the clock here shows.
    """
    said = headers.get("retry-after", "").strip()
    if said.isascii() and said.isdigit():
        return float(said)
    sent_at = _moment(headers.get("date", "")) or now or datetime.now(UTC)
    return max(0.0, ((_moment(said) or sent_at) - sent_at).total_seconds())


def _moment(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
