"""The API in one process and in several, of which one commits for all: what a transfer costs, and how many are made.

Each run has a service of its own, one at a time, all on one installation.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic, sleep
from typing import Any

from psycopg import Connection

from domain.journal.database import Database
from domain.journal.queries import load
from projections.registry import install
from scripts.bench.meters.processor_time import BENCH
from scripts.bench.report.figures import BenchFailed, Contestant, Measurement
from scripts.bench.stages.served import serving
from scripts.bench.stages.stage import Stage
from scripts.bench.workloads.books import balanced_books
from scripts.bench.workloads.catching_up import POLL_SECONDS
from scripts.bench.workloads.http_load import MOST_TRANSFERS, WARM_UP_REQUESTS, Sent
from scripts.bench.workloads.installation import installation, running
from scripts.bench.workloads.recording import open_accounts

SEVERAL_PROCESSES = (2, 4)
"""The numbers of processes that are compared with one."""

WITH_WORKERS = "workers-{}"
"""The workload with a number of processes: single transfers as fast as 64 connections make them."""

PATIENCE_SECONDS = 60.0

_SQL = load(__name__)


@contextmanager
def workers(url: str, accounts: int) -> Iterator[Stage]:
    """The stage of several API processes."""
    with installation(url) as database:
        install(database)
        with running(database) as ledger:
            open_accounts(ledger, accounts)
        sent = Sent()
        yield Stage(
            tuple(_served(database, accounts, sent, number) for number in (1, *SEVERAL_PROCESSES)),
            lambda: balanced_books(database, sent.acknowledged),
            in_any_order=True,
        )


def _served(database: Database, accounts: int, sent: Sent, number: int) -> Contestant:
    def run(transfers: int) -> Measurement:
        with (
            serving(database, accounts, workers=number, sent=sent) as served,
            database.connect(BENCH) as connection,
        ):
            _await_writers(connection, number)
            served.load.run(served.plan, WARM_UP_REQUESTS)
            return served.load.run(served.plan, transfers)

    return Contestant(WITH_WORKERS.format(number), "transfers/s", run, WARM_UP_REQUESTS, MOST_TRANSFERS)


def _await_writers(connection: Connection[Any], number: int) -> None:
    """Wait until so many processes have connected to write. The service is ready as soon as one of them is."""
    give_up_at = monotonic() + PATIENCE_SECONDS
    while _SQL["writers"].only(connection)[0] < number:
        if monotonic() > give_up_at:
            raise BenchFailed(f"{number} API processes did not begin to work")
        sleep(POLL_SECONDS)
