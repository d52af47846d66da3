"""Replay: every projection built anew from the journal, as `tallystick replay` does it, beside the library's runner.

Everything counts: filling, indexes, the comparison with the live version, the switch. The runner has one projection to
advance, and that the most trivial one.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from random import Random
from time import perf_counter

from domain.journal.database import Database
from projections.rebuilding.rebuilder import rebuild_together
from projections.registry import PROJECTIONS
from scripts.bench.report.figures import BenchFailed, Contestant, Measurement
from scripts.bench.report.stages import Stage
from scripts.bench.workloads.books import balanced_books
from scripts.bench.workloads.catching_up import catch_up
from scripts.bench.workloads.installation import installation, running
from scripts.bench.workloads.recording import open_accounts, record
from scripts.bench.workloads.transfers import transfers
from scripts.bench.yardsticks.stock_projection import stock_projection

RUNNER_WARM_UP_EVENTS = 50
RUNNER_MOST_EVENTS = 5_000


@contextmanager
def replaying(url: str, accounts: int, transfers_recorded: int) -> Iterator[Stage]:
    """The stage of replay, on a journal with so many transfers."""
    with installation(url) as database, stock_projection(url) as run_library:
        random = Random(3)
        with running(database) as ledger:
            open_accounts(ledger, accounts)
            record(ledger, islice(transfers(accounts, random), transfers_recorded), random)
        # The live versions are what a replay is compared with.
        head = catch_up(database, list(PROJECTIONS.values()))
        contestants = (
            Contestant("replay", "events/s", lambda _: _replay(database, head), head, head),
            Contestant(
                "projection-runner", "events/s", run_library, RUNNER_WARM_UP_EVENTS, RUNNER_MOST_EVENTS
            ),
        )
        yield Stage(contestants, lambda: balanced_books(database, transfers_recorded))


def _replay(database: Database, head: int) -> Measurement:
    """Rebuild every projection; what counts are the events of the journal, each of which all of them are given."""
    started = perf_counter()
    rebuilds = rebuild_together(database, list(PROJECTIONS))
    seconds = perf_counter() - started
    for rebuild in rebuilds:
        if not rebuild.switched or rebuild.compared_position != head:
            raise BenchFailed(f"the replay was not put in place: {rebuild}")
    return Measurement(head, seconds)
