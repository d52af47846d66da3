"""Replay: the projection `entries` built anew from the journal, as `tallystick replay` does it.

Everything counts: filling, indexes, the comparison with the live version, the switch.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from time import monotonic, perf_counter, sleep

from domain.journal.database import Database
from domain.ledger import Ledger
from projections.positions import progress
from projections.projector import run_projector
from projections.rebuild import rebuild
from projections.register import find_projection, install
from scripts.bench.books import balanced_books
from scripts.bench.figures import BenchFailed, Contestant, Reading
from scripts.bench.installation import installation
from scripts.bench.stages import Stage
from scripts.bench.transfers import open_accounts, require_recorded, transfers

PROJECTION = "entries"
BATCH_COMMANDS = 1_000
CATCH_UP_TIMEOUT_SECONDS = 120.0
POLL_SECONDS = 0.05


@contextmanager
def replaying(url: str, accounts: int, transfers_recorded: int) -> Iterator[Stage]:
    """The stage of replay, on a journal with so many transfers, in whole batches."""
    with installation(url) as database:
        acknowledged = _record(database, accounts, transfers_recorded)
        head = _project(database)
        replay = Contestant(PROJECTION, "events/s", lambda _: _replay(database, head), head, head)
        yield Stage((replay._replace(name="replay"),), lambda: balanced_books(database, acknowledged))


def _record(database: Database, accounts: int, wanted: int) -> int:
    random = Random(3)
    source = transfers(accounts, random)
    ledger = Ledger(database)
    ledger.start()
    try:
        open_accounts(ledger, accounts)
        batches = -(-wanted // BATCH_COMMANDS)
        for _ in range(batches):
            commands = (next(source).command(random) for _ in range(BATCH_COMMANDS))
            for result in ledger.execute(*commands).result():
                require_recorded(result)
        return batches * BATCH_COMMANDS
    finally:
        ledger.close()


def _project(database: Database) -> int:
    """Bring the live version, which a replay is compared with, to the head of the journal, and return that."""
    install(database)
    stop = threading.Event()
    projection = find_projection(PROJECTION)
    projector = threading.Thread(target=run_projector, args=(database, stop, [projection]), daemon=True)
    projector.start()
    try:
        return _caught_up(database)
    finally:
        stop.set()
        projector.join()


def _caught_up(database: Database) -> int:
    deadline = monotonic() + CATCH_UP_TIMEOUT_SECONDS
    with database.connect("tallystick bench") as connection:
        while monotonic() < deadline:
            reached = progress(connection, PROJECTION)
            if reached.position == reached.head:
                return reached.head
            sleep(POLL_SECONDS)
    raise BenchFailed(f"the projection {PROJECTION} did not catch up in {CATCH_UP_TIMEOUT_SECONDS:g} seconds")


def _replay(database: Database, head: int) -> Reading:
    started = perf_counter()
    outcome = rebuild(database, PROJECTION)
    seconds = perf_counter() - started
    if not outcome.switched or outcome.position != head:
        raise BenchFailed(f"the replay was not put in place: {outcome}")
    return Reading(head, seconds)
