"""Everything that a report says of a run, row by row, each with its spread: what two reports can be compared by."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from scripts.bench.meters.disk_space import JOURNAL, MOST_UNCERTAIN, READ_MODELS
from scripts.bench.report.comparisons import ContestantComparison
from scripts.bench.report.costs import of_read_side, of_service
from scripts.bench.report.figures import Figures, Spread, spread
from scripts.bench.report.results import Results
from scripts.bench.stages.projectors import BUSIEST, RECOVERED

_DETAILS = (
    "p99_milliseconds",
    "wait_p50_milliseconds",
    "wait_p99_milliseconds",
    "lag_p99_milliseconds",
    "catch_up_seconds",
    "peak_resident_megabytes",
    BUSIEST,
    RECOVERED,
)


@dataclass(frozen=True, slots=True)
class Row:
    """A figure of a run: what it is of, what is measured, in how many rounds, and what was found."""

    name: str
    measure: str
    rounds: int
    found: Spread


def rows(comparisons: Sequence[ContestantComparison], results: Results) -> list[Row]:
    """Return the ratios of all comparisons, the figures of all workloads, and the disk space of all stages."""
    ratios = [
        Row(
            f"{comparison.workload} / {comparison.yardstick}",
            "ratio",
            len(results.figures[comparison.workload].readings),
            comparison.spread(results.figures),
        )
        for comparison in comparisons
        if comparison.yardstick
    ]
    of_workloads = [row for figures in results.figures.values() for row in _of_workload(figures)]
    return [*ratios, *of_workloads, *_of_space(results)]


def _of_workload(figures: Figures) -> Iterator[Row]:
    rounds = len(figures.readings)
    yield Row(figures.name, figures.unit, rounds, spread(figures.rates))
    for detail in _DETAILS:
        if found := [reading.details[detail] for reading in figures.readings if detail in reading.details]:
            yield Row(figures.name, detail, len(found), spread(found))
    if figures.processor_microseconds:
        for part, of_part in (("service", of_service), ("read side", of_read_side)):
            of_rounds = [
                of_part(reading.processor_seconds) / reading.units * 1e6 for reading in figures.readings
            ]
            if any(of_rounds):
                yield Row(figures.name, f"processor µs, {part}", rounds, spread(of_rounds))


def _of_space(results: Results) -> Iterator[Row]:
    for stage, space in results.space.items():
        for part in (JOURNAL, READ_MODELS):
            if found := space.per_transaction(part):
                most = found * MOST_UNCERTAIN
                within = Spread(found, found - most, found + most)
                yield Row(f"{stage} (stage)", f"bytes in {part}", len(results.figures), within)
