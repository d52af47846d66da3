"""What a benchmark yields: timed runs, what they amount to, and what they are compared with.

A figure by itself says more of the machine than of the program, so a workload is judged by the ratio to a yardstick
that was measured in the same run (DESIGN.md, What makes it fast, and how that is shown).
"""

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from types import MappingProxyType
from typing import NamedTuple

NOTHING: Mapping[str, float] = MappingProxyType({})


class BenchFailed(RuntimeError):
    """A workload did not do what it was asked, so that its figures mean nothing; the message says what."""


class Measurement(NamedTuple):
    """One timed run: how many units of work were done, in how many seconds, and what else was measured."""

    units: int
    seconds: float
    details: Mapping[str, float] = NOTHING

    @property
    def rate(self) -> float:
        """Units per second."""
        return self.units / self.seconds


class Contestant(NamedTuple):
    """A workload or a yardstick.

    `run` does about the number of units that it is asked for, or as many as it must, and times them. `warm_up` is that
    number for the run that is not counted, `most` the bound of any run.
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
        """Return the median of something else that was measured, None where it was not."""
        found = [reading.details[name] for reading in self.readings if name in reading.details]
        return median(found) if found else None


def in_digits(value: float) -> str:
    """Return a figure as people read it: whole from 100 on, else in three digits."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
