"""Transfers over HTTP, alone and in batches: the service as `tallystick serve` runs it, next to a bare route."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from secrets import token_urlsafe

from scripts.bench.report.figures import Contestant, Measurement
from scripts.bench.report.stages import Stage
from scripts.bench.workloads.books import balanced_books
from scripts.bench.workloads.catching_up import seconds_to_catch_up
from scripts.bench.workloads.installation import installation, running
from scripts.bench.workloads.load import run_load
from scripts.bench.workloads.recording import open_accounts
from scripts.bench.workloads.requests import Plan
from scripts.bench.workloads.servers import bare_route, service

CONNECTIONS = 64
WARM_UP_REQUESTS = 2_000
MOST_TRANSFERS = 100_000
BATCH_TRANSFERS = 1_000
BATCH_CONNECTIONS = 4
LARGEST_BATCH_TRANSFERS = 10_000
"""The most transfers the HTTP API takes in one batch (api/README.md, Batches)."""


@contextmanager
def over_http(url: str, accounts: int) -> Iterator[Stage]:
    """The HTTP stage. Both servers run all the time, and only one at a time has work."""
    with installation(url) as database:
        with running(database) as ledger:
            open_accounts(ledger, accounts)
        key = "tk_" + token_urlsafe(32)
        with service(database, key) as served, bare_route() as bare_port:
            alone = Plan(served.port, key, CONNECTIONS, 0, accounts, 0)
            batches = alone._replace(connections=BATCH_CONNECTIONS, kind="batch", size=BATCH_TRANSFERS)
            largest = batches._replace(connections=1, size=LARGEST_BATCH_TRANSFERS)
            load = HttpLoad(lambda: seconds_to_catch_up(database))

            def run_largest(_: int) -> Measurement:
                reading = load.run(largest, LARGEST_BATCH_TRANSFERS)
                peak = served.peak_resident_megabytes()
                return reading._replace(details={**reading.details, "peak_resident_megabytes": peak})

            contestants = (
                *(
                    Contestant(
                        name,
                        "transfers/s",
                        load.runs(alone._replace(shape=shape)),
                        WARM_UP_REQUESTS,
                        MOST_TRANSFERS,
                    )
                    for name, shape in (("http", "uniform"), ("http-hot", "hot"))
                ),
                Contestant(
                    "bare-route",
                    "requests/s",
                    HttpLoad().runs(alone._replace(port=bare_port)),
                    WARM_UP_REQUESTS,
                    MOST_TRANSFERS,
                ),
                Contestant(
                    "batches",
                    "transfers/s",
                    load.runs(batches),
                    BATCH_CONNECTIONS * BATCH_TRANSFERS,
                    MOST_TRANSFERS,
                ),
                Contestant("batch-of-10000", "transfers/s", run_largest, 1, 1),
            )
            yield Stage(contestants, lambda: balanced_books(database, load.acknowledged))


class HttpLoad:
    """The load on one server. No two runs send the same request.

    The projections catch up after each run, and the time this takes is reported. So no run pays for the work another
    left behind.
    """

    def __init__(self, catch_up: Callable[[], float] = lambda: 0.0) -> None:
        self._catch_up = catch_up
        self._seeds = count(1)
        self.acknowledged = 0
        """How many transfers were acknowledged so far."""

    def runs(self, plan: Plan) -> Callable[[int], Measurement]:
        """Return a function that sends about the given number of units and times them."""
        return lambda units: self.run(plan, units)

    def run(self, plan: Plan, units: int) -> Measurement:
        """Send about this many units, in whole requests, and time them."""
        requests = max(1, round(units / plan.units))
        reading = run_load(plan._replace(requests=requests, seed=next(self._seeds)))
        self.acknowledged += reading.units
        return reading._replace(details={**reading.details, "catch_up_seconds": self._catch_up()})
