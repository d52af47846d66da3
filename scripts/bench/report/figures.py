"""What a benchmark yields: timed runs, their medians, and details.

A figure alone says more about the machine than about the program. So a workload is judged by its ratio to a yardstick
measured in the same run.
"""

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from types import MappingProxyType
from typing import NamedTuple

NOTHING: Mapping[str, float] = MappingProxyType({})


class BenchFailed(RuntimeError):
    """A workload did not do what it was asked, so its figures mean nothing. The message says what went wrong."""


class Measurement(NamedTuple):
    """One timed run: the units of work done, the seconds it took, and other measured details by name."""

    units: int
    seconds: float
    details: Mapping[str, float] = NOTHING

    @property
    def rate(self) -> float:
        """Units per second."""
        return self.units / self.seconds


class Contestant(NamedTuple):
    """A workload or a yardstick.

    `run` does about the number of units it is given, or as many as it must, and times them. `warm_up` is the number for
    the uncounted first run. `most` bounds every run.
    """

    name: str
    unit: str
    run: Callable[[int], Measurement]
    warm_up: int
    most: int


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


def in_digits(value: float) -> str:
    """Return a figure as text: a whole number from 100 on, else three digits."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
