"""What is compared with what, and the bars.

A bar is a ratio to a yardstick from the same run, because a rate alone says more about the machine.
"""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import NamedTuple

from scripts.bench.report.figures import Figures, Spread, spread
from scripts.bench.stages.console_pages import PAGES
from scripts.bench.stages.projectors import AT_FULL_SPEED, KILLED, SEVERAL, STEADILY
from scripts.bench.stages.workers import SEVERAL_PROCESSES, WITH_WORKERS
from scripts.bench.workloads.shapes import contention


class ContestantComparison(NamedTuple):
    """A workload and its yardstick, both measured in the same stage.

    With a yardstick, `bar` is the ratio to reach; without one it is the rate. None means it is only reported.
    """

    stage: str
    workload: str
    yardstick: str | None
    bar: float | None

    def spread(self, figures: Mapping[str, Figures]) -> Spread:
        """Return the ratio of each round, or its rate if there is no yardstick.

        A slow minute of the machine is in both sides of a round's ratio, so ratios differ less than rates.
        """
        rates = figures[self.workload].rates
        if self.yardstick is None:
            return spread(rates)
        return spread(
            [rate / theirs for rate, theirs in zip(rates, figures[self.yardstick].rates, strict=True)]
        )

    def score(self, figures: Mapping[str, Figures]) -> float:
        """Return the number to compare with `bar`."""
        return self.spread(figures).median


STANDARD = (
    ContestantComparison("in-process", "in-process", "raw-append", 0.7),
    ContestantComparison("in-process", "in-process", "library", 20),
    ContestantComparison("in-process", "hot-account", "in-process", 0.9),
    ContestantComparison("in-process", "batches-of-10", "batches-of-1", None),
    ContestantComparison("in-process", "batches-of-100", "batches-of-1", None),
    ContestantComparison("in-process", "batches-of-1000", "batches-of-1", None),
    ContestantComparison("http", "http", "bare-route", 0.7),
    ContestantComparison("http", "http-hot", "http", 0.9),
    ContestantComparison("http", "one-caller", None, None),
    ContestantComparison("http", "batches", "batches-in-process", 0.45),
    ContestantComparison("http", "batches", "http", None),
    ContestantComparison("http", "batch-of-10000", None, None),
    ContestantComparison("following", "own-write", None, None),
    ContestantComparison("following", "lag", None, None),
    # A page of 100 entries of a long statement may take at most three times as long as one of a short statement.
    ContestantComparison("statement", "statement", "short-statement", 1 / 3),
    ContestantComparison("replay", "replay", "projection-runner", 50),
    ContestantComparison("replay", "replay", None, 60_000),
)
"""Measured unless something else is requested."""

PUBLISHED = (
    ContestantComparison("published", "tigerbeetle-uniform", "row-ledger", 5),
    ContestantComparison("published", "tigerbeetle-zipfian", "tigerbeetle-uniform", None),
    ContestantComparison("published", "tigerbeetle-hot-set", "tigerbeetle-uniform", None),
    ContestantComparison("published", "tigerbeetle-two-phase", "tigerbeetle-uniform", None),
    ContestantComparison("published", "one-hot-account", "row-ledger-hot", 10),
    ContestantComparison("published", "pgledger-50-accounts", "row-ledger-50", None),
    ContestantComparison("published", "pgledger-10-accounts", "row-ledger-10", None),
    ContestantComparison("published", "formance-world-to-bank", "tigerbeetle-uniform", None),
    ContestantComparison("published", "formance-world-to-any", "tigerbeetle-uniform", None),
    ContestantComparison("published", "formance-any-to-bank", "tigerbeetle-uniform", None),
    ContestantComparison("published", "formance-bounded", "tigerbeetle-uniform", None),
    ContestantComparison("published-http", "tigerbeetle-http", "published-bare-route", None),
    ContestantComparison("published-http", "tigerbeetle-http-zipfian", "tigerbeetle-http", None),
    ContestantComparison("published-http", "tigerbeetle-http-hot-set", "tigerbeetle-http", None),
    ContestantComparison("published-http", "tigerbeetle-http-two-phase", "tigerbeetle-http", None),
    ContestantComparison("published-http", "tigerbeetle-http-batches", "tigerbeetle-http", None),
    ContestantComparison("published-http", "pgledger-http-50-accounts", "tigerbeetle-http", None),
    ContestantComparison("published-http", "pgledger-http-10-accounts", "tigerbeetle-http", None),
    ContestantComparison("published-http", "formance-http-world-to-bank", "tigerbeetle-http", None),
    ContestantComparison("published-http", "formance-http-world-to-any", "tigerbeetle-http", None),
    ContestantComparison("published-http", "formance-http-any-to-bank", "tigerbeetle-http", None),
    ContestantComparison("published-http", "formance-http-bounded", "tigerbeetle-http", None),
)
"""The workloads other ledgers publish, in their own shapes (scripts/bench/yardsticks/peers.py)."""

CONTENTION = tuple(
    ContestantComparison("contention", contention(exponent), contention(0), bar)
    for exponent, bar in ((0.5, None), (1, None), (1.5, 0.95))
)
"""Single transfers over HTTP by how much a few accounts are preferred."""

PROJECTORS = (
    *(
        ContestantComparison("projectors", load.format(number), load.format(1), None)
        for load in (AT_FULL_SPEED, STEADILY)
        for number in SEVERAL
    ),
    ContestantComparison("projectors", KILLED, None, None),
)
"""The projections divided among several processes, and one of these killed."""

WORKERS = tuple(
    ContestantComparison(
        "workers", WITH_WORKERS.format(number), WITH_WORKERS.format(1), 1 if number == 2 else None
    )
    for number in SEVERAL_PROCESSES
)
"""The API in several processes."""

SWEPT_CONNECTIONS = (1, 4, 16, 64, 128, 256)

CONCURRENCY = tuple(
    ContestantComparison("concurrency", f"{workload}-{connections}", f"bare-route-{connections}", None)
    for connections in SWEPT_CONNECTIONS
    for workload in ("http", "http-hot")
)
"""Single transfers over HTTP by the number of connections, as plotted."""

GROWTH = (
    ContestantComparison("growth", "growth", "small-journal", 0.9),
    ContestantComparison("growth", "growth-after-checkpoint", "small-journal", None),
    ContestantComparison("growth", "confirmation", "short-confirmation", 0.5),
    ContestantComparison("growth", "old-transaction", "new-transaction", None),
)
"""A large journal next to a small one. Filling it takes minutes."""

CONSOLE = tuple(ContestantComparison("console", page, None, None) for page in PAGES)
"""The console's pages beside a large journal. Filling it takes minutes."""

COMPARISONS = (*STANDARD, *PUBLISHED, *CONTENTION, *PROJECTORS, *WORKERS, *CONCURRENCY, *GROWTH, *CONSOLE)


def names_of(comparisons: Sequence[ContestantComparison]) -> set[str]:
    """Return the names of all contestants the comparisons need."""
    workloads = {comparison.workload for comparison in comparisons}
    return workloads | {comparison.yardstick for comparison in comparisons if comparison.yardstick}


def chosen(names: Sequence[str]) -> list[ContestantComparison]:
    """Return the comparisons of the named workloads and stages. Raises `LookupError` with an unknown name."""
    return list(chain.from_iterable(map(_named, names)))


def _named(name: str) -> Sequence[ContestantComparison]:
    of_workload = [comparison for comparison in COMPARISONS if comparison.workload == name]
    of_stage = [comparison for comparison in COMPARISONS if comparison.stage == name]
    if not (of_workload or of_stage):
        raise LookupError(name)
    return of_workload or of_stage
