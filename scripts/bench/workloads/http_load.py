"""The HTTP load on one server, run after run, and what each run takes of the processors."""

from collections.abc import Callable
from itertools import count

from scripts.bench.meters.processor_time import CLIENT, ProcessorMeter, used_seconds
from scripts.bench.report.figures import Contestant, Measurement
from scripts.bench.workloads.load import run_load
from scripts.bench.workloads.requests import Plan

CONNECTIONS = 64
WARM_UP_REQUESTS = 2_000
MOST_TRANSFERS = 100_000


class Sent:
    """What was sent to an installation: no two runs take the same seed, and so send the same request."""

    def __init__(self) -> None:
        self.seeds = count(1)
        self.acknowledged = 0
        """How many transfers were acknowledged so far."""


class HttpLoad:
    """The load on one server.

    `catch_up` waits for the projections after each run. The time this takes is reported, and the processor time that
    they use is the run's. So no run pays for the work another left behind.
    """

    def __init__(
        self,
        meter: ProcessorMeter,
        sent: Sent,
        catch_up: Callable[[], float] | None = None,
        unit: str = "transfers/s",
    ) -> None:
        self._meter = meter
        self._sent = sent
        self._catch_up = catch_up
        self._unit = unit

    def contestant(
        self, name: str, plan: Plan, warm_up: int = WARM_UP_REQUESTS, most: int = MOST_TRANSFERS
    ) -> Contestant:
        """Return the workload that sends about the given number of units of a plan and times them."""
        return Contestant(name, self._unit, lambda units: self.run(plan, units), warm_up, most)

    def run(self, plan: Plan, units: int) -> Measurement:
        """Send about this many units, in whole requests, and time them."""
        requests = max(1, round(units / plan.units))
        before = self._meter.read()
        reading = run_load(plan._replace(requests=requests, seed=next(self._sent.seeds)))
        self._sent.acknowledged += reading.units
        details = dict(reading.details)
        if self._catch_up:
            details["catch_up_seconds"] = self._catch_up()
        used = used_seconds(before, self._meter.read())
        used[CLIENT] = details["client_processor_seconds"]
        return reading._replace(details=details, processor_seconds=used)
