"""How closely projections follow: the wait for one's own write, and the lag, under a steady load over HTTP."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from secrets import token_urlsafe

from domain.journal.database import Database
from projections.running.positions import all_progress
from scripts.bench.report.figures import Contestant, Measurement
from scripts.bench.report.stages import Stage
from scripts.bench.workloads.books import balanced_books
from scripts.bench.workloads.installation import installation, running
from scripts.bench.workloads.load import percentiles
from scripts.bench.workloads.recording import open_accounts
from scripts.bench.workloads.requests import Plan
from scripts.bench.workloads.servers import service
from scripts.bench.workloads.steady_load import Transferring, run_steadily, transferred, waited_for

WAITED_FOR_PER_SECOND = 200
LAGGING_PER_SECOND = 500
MOST_SECONDS = 60
SAMPLE_SECONDS = 0.02


@contextmanager
def following(url: str, accounts: int) -> Iterator[Stage]:
    """The following stage: the complete service, with transfers at a steady rate."""
    with installation(url) as database:
        with running(database) as ledger:
            open_accounts(ledger, accounts)
        key = "tk_" + token_urlsafe(32)
        with service(database, key) as served:
            load = SteadyLoad(Plan(served.port, key, 0, 0, accounts, 0))

            def wait(transfers: int) -> Measurement:
                return load.run(transfers, WAITED_FOR_PER_SECOND, waited_for, "wait")

            def lag(transfers: int) -> Measurement:
                with sampled_lag(database) as lags_seconds:
                    reading = load.run(transfers, LAGGING_PER_SECOND, transferred, "answer")
                return reading._replace(details={**reading.details, **_details("lag", lags_seconds)})

            contestants = tuple(
                Contestant(name, "transfers/s", run, rate_per_second, MOST_SECONDS * rate_per_second)
                for name, run, rate_per_second in (
                    ("own-write", wait, WAITED_FOR_PER_SECOND),
                    ("lag", lag, LAGGING_PER_SECOND),
                )
            )
            yield Stage(contestants, lambda: balanced_books(database, load.acknowledged))


class SteadyLoad:
    """The load on one server. No two runs send the same request."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._seeds = count(1)
        self.acknowledged = 0
        """How many transfers were acknowledged so far."""

    def run(self, count: int, rate_per_second: float, work: Transferring, measured: str) -> Measurement:
        """Make `count` transfers. The details are what was measured of them, under the given name."""
        plan = self._plan._replace(requests=count, seed=next(self._seeds))
        seconds, found_seconds = run_steadily(plan, rate_per_second, work)
        self.acknowledged += count
        return Measurement(count, seconds, _details(measured, found_seconds))


def _details(name: str, measured_seconds: Sequence[float]) -> Mapping[str, float]:
    return {f"{name}_{detail}": value for detail, value in percentiles(measured_seconds).items()}


@contextmanager
def sampled_lag(database: Database) -> Iterator[Sequence[float]]:
    """The lag in seconds of the slowest projection, sampled at regular times meanwhile."""
    stop = threading.Event()
    lags_seconds: list[float] = []
    sampling = threading.Thread(target=_sample, args=(database, stop, lags_seconds.append))
    sampling.start()
    try:
        yield lags_seconds
    finally:
        stop.set()
        sampling.join()


def _sample(database: Database, stop: threading.Event, keep: Callable[[float], None]) -> None:
    with database.connect("tallystick bench") as connection:
        while True:
            keep(max(progress.lag_seconds for progress in all_progress(connection)))
            if stop.wait(SAMPLE_SECONDS):
                return
