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


class Reading(NamedTuple):
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
    run: Callable[[int], Reading]
    warm_up: int
    most: int


class Figures(NamedTuple):
    """The runs of a contestant, one for each round."""

    name: str
    unit: str
    readings: Sequence[Reading]

    @property
    def rates(self) -> list[float]:
        """The rate of each run, in the order of the rounds."""
        return [reading.rate for reading in self.readings]

    @property
    def median(self) -> float:
        """The median of the rates."""
        return median(self.rates)


class Comparison(NamedTuple):
    """A workload and what it is held against, both measured in the same stage.

    With a yardstick, `bar` is the ratio of the medians to reach, without one the rate; None where it is only reported.
    """

    stage: str
    workload: str
    yardstick: str | None
    bar: float | None

    def score(self, figures: Mapping[str, Figures]) -> float:
        """Return what `bar` is to be compared with."""
        rate = figures[self.workload].median
        return rate if self.yardstick is None else rate / figures[self.yardstick].median


COMPARISONS = (
    Comparison("in-process", "in-process", "raw-append", 0.5),
    Comparison("in-process", "in-process", "library", 20),
    Comparison("in-process", "hot-account", "in-process", 0.9),
    Comparison("in-process", "batches-of-10", "batches-of-1", None),
    Comparison("in-process", "batches-of-100", "batches-of-1", None),
    Comparison("in-process", "batches-of-1000", "batches-of-1", None),
    Comparison("http", "http", "bare-route", 0.4),
    Comparison("http", "batches", "http", 5),
    Comparison("http", "batch-of-10000", None, None),
    Comparison("following", "own-write", None, None),
    Comparison("following", "lag", None, None),
    # A page of 100 of a long statement takes three times as long as one of a short statement at most.
    Comparison("statement", "statement", "short-statement", 1 / 3),
    Comparison("replay", "replay", "projection-runner", 50),
    Comparison("replay", "replay", None, 30_000),
)
"""Every comparison of the present stage."""


class Limit(NamedTuple):
    """What else was measured of a workload, by its name among the details, and what it must stay below."""

    workload: str
    detail: str
    below: float

    def most(self, figures: Mapping[str, Figures]) -> float:
        """Return the highest that was measured."""
        return max(reading.details[self.detail] for reading in figures[self.workload].readings)


LIMITS = (
    Limit("batch-of-10000", "peak_resident_megabytes", 500),
    Limit("own-write", "wait_p50_milliseconds", 30),
    Limit("own-write", "wait_p99_milliseconds", 250),
    Limit("lag", "lag_p99_milliseconds", 250),
)
"""Every limit of the present stage."""


def names_of(comparisons: Sequence[Comparison]) -> set[str]:
    """Return the names of all contestants that comparisons need."""
    workloads = {comparison.workload for comparison in comparisons}
    return workloads | {comparison.yardstick for comparison in comparisons if comparison.yardstick}
