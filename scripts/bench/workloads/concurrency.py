"""Single transfers over HTTP by the number of connections, next to the bare route: throughput and latency."""

from collections.abc import Iterator
from contextlib import contextmanager
from secrets import token_urlsafe

from scripts.bench.report.comparisons import SWEPT_CONNECTIONS
from scripts.bench.report.figures import Contestant
from scripts.bench.report.stages import Stage
from scripts.bench.workloads.books import balanced_books
from scripts.bench.workloads.catching_up import seconds_to_catch_up
from scripts.bench.workloads.installation import installation, running
from scripts.bench.workloads.over_http import MOST_TRANSFERS, HttpLoad
from scripts.bench.workloads.recording import open_accounts
from scripts.bench.workloads.requests import Plan
from scripts.bench.workloads.servers import bare_route, service

WARM_UP_REQUESTS_PER_CONNECTION = 10
WARM_UP_REQUESTS = 300


@contextmanager
def concurrency(url: str, accounts: int) -> Iterator[Stage]:
    """The concurrency stage."""
    with installation(url) as database:
        with running(database) as ledger:
            open_accounts(ledger, accounts)
        key = "tk_" + token_urlsafe(32)
        with service(database, key) as served, bare_route() as bare_port:
            load, bare = HttpLoad(lambda: seconds_to_catch_up(database)), HttpLoad()
            plan = Plan(served.port, key, 0, 0, accounts, 0)
            contestants = tuple(
                Contestant(
                    f"{name}-{connections}",
                    unit,
                    asked.runs(plan._replace(port=port, connections=connections, shape=shape)),
                    max(WARM_UP_REQUESTS, WARM_UP_REQUESTS_PER_CONNECTION * connections),
                    MOST_TRANSFERS,
                )
                for connections in SWEPT_CONNECTIONS
                for name, unit, asked, port, shape in (
                    ("http", "transfers/s", load, served.port, "uniform"),
                    ("http-hot", "transfers/s", load, served.port, "hot"),
                    ("bare-route", "requests/s", bare, bare_port, "uniform"),
                )
            )
            yield Stage(contestants, lambda: balanced_books(database, load.acknowledged))
