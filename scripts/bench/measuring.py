"""Runs the stages, one after the other."""

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from random import Random
from typing import NamedTuple

from scripts.bench.meters.disk_space import added
from scripts.bench.report.comparisons import ContestantComparison, names_of
from scripts.bench.report.results import Results
from scripts.bench.report.rounds import measure
from scripts.bench.stages.concurrency import concurrency
from scripts.bench.stages.console_pages import console_pages
from scripts.bench.stages.contention import contended
from scripts.bench.stages.following import following
from scripts.bench.stages.growth import SMALL_EVENTS, growth
from scripts.bench.stages.in_process import in_process
from scripts.bench.stages.over_http import over_http
from scripts.bench.stages.projectors import projectors
from scripts.bench.stages.published import published, published_http
from scripts.bench.stages.replaying import replaying
from scripts.bench.stages.stage import Stage
from scripts.bench.stages.statements import statements
from scripts.bench.stages.workers import workers


class Size(NamedTuple):
    """How much is measured: rounds, seconds per run, accounts of the book, transfers of the journal to replay, entries
    of the long statement, events of the large journal and of the small one, accounts that transfers contend for,
    and the part of a warm-up that is run.
    """

    rounds: int
    seconds: float
    accounts: int
    replayed_transfers: int
    statement_entries: int
    events: int
    small_events: int = SMALL_EVENTS
    contended_accounts: int = 100_000
    warm_up: float = 1.0


QUICK = Size(
    rounds=1,
    seconds=0.1,
    accounts=200,
    replayed_transfers=500,
    statement_entries=2_000,
    events=6_000,
    small_events=5_000,
    contended_accounts=2_000,
    warm_up=0.1,
)


def measure_stages(
    url: str, size: Size, comparisons: Sequence[ContestantComparison], tell: Callable[[str], None]
) -> Results:
    """Run the stages that the comparisons need. `tell` is told what is under way. Raises `BenchFailed`."""
    begin: dict[str, Callable[[], AbstractContextManager[Stage]]] = {
        "in-process": lambda: in_process(url, size.accounts),
        "http": lambda: over_http(url, size.accounts),
        "following": lambda: following(url, size.accounts),
        "statement": lambda: statements(url, size.statement_entries),
        "replay": lambda: replaying(url, size.accounts, size.replayed_transfers),
        "published": lambda: published(url, size.accounts),
        "published-http": lambda: published_http(url, size.accounts),
        "contention": lambda: contended(url, size.contended_accounts),
        "projectors": lambda: projectors(url, size.accounts),
        "workers": lambda: workers(url, size.accounts),
        "concurrency": lambda: concurrency(url, size.accounts),
        "growth": lambda: growth(url, size.accounts, size.events, size.small_events),
        "console": lambda: console_pages(url, size.accounts, size.events),
    }
    results = Results({}, {}, {}, [])
    for name in dict.fromkeys(comparison.stage for comparison in comparisons):
        tell(f"{name}: preparing")
        with begin[name]() as stage:
            _run(name, stage, size, names_of(comparisons), results, tell)
    return results


def _run(
    name: str,
    stage: Stage,
    size: Size,
    wanted: Collection[str],
    results: Results,
    tell: Callable[[str], None],
) -> None:
    contestants = [contestant for contestant in stage.contestants if contestant.name in wanted]
    before = stage.space() if stage.space else {}
    order = Random() if stage.in_any_order else None
    for figures in measure(contestants, size.rounds, size.seconds, tell, size.warm_up, order):
        results.figures[figures.name] = figures
    tell(f"{name}: checking the books")
    results.books[name] = stage.books()
    if stage.space:
        results.space[name] = added(before, stage.space(), results.books[name].recorded)
    results.milestones.extend(stage.milestones)
