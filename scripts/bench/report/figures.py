"""What a benchmark yields: timed runs, their medians, and details.

A figure alone says more about the machine than about the program. So a workload is judged by its ratio to a yardstick
measured in the same run.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from types import MappingProxyType
from typing import NamedTuple

NOTHING: Mapping[str, float] = MappingProxyType({})


class BenchFailed(RuntimeError):
    """A workload did not do what it was asked, so its figures mean nothing. The message says what went wrong."""


class Measurement(NamedTuple):
    """One timed run: the units of work done, the seconds it took, other measured details by name, and the processor
    time that it used, by role.
    """

    units: int
    seconds: float
    details: Mapping[str, float] = NOTHING
    processor_seconds: Mapping[str, float] = NOTHING

    @property
    def rate(self) -> float:
        """Units per second."""
        return self.units / self.seconds


class Contestant(NamedTuple):
    """A workload or a yardstick.

    `run` does about the number of units it is given, or as many as it must, and times them. `warm_up` is the number for
    the uncounted first run. `most` bounds every run. A contestant has no uncounted run if its `rate` is set and each
    of its runs warms up by itself.
    """

    name: str
    unit: str
    run: Callable[[int], Measurement]
    warm_up: int
    most: int
    rate: float | None = None


class Figures(NamedTuple):
    """The runs of a contestant, one for each round."""

    name: str
    unit: str
    readings: Sequence[Measurement]

    @property
    def rates(self) -> list[float]:
        """The rate of each run, in the order of the rounds."""
        return [reading.rate for reading in self.readings]

    @property
    def median(self) -> float:
        """The median of the rates."""
        return median(self.rates)

    def detail(self, name: str) -> float | None:
        """Return the median of a measured detail. None if it was not measured."""
        found = [reading.details[name] for reading in self.readings if name in reading.details]
        return median(found) if found else None

    @property
    def processor_microseconds(self) -> dict[str, float]:
        """The processor time of a unit over all runs, by role."""
        units = sum(reading.units for reading in self.readings)
        used: Counter[str] = Counter()
        for reading in self.readings:
            used.update({role: round(seconds * 1e9) for role, seconds in reading.processor_seconds.items()})
        return {role: nanoseconds / units / 1000 for role, nanoseconds in used.items()}


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure of several rounds: the median, the lowest and the highest."""

    median: float
    lowest: float
    highest: float

    @property
    def width(self) -> float:
        """From the lowest to the highest."""
        return self.highest - self.lowest


def spread(values: Sequence[float]) -> Spread:
    """Return the spread of a figure's values, one for each round."""
    return Spread(median(values), min(values), max(values))


def in_digits(value: float) -> str:
    """Return a figure as text: a whole number from 100 on, else three digits."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
