"""Replay: the projection `entries` built anew from the journal, as `tallystick replay` does it.

Everything counts: filling, indexes, the comparison with the live version, the switch.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from random import Random
from time import perf_counter

from domain.journal.database import Database
from domain.ledger import Ledger
from projections.rebuild import rebuild
from projections.register import find_projection
from scripts.bench.books import balanced_books
from scripts.bench.catching_up import catch_up
from scripts.bench.figures import BenchFailed, Contestant, Reading
from scripts.bench.installation import installation
from scripts.bench.stages import Stage
from scripts.bench.transfers import open_accounts, record, transfers

PROJECTION = "entries"


@contextmanager
def replaying(url: str, accounts: int, transfers_recorded: int) -> Iterator[Stage]:
    """The stage of replay, on a journal with so many transfers."""
    with installation(url) as database:
        random = Random(3)
        ledger = Ledger(database)
        ledger.start()
        try:
            open_accounts(ledger, accounts)
            record(ledger, islice(transfers(accounts, random), transfers_recorded), random)
        finally:
            ledger.close()
        # The live version is what a replay is compared with.
        head = catch_up(database, [find_projection(PROJECTION)])
        replay = Contestant("replay", "events/s", lambda _: _replay(database, head), head, head)
        yield Stage((replay,), lambda: balanced_books(database, transfers_recorded))


def _replay(database: Database, head: int) -> Reading:
    started = perf_counter()
    outcome = rebuild(database, PROJECTION)
    seconds = perf_counter() - started
    if not outcome.switched or outcome.position != head:
        raise BenchFailed(f"the replay was not put in place: {outcome}")
    return Reading(head, seconds)
