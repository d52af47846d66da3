"""Commands in process: the write path alone, without HTTP and bodies.

Commands are made before the clock starts, because that is the caller's work. Their results are checked after it has
stopped.
"""

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from itertools import islice
from random import Random
from time import perf_counter

from domain.application import LedgerApplication
from domain.commit.decider import Result
from domain.model.commands import Command
from scripts.bench.meters.disk_space import bytes_of
from scripts.bench.meters.processor_time import (
    LEDGER,
    ProcessorMeter,
    ProcessTimes,
    metering,
    used_seconds,
)
from scripts.bench.report.figures import Contestant, Measurement
from scripts.bench.stages.stage import Stage
from scripts.bench.workloads.books import balanced_books
from scripts.bench.workloads.installation import installation, running
from scripts.bench.workloads.recording import OUTSTANDING_BATCHES, command, open_accounts, require_recorded
from scripts.bench.workloads.transfers import transfers
from scripts.bench.yardsticks.raw_append import RawAppend, Written
from scripts.bench.yardsticks.stock_library import stock_library

UNIT = "transfers/s"
BATCH_COMMANDS = 1_000
MOST_TRANSFERS = 200_000


@contextmanager
def in_process(url: str, accounts: int) -> Iterator[Stage]:
    """The in-process stage, with the yardsticks of its busiest workload."""
    with (
        installation(url) as database,
        running(database) as ledger,
        metering(database, os.getpid(), LEDGER) as meter,
    ):
        open_accounts(ledger, accounts)
        workloads = InProcess(ledger, accounts, meter)
        with RawAppend(database) as raw, stock_library(url, accounts) as library:
            contestants = (
                workloads.contestant("in-process"),
                Contestant(
                    "raw-append",
                    UNIT,
                    lambda _: raw.append(workloads.written),
                    BATCH_COMMANDS,
                    MOST_TRANSFERS,
                ),
                workloads.contestant("hot-account", shape="hot"),
                Contestant("library", UNIT, library, 100, MOST_TRANSFERS),
                *(
                    workloads.contestant(f"batches-of-{size}", size, outstanding=1)
                    for size in (1, 10, 100, 1000)
                ),
            )
            yield Stage(
                contestants,
                lambda: balanced_books(database, workloads.acknowledged),
                space=lambda: bytes_of(database),
            )


class InProcess:
    """The workloads on one ledger, which keeps running so that its cache is warm."""

    def __init__(self, ledger: LedgerApplication, accounts: int, meter: ProcessorMeter | None = None) -> None:
        self._ledger = ledger
        self._meter = meter
        self._accounts = accounts
        self._random = Random(1)
        self.acknowledged = 0
        """How many transfers were acknowledged so far."""
        self.written = Written(0, 0, 0, 0)
        """What the last run appended."""

    def contestant(
        self,
        name: str,
        batch_commands: int = BATCH_COMMANDS,
        *,
        outstanding: int = OUTSTANDING_BATCHES,
        shape: str = "uniform",
        accounts: int | None = None,
    ) -> Contestant:
        """Return the workload of batches of `batch_commands` commands, with `outstanding` batches unanswered at a time.

        Its transfers have the named shape, among the first `accounts` accounts. The default is all accounts without
        limits.
        """
        source = transfers(accounts or self._accounts, self._random, shape)
        commands = (
            [command(request, self._random) for request in transfer.requests()] for transfer in source
        )
        batches = whole_batches(commands, batch_commands)
        warm_up = max(200, 5 * batch_commands)
        return Contestant(
            name,
            UNIT,
            lambda count: self._run(list(islice(batches, max(1, count // batch_commands))), outstanding),
            warm_up,
            MOST_TRANSFERS,
        )

    def _run(self, batches: Sequence[Sequence[Command]], outstanding: int) -> Measurement:
        after = self._ledger.group_commit.position
        before = self._times()
        started = perf_counter()
        results = self._execute(batches, outstanding)
        seconds = perf_counter() - started
        used = used_seconds(before, self._times())
        for result in results:
            require_recorded(result)
        self.acknowledged += len(results)
        self.written = Written(after, self._ledger.group_commit.position, len(results), len(batches))
        return Measurement(len(results), seconds, processor_seconds=used)

    def _times(self) -> ProcessTimes:
        return self._meter.read() if self._meter else ProcessTimes({})

    def _execute(self, batches: Sequence[Sequence[Command]], outstanding: int) -> list[Result]:
        results: list[Result] = []
        waiting: deque[Future[Sequence[Result]]] = deque()
        for batch in batches:
            if len(waiting) == outstanding:
                results += waiting.popleft().result()
            waiting.append(self._ledger.execute(*batch))
        for future in waiting:
            results += future.result()
        return results


def whole_batches(source: Iterable[Sequence[Command]], commands: int) -> Iterator[Sequence[Command]]:
    """Yield batches of up to `commands` commands. A hold and its end always share a batch."""
    batch: list[Command] = []
    for together in source:
        if batch and len(batch) + len(together) > commands:
            yield batch
            batch = []
        batch += together
        if len(batch) >= commands:
            yield batch
            batch = []
