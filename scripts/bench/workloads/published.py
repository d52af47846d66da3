"""The workloads other ledgers publish, in process and over HTTP.

In process they run next to a ledger in rows, both without a service. Over HTTP there are as many connections as the
published workload has workers, or 64.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from secrets import token_urlsafe

from scripts.bench.report.figures import Contestant
from scripts.bench.report.stages import Stage
from scripts.bench.workloads.books import balanced_books
from scripts.bench.workloads.catching_up import seconds_to_catch_up
from scripts.bench.workloads.in_process import MOST_TRANSFERS, UNIT, InProcess
from scripts.bench.workloads.installation import installation, running
from scripts.bench.workloads.over_http import CONNECTIONS, WARM_UP_REQUESTS, HttpLoad
from scripts.bench.workloads.recording import open_accounts
from scripts.bench.workloads.requests import Plan
from scripts.bench.workloads.servers import bare_route, service
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
    ):
        open_accounts(ledger, accounts, limited=True)
        ours = InProcess(ledger, accounts)
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
        yield Stage(contestants, lambda: balanced_books(database, ours.acknowledged))


@contextmanager
def published_http(url: str, accounts: int) -> Iterator[Stage]:
    """The HTTP stage."""
    with installation(url) as database:
        with running(database) as ledger:
            open_accounts(ledger, accounts, limited=True)
        key = "tk_" + token_urlsafe(32)
        with service(database, key) as served, bare_route() as bare_port:
            load = HttpLoad(lambda: seconds_to_catch_up(database))
            uniform = Plan(served.port, key, CONNECTIONS, 0, accounts, 0)
            plans = {
                "tigerbeetle-http": uniform,
                **{name.format("http-"): uniform._replace(shape=shape) for name, shape in SHAPES_OF.items()},
                **{
                    f"pgledger-http-{few}-accounts": uniform._replace(connections=WORKERS, accounts=few)
                    for few in (50, 10)
                },
            }
            batches = uniform._replace(connections=1, kind="batch", size=BATCH_TRANSFERS)
            contestants = (
                *(
                    Contestant(name, UNIT, load.runs(plan), WARM_UP_REQUESTS, MOST_TRANSFERS)
                    for name, plan in plans.items()
                ),
                Contestant(
                    "tigerbeetle-http-batches",
                    UNIT,
                    load.runs(batches),
                    BATCH_TRANSFERS,
                    BATCHES_MOST_TRANSFERS,
                ),
                Contestant(
                    "published-bare-route",
                    "requests/s",
                    HttpLoad().runs(uniform._replace(port=bare_port)),
                    WARM_UP_REQUESTS,
                    MOST_TRANSFERS,
                ),
            )
            yield Stage(contestants, lambda: balanced_books(database, load.acknowledged))
