"""Replay: every projection rebuilt from the journal as by `tallystick replay`, next to the library's runner.

Everything counts: filling, indexes, the comparison with the live version, and the switch. The runner advances only one
projection, the most trivial possible.
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
from scripts.bench.stages.stage import Stage
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
    """The replay stage, on a journal with this many transfers."""
    with installation(url) as database, stock_projection(url) as run_library:
        random = Random(3)
        with running(database) as ledger:
            open_accounts(ledger, accounts)
            record(ledger, islice(transfers(accounts, random), transfers_recorded), random)
        # A replay is compared with the live versions.
        head = catch_up(database, list(PROJECTIONS.values()))
        contestants = (
            Contestant("replay", "events/s", lambda _: _replay(database, head), head, head),
            Contestant(
                "projection-runner", "events/s", run_library, RUNNER_WARM_UP_EVENTS, RUNNER_MOST_EVENTS
            ),
        )
        yield Stage(contestants, lambda: balanced_books(database, transfers_recorded))


def _replay(database: Database, head: int) -> Measurement:
    """Rebuild every projection. The units are the events of the journal, each of which goes to every projection."""
    started = perf_counter()
    rebuilds = rebuild_together(database, list(PROJECTIONS))
    seconds = perf_counter() - started
    for rebuild in rebuilds:
        if not rebuild.switched or rebuild.compared_position != head:
            raise BenchFailed(f"the replay was not put in place: {rebuild}")
    return Measurement(head, seconds)
