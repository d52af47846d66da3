"""How closely projections follow: the wait for one's own write, and the lag, under a steady load over HTTP."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from psycopg import Connection

from projections.running.positions import all_progress
from scripts.bench.meters.processor_time import BENCH, used_seconds
from scripts.bench.report.figures import Contestant, Measurement
from scripts.bench.stages.served import ServedLedger, served_ledger
from scripts.bench.stages.stage import Stage
from scripts.bench.workloads.load import percentiles
from scripts.bench.workloads.steady_load import Transferring, run_steadily, transferred, waited_for

WAITED_FOR_PER_SECOND = 200
LAGGING_PER_SECOND = 500
MOST_SECONDS = 60
SAMPLE_SECONDS = 0.02


@contextmanager
def following(url: str, accounts: int) -> Iterator[Stage]:
    """The following stage: the complete service, with transfers at a steady rate."""
    with served_ledger(url, accounts) as served, served.database.connect(BENCH) as connection:
        load = SteadyLoad(served)

        def wait(transfers: int) -> Measurement:
            return load.run(transfers, WAITED_FOR_PER_SECOND, waited_for, "wait")

        def lag(transfers: int) -> Measurement:
            lags_seconds: list[float] = []
            sampling = sampled_lag(connection, lags_seconds.append)
            reading = load.run(transfers, LAGGING_PER_SECOND, transferred, "answer", sampling)
            return reading._replace(details={**reading.details, **_details("lag", lags_seconds)})

        yield served.stage(
            Contestant(name, "transfers/s", run, rate_per_second, MOST_SECONDS * rate_per_second)
            for name, run, rate_per_second in (
                ("own-write", wait, WAITED_FOR_PER_SECOND),
                ("lag", lag, LAGGING_PER_SECOND),
            )
        )


class SteadyLoad:
    """The load on one server."""

    def __init__(self, served: ServedLedger) -> None:
        self._served = served

    def run(
        self,
        count: int,
        rate_per_second: float,
        work: Transferring,
        measured: str,
        meanwhile: AbstractContextManager[None] | None = None,
    ) -> Measurement:
        """Make `count` transfers. The details are what was measured of them, under the given name.

        `meanwhile` is over before the projections catch up, whose processor time is the run's.
        """
        plan = self._served.plan._replace(requests=count, seed=next(self._served.sent.seeds))
        before = self._served.meter.read()
        with meanwhile or nullcontext():
            seconds, found_seconds = run_steadily(plan, rate_per_second, work)
        self._served.sent.acknowledged += count
        self._served.catch_up()
        used = used_seconds(before, self._served.meter.read())
        return Measurement(count, seconds, _details(measured, found_seconds), used)


def _details(name: str, measured_seconds: Sequence[float]) -> Mapping[str, float]:
    return {f"{name}_{detail}": value for detail, value in percentiles(measured_seconds).items()}


@contextmanager
def sampled_lag(connection: Connection[Any], keep: Callable[[float], None]) -> Iterator[None]:
    """Keep the lag in seconds of the slowest projection, sampled at regular times meanwhile.

    The connection is there before and after the run, so that its processor time is known and not counted.
    """
    stop = threading.Event()
    sampling = threading.Thread(target=_sample, args=(connection, stop, keep))
    sampling.start()
    try:
        yield
    finally:
        stop.set()
        sampling.join()


def _sample(connection: Connection[Any], stop: threading.Event, keep: Callable[[float], None]) -> None:
    keep(_lag_seconds(connection))
    while not stop.wait(SAMPLE_SECONDS):
        keep(_lag_seconds(connection))


def _lag_seconds(connection: Connection[Any]) -> float:
    return max(progress.lag_seconds for progress in all_progress(connection))
