"""Single transfers over HTTP by the number of connections, next to the bare route: throughput and latency."""

from collections.abc import Iterator
from contextlib import contextmanager

from scripts.bench.report.comparisons import SWEPT_CONNECTIONS
from scripts.bench.stages.served import bare_load, served_ledger
from scripts.bench.stages.stage import Stage

WARM_UP_REQUESTS_PER_CONNECTION = 10
WARM_UP_REQUESTS = 300


@contextmanager
def concurrency(url: str, accounts: int) -> Iterator[Stage]:
    """The concurrency stage."""
    with served_ledger(url, accounts) as served, bare_load(served.plan) as (bare_plan, bare):
        yield served.stage(
            load.contestant(
                f"{name}-{connections}",
                plan._replace(connections=connections, shape=shape),
                max(WARM_UP_REQUESTS, WARM_UP_REQUESTS_PER_CONNECTION * connections),
            )
            for connections in SWEPT_CONNECTIONS
            for name, load, plan, shape in (
                ("http", served.load, served.plan, "uniform"),
                ("http-hot", served.load, served.plan, "hot"),
                ("bare-route", bare, bare_plan, "uniform"),
            )
        )
