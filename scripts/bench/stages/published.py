"""The workloads other ledgers publish, in process and over HTTP.

In process they run next to a ledger in rows, both without a service. Over HTTP there are as many connections as the
published workload has workers, or 64.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from scripts.bench.meters.disk_space import bytes_of
from scripts.bench.meters.processor_time import LEDGER, metering
from scripts.bench.report.figures import Contestant
from scripts.bench.stages.in_process import MOST_TRANSFERS, UNIT, InProcess
from scripts.bench.stages.served import bare_load, served_ledger
from scripts.bench.stages.stage import Stage
from scripts.bench.workloads.books import balanced_books
from scripts.bench.workloads.installation import installation, running
from scripts.bench.workloads.recording import open_accounts
from scripts.bench.yardsticks.row_ledger import HOT, row_ledger

WORKERS = 20
"""The number of workers in pgledger's benchmark."""

FEW_WORKERS = 8
"""The number of clients with which a ledger in rows does best on few cores."""

BATCH_TRANSFERS = 8_189
"""The most transfers TigerBeetle's client puts into one request."""

BATCHES_MOST_TRANSFERS = 4 * BATCH_TRANSFERS
ROW_LEDGER_WARM_UP = 500

SHAPES_OF = {
    "tigerbeetle-{}zipfian": "zipfian",
    "tigerbeetle-{}hot-set": "hot-set",
    "tigerbeetle-{}two-phase": "two-phase",
    "formance-{}world-to-bank": "world-to-bank",
    "formance-{}world-to-any": "world-to-any",
    "formance-{}any-to-bank": "any-to-bank",
    "formance-{}bounded": "bounded",
}
"""The shapes of workloads that otherwise equal the uniform one. `{}` stands for how they are sent."""


@contextmanager
def published(url: str, accounts: int) -> Iterator[Stage]:
    """The in-process stage: batches of 1,000, or as many requests at once as there are workers."""
    with (
        installation(url) as database,
        running(database) as ledger,
        row_ledger(url, accounts) as rows,
        metering(database, os.getpid(), LEDGER) as meter,
    ):
        open_accounts(ledger, accounts, limited=True)
        ours = InProcess(ledger, accounts, meter)
        runs_of_rows = {
            "row-ledger": rows.runs(FEW_WORKERS, accounts),
            "row-ledger-hot": rows.runs(FEW_WORKERS, accounts, HOT),
            "row-ledger-50": rows.runs(WORKERS, 50),
            "row-ledger-10": rows.runs(WORKERS, 10),
        }
        contestants = (
            ours.contestant("tigerbeetle-uniform"),
            ours.contestant("one-hot-account", shape="hot"),
            *(ours.contestant(name.format(""), shape=shape) for name, shape in SHAPES_OF.items()),
            *(
                ours.contestant(f"pgledger-{few}-accounts", 1, outstanding=WORKERS, accounts=few)
                for few in (50, 10)
            ),
            *(
                Contestant(name, UNIT, run, ROW_LEDGER_WARM_UP, MOST_TRANSFERS)
                for name, run in runs_of_rows.items()
            ),
        )
        yield Stage(
            contestants,
            lambda: balanced_books(database, ours.acknowledged),
            space=lambda: bytes_of(database),
            in_any_order=True,
        )


@contextmanager
def published_http(url: str, accounts: int) -> Iterator[Stage]:
    """The HTTP stage."""
    with (
        served_ledger(url, accounts, limited=True) as served,
        bare_load(served.plan) as (bare_plan, bare),
    ):
        uniform = served.plan
        plans = {
            "tigerbeetle-http": uniform,
            **{name.format("http-"): uniform._replace(shape=shape) for name, shape in SHAPES_OF.items()},
            **{
                f"pgledger-http-{few}-accounts": uniform._replace(connections=WORKERS, accounts=few)
                for few in (50, 10)
            },
        }
        batches = uniform._replace(connections=1, kind="batch", size=BATCH_TRANSFERS)
        yield served.stage(
            (
                *(served.load.contestant(name, plan) for name, plan in plans.items()),
                served.load.contestant(
                    "tigerbeetle-http-batches", batches, BATCH_TRANSFERS, BATCHES_MOST_TRANSFERS
                ),
                bare.contestant("published-bare-route", bare_plan),
            )
        )
