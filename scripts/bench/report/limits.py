"""What must stay below a limit, whatever the rates are: delays, memory, processor time and disk space."""

from collections.abc import Callable
from typing import NamedTuple

from scripts.bench.meters.disk_space import JOURNAL
from scripts.bench.report.costs import of_read_side, of_service
from scripts.bench.report.results import Results
from scripts.bench.stages.console_pages import PAGES
from scripts.bench.stages.projectors import AT_FULL_SPEED, BUSIEST, KILLED, RECOVERED, SEVERAL, STEADILY
from scripts.bench.stages.workers import SEVERAL_PROCESSES, WITH_WORKERS


class Limit(NamedTuple):
    """An upper limit for what was found of a workload, or of a stage. `found` returns None if it was not measured."""

    workload: str
    detail: str
    below: float
    found: Callable[[Results], float | None]


def highest(workload: str, detail: str, below: float) -> Limit:
    """Return the limit for a detail of a workload, in the worst of all rounds."""

    def found(results: Results) -> float | None:
        if workload not in results.figures:
            return None
        return max(reading.details[detail] for reading in results.figures[workload].readings)

    return Limit(workload, detail, below, found)


def typical(workload: str, detail: str, below: float) -> Limit:
    """Return the limit for a detail of a workload, the median of all rounds."""

    def found(results: Results) -> float | None:
        return results.figures[workload].detail(detail) if workload in results.figures else None

    return Limit(workload, detail, below, found)


def read_side(workload: str, below: float) -> Limit:
    """Return the limit for the processor time that a unit takes in the read side, over all rounds."""

    return Limit(
        workload, "read_side_processor_microseconds", below, lambda results: _of_read_side(results, workload)
    )


def read_side_ratio(workload: str, yardstick: str, below: float) -> Limit:
    """Return the limit for the processor time that a unit takes in the read side, as a multiple of a yardstick's."""

    def found(results: Results) -> float | None:
        ours, theirs = _of_read_side(results, workload), _of_read_side(results, yardstick)
        return ours / theirs if ours is not None and theirs else None

    return Limit(workload, "read_side_processor_ratio", below, found)


def processor_ratio(workload: str, yardstick: str, below: float) -> Limit:
    """Return the limit for the processor time that a unit takes in all, as a multiple of a yardstick's."""

    def found(results: Results) -> float | None:
        ours, theirs = _in_all(results, workload), _in_all(results, yardstick)
        return ours / theirs if ours is not None and theirs else None

    return Limit(workload, "processor_ratio", below, found)


def _in_all(results: Results, workload: str) -> float | None:
    figures = results.figures.get(workload)
    used = figures.processor_microseconds if figures else None
    return of_service(used) if used else None


def _of_read_side(results: Results, workload: str) -> float | None:
    figures = results.figures.get(workload)
    used = figures.processor_microseconds if figures else None
    return of_read_side(used) if used else None


def journal_bytes(stage: str, below: float) -> Limit:
    """Return the limit for the disk space of a transaction in the journal and its indexes, over a stage."""

    def found(results: Results) -> float | None:
        space = results.space.get(stage)
        return space.per_transaction(JOURNAL) if space else None

    return Limit(stage, "journal_bytes", below, found)


LIMITS = (
    highest("http", "p99_milliseconds", 100),
    highest("http-hot", "p99_milliseconds", 100),
    read_side("http", 130),
    journal_bytes("http", 1_300),
    highest("batch-of-10000", "peak_resident_megabytes", 500),
    highest("own-write", "wait_p50_milliseconds", 30),
    highest("own-write", "wait_p99_milliseconds", 250),
    highest("lag", "lag_p99_milliseconds", 115),
    highest("tigerbeetle-http", "p99_milliseconds", 100),
    highest("tigerbeetle-http-hot-set", "p99_milliseconds", 100),
    *(
        read_side_ratio(load.format(number), load.format(1), 1.1)
        for load in (AT_FULL_SPEED, STEADILY)
        for number in SEVERAL
    ),
    *(typical(AT_FULL_SPEED.format(number), BUSIEST, 1.15) for number in SEVERAL),
    highest(KILLED, RECOVERED, 5),
    *(
        processor_ratio(WITH_WORKERS.format(number), WITH_WORKERS.format(1), 1.15)
        for number in SEVERAL_PROCESSES
    ),
    *(highest(page, "p99_milliseconds", 100) for page in PAGES),
)
"""Every limit."""
