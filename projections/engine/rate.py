"""A rate in events per second, averaged over the last moments."""

import math
from collections.abc import Callable
from time import monotonic

RATE_SECONDS = 5.0
"""The period over which a rate is averaged. Older events count for less than 1/e."""


class Rate:
    """A fading average: events older than `fade_seconds` count for less than 1/e."""

    def __init__(self, fade_seconds: float, clock: Callable[[], float] = monotonic) -> None:
        self._fade_seconds = fade_seconds
        self._clock = clock
        self._measured_at = clock()
        self._weight = 0.0
        self._average = 0.0

    @property
    def events_per_second(self) -> float:
        """The rate at the last measurement, or 0 before the first."""
        return self._average

    def measure(self, events: int) -> float:
        """Count the events since the last measurement, and return the rate."""
        now = self._clock()
        elapsed_seconds = max(now - self._measured_at, 1e-6)
        kept = self._weight * math.exp(-elapsed_seconds / self._fade_seconds)
        added = 1 - math.exp(-elapsed_seconds / self._fade_seconds)
        self._average = (kept * self._average + added * events / elapsed_seconds) / (kept + added)
        self._weight = kept + added
        self._measured_at = now
        return self._average
