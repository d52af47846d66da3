"""Transfers over HTTP, alone and in batches: the service as `tallystick serve` runs it, next to a bare route, and to
such batches in process.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from scripts.bench.report.figures import Contestant, Measurement
from scripts.bench.stages.in_process import InProcess
from scripts.bench.stages.served import bare_load, served_ledger
from scripts.bench.stages.stage import Stage
from scripts.bench.workloads.installation import installation, running
from scripts.bench.workloads.recording import open_accounts

BATCH_TRANSFERS = 1_000
BATCH_CONNECTIONS = 4
ONE_CALLER_REQUESTS = 200
LARGEST_BATCH_TRANSFERS = 10_000
"""The most transfers the HTTP API takes in one batch (api/README.md, Batches)."""


@contextmanager
def over_http(url: str, accounts: int) -> Iterator[Stage]:
    """The HTTP stage. All servers run all the time, and only one at a time has work."""
    with (
        served_ledger(url, accounts) as served,
        bare_load(served.plan) as (bare_plan, bare),
        in_process_beside(url, accounts) as beside,
    ):
        alone = served.plan
        batches = alone._replace(connections=BATCH_CONNECTIONS, kind="batch", size=BATCH_TRANSFERS)
        largest = batches._replace(connections=1, size=LARGEST_BATCH_TRANSFERS)

        def run_largest(_: int) -> Measurement:
            reading = served.load.run(largest, LARGEST_BATCH_TRANSFERS)
            peak = served.server.peak_resident_megabytes()
            return reading._replace(details={**reading.details, "peak_resident_megabytes": peak})

        load = served.load
        yield served.stage(
            (
                load.contestant("http", alone),
                load.contestant("http-hot", alone._replace(shape="hot")),
                load.contestant("one-caller", alone._replace(connections=1), ONE_CALLER_REQUESTS),
                load.contestant("batches", batches, BATCH_CONNECTIONS * BATCH_TRANSFERS),
                load.contestant("batch-of-10000", largest, 1, 1)._replace(run=run_largest),
                bare.contestant("bare-route", bare_plan),
                beside,
            )
        )


@contextmanager
def in_process_beside(url: str, accounts: int) -> Iterator[Contestant]:
    """The yardstick of batches: as many transfers at a time in process, on an installation of its own."""
    with installation(url) as database, running(database) as ledger:
        open_accounts(ledger, accounts)
        yield InProcess(ledger, accounts).contestant("batches-in-process", BATCH_TRANSFERS)
