"""The projections in one process and divided among several: what they cost, how even the shares are, and how long
projections stand still whose process was killed.

Each run has a service of its own, one at a time, all on one installation. It is measured once it has had some load and
each process has its share.
"""

import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from statistics import mean
from time import monotonic, perf_counter, sleep
from typing import Any, NamedTuple

from psycopg import Connection

from domain.journal.database import Database
from projections.registry import PROJECTIONS, install
from projections.running.places import holders
from projections.running.positions import all_progress
from projections.running.shares import Share, divided
from scripts.bench.meters.processor_time import BENCH, ProcessTime, ProcessTimes
from scripts.bench.report.figures import BenchFailed, Contestant, Measurement
from scripts.bench.stages.following import LAGGING_PER_SECOND, MOST_SECONDS, SteadyLoad
from scripts.bench.stages.served import ServedLedger, serving
from scripts.bench.stages.stage import Stage
from scripts.bench.workloads.books import balanced_books
from scripts.bench.workloads.catching_up import POLL_SECONDS
from scripts.bench.workloads.http_load import MOST_TRANSFERS, WARM_UP_REQUESTS, Sent
from scripts.bench.workloads.installation import installation, running
from scripts.bench.workloads.recording import open_accounts
from scripts.bench.workloads.servers import Server
from scripts.bench.workloads.steady_load import transferred

SEVERAL = (2, 4)
"""The numbers of processes that are compared with one."""

AT_FULL_SPEED, STEADILY = "projectors-{}", "steady-projectors-{}"
"""The workloads with a number of processes: as fast as 64 connections make transfers, and at `STEADY_PER_SECOND`.

What each batch costs is shared by its events. At full speed each number of processes may have another rate, and so
batches of another size; at a steady rate they are alike.
"""

STEADY_PER_SECOND = 1_000
MOST_STEADY_SECONDS = 30

KILLED = "killed-projector"
BUSIEST = "busiest_share_over_mean"
"""The processor time of the busiest process and its session of PostgreSQL, as a multiple of the mean of all."""

RECOVERED = "recovered_seconds"
"""The time from the kill until every projection is past the head at the kill."""

KILLED_AFTER_SECONDS = 1.0
KILL_LOAD_SECONDS = 4.0
PATIENCE_SECONDS = 60.0


@contextmanager
def projectors(url: str, accounts: int) -> Iterator[Stage]:
    """The stage of several projectors."""
    with installation(url) as database:
        install(database)
        with running(database) as ledger:
            open_accounts(ledger, accounts)
        dividing = Dividing(database, accounts)
        rate = LAGGING_PER_SECOND
        yield Stage(
            (
                *(dividing.at_full_speed(number) for number in (1, *SEVERAL)),
                *(dividing.steadily(number) for number in (1, *SEVERAL)),
                Contestant(KILLED, "transfers/s", dividing.kill, 0, MOST_SECONDS * rate, rate),
            ),
            lambda: balanced_books(database, dividing.sent.acknowledged),
            in_any_order=True,
        )


class Worker(NamedTuple):
    """Who advances a share of the projections: a projector, and the process that serves its session of PostgreSQL."""

    process_id: int
    session_id: int


class Dividing:
    """Services with several projectors, one after the other, on one installation."""

    def __init__(self, database: Database, accounts: int) -> None:
        self._database = database
        self._accounts = accounts
        self.sent = Sent()

    def at_full_speed(self, number: int) -> Contestant:
        """Return the workload of single transfers as fast as 64 connections make them."""

        def run(transfers: int) -> Measurement:
            with self._serving(number) as (served, workers, _):
                before = served.meter.read()
                reading = served.load.run(served.plan, transfers)
                busiest = busiest_over_mean(seconds_of(workers, before, served.meter.read()))
            return reading._replace(details={**reading.details, BUSIEST: busiest})

        return Contestant(AT_FULL_SPEED.format(number), "transfers/s", run, WARM_UP_REQUESTS, MOST_TRANSFERS)

    def steadily(self, number: int) -> Contestant:
        """Return the workload of single transfers at a steady rate."""
        rate = STEADY_PER_SECOND

        def run(transfers: int) -> Measurement:
            with self._serving(number) as (served, *_):
                return SteadyLoad(served).run(transfers, rate, transferred, "answer")

        return Contestant(STEADILY.format(number), "transfers/s", run, 0, MOST_STEADY_SECONDS * rate, rate)

    def kill(self, transfers: int) -> Measurement:
        """Kill one of two projectors under a steady load of about this many transfers, or of `KILL_LOAD_SECONDS`."""
        count = max(transfers, round(KILL_LOAD_SECONDS * LAGGING_PER_SECOND))
        with self._serving(2) as (served, workers, connection), ThreadPoolExecutor(1) as beside:
            recovering = beside.submit(_seconds_to_recover, connection, workers[0].process_id)
            reading = SteadyLoad(served).run(count, LAGGING_PER_SECOND, transferred, "answer")
            recovered_seconds = recovering.result()
        return reading._replace(details={**reading.details, RECOVERED: recovered_seconds})

    @contextmanager
    def _serving(self, number: int) -> Iterator[tuple[ServedLedger, Sequence[Worker], Connection[Any]]]:
        """A service after some load and with its projections divided, who has each share, and a connection."""
        with (
            serving(self._database, self._accounts, projectors=number, sent=self.sent) as served,
            self._database.connect(BENCH) as connection,
        ):
            served.load.run(served.plan, WARM_UP_REQUESTS)
            yield served, _workers(served.server, connection, number), connection


def _workers(server: Server, connection: Connection[Any], number: int) -> list[Worker]:
    """Return who advances each share, by number, once the projections are divided."""
    give_up_at = monotonic() + PATIENCE_SECONDS
    while monotonic() < give_up_at:
        if sessions := _sessions_of_shares(connection, number):
            return [
                Worker(server.projector(Share(share, number)), session)
                for share, session in enumerate(sessions)
            ]
        sleep(POLL_SECONDS)
    raise BenchFailed(f"the projections were not divided among {number} projectors")


def _sessions_of_shares(connection: Connection[Any], number: int) -> list[int]:
    """Return the session that advances each share. Nothing while one advances two, or two advance one."""
    found: list[set[int]] = [set() for _ in range(number)]
    holding = holders(connection, [("projection", of.of_shape) for of in PROJECTIONS.values()])
    for name, share in divided(frozenset(PROJECTIONS), number).items():
        holder = holding.get(("projection", PROJECTIONS[name].of_shape))
        found[share].add(holder.pid if holder else 0)
    sessions = [session for one in found for session in one]
    return sessions if 0 not in sessions and len(set(sessions)) == len(sessions) == number else []


def seconds_of(workers: Sequence[Worker], before: ProcessTimes, after: ProcessTimes) -> list[float]:
    """Return the processor time that each used between two readings. Nothing of PostgreSQL's on another machine."""
    return [
        _used(worker.process_id, before.service, after.service)
        + _used(worker.session_id, before.server, after.server)
        for worker in workers
    ]


def _used(process_id: int, before: Mapping[int, ProcessTime], after: Mapping[int, ProcessTime]) -> float:
    if process_id not in before or process_id not in after:
        return 0.0
    return after[process_id].seconds - before[process_id].seconds


def busiest_over_mean(seconds: Sequence[float]) -> float:
    """Return the greatest of some times as a multiple of their mean, 1 if none was used."""
    return max(seconds) / mean(seconds) if any(seconds) else 1.0


def _seconds_to_recover(connection: Connection[Any], process_id: int) -> float:
    """Kill a projector that has been under load for a while. Return how long until all projections have gone on."""
    sleep(KILLED_AFTER_SECONDS)
    os.kill(process_id, signal.SIGKILL)
    killed_at = perf_counter()
    head = max(progress.head for progress in all_progress(connection))
    while perf_counter() < killed_at + PATIENCE_SECONDS:
        if all(progress.position > head for progress in all_progress(connection)):
            return perf_counter() - killed_at
        sleep(POLL_SECONDS)
    raise BenchFailed("the projections of a killed projector stood still")
