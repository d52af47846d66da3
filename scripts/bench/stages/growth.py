"""A large journal next to a small one: the cost of appending and reading must not depend on the size of the journal.

The real write path fills the journal, in batches of 1,000 commands. A fifth of its events belong to one account and its
transfers, until that account has a million events. At some sizes on the way, these are measured: the rate since the
size before, the bytes per event in the table and in each index, and the time to read old and new data.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle, islice
from random import Random
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple

from psycopg.errors import InsufficientPrivilege

from domain.application import LedgerApplication
from domain.journal.database import Database
from domain.journal.queries import load
from scripts.bench.report.figures import BenchFailed, Contestant, Measurement
from scripts.bench.stages.in_process import UNIT, InProcess
from scripts.bench.stages.stage import Stage
from scripts.bench.workloads.books import balanced_books
from scripts.bench.workloads.installation import installation, running
from scripts.bench.workloads.recording import open_accounts, record
from scripts.bench.workloads.transfers import BOOK, Transfer, address, random_uuid, transfers

SMALL_EVENTS = 50_000
EVENTS_A_TRANSFER = 3
LONG_STREAM_EVENTS = 1_000_000
LONG = 0
"""The account of the long stream."""

SHORT_STREAM_EVENTS = 10
MOST_TRANSFERS = 60_000
"""The most transfers of one run. Together their events are as many as the small journal's: few beside a large journal,
and many beside a batch.
"""

BYTES_PER_EVENT = 450
"""The disk space of an event, with its index entries and its share of the snapshots."""

LOGGED_BYTES_PER_EVENT = 2_600
MOST_LOG_BYTES = 5 * 1024**3
"""The size of PostgreSQL's log (`max_wal_size`, and what is written while a checkpoint is under way)."""

TRANSFERS_AFTER_CHECKPOINT = 60_000
"""After this many transfers, at 5 million events, most pages of the index of streams have been logged whole since the
last checkpoint. Checkpoints are a million transfers apart, so the cost of appending is the cost between two of them.
The cost of the first transfers is measured separately.
"""

WARM_UP_READS = 50
MOST_READS = 5_000
SAMPLED_READS = 200
_SQL = load("scripts.bench.bench")


class Milestone(NamedTuple):
    """The journal at one size: its events, the events appended per second since the size before, the bytes of each
    relation per event, and the median milliseconds to read an account, an old transaction and a new one.
    """

    events: int
    events_per_second: float
    bytes_per_event: dict[str, float]
    account_milliseconds: float
    old_transaction_milliseconds: float
    new_transaction_milliseconds: float


@contextmanager
def growth(url: str, accounts: int, events: int, small_events: int) -> Iterator[Stage]:
    """The growth stage, up to `events` events, next to a journal of `small_events`."""
    with installation(url) as database, running(database) as ledger:
        large = GrowingJournal(database, ledger, accounts)
        milestones = [large.grow(size) for size in _sizes(events, small_events)]
        ours = InProcess(ledger, accounts)
        appending = ours.contestant("growth")._replace(most=MOST_TRANSFERS)

        def after_checkpoint(count: int) -> Measurement:
            checkpoint(database)
            return appending.run(count)

        def between_checkpoints(count: int) -> Measurement:
            large.append(min(TRANSFERS_AFTER_CHECKPOINT, events // EVENTS_A_TRANSFER))
            return appending.run(count)

        contestants = (
            appending._replace(name="growth-after-checkpoint", run=after_checkpoint),
            appending._replace(run=between_checkpoints),
            Contestant(
                "small-journal",
                UNIT,
                lambda count: _small(url, accounts, small_events, count),
                5_000,
                MOST_TRANSFERS,
            ),
            large.reading("confirmation", cycle([address(LONG)]), ledger.account),
            large.reading("short-confirmation", cycle([address(accounts)]), ledger.account),
            large.reading("old-transaction", cycle(large.old), ledger.transaction),
            large.reading("new-transaction", cycle(large.new), ledger.transaction),
        )
        yield Stage(
            contestants,
            lambda: balanced_books(database, large.transfers + ours.acknowledged),
            [milestone._asdict() for milestone in milestones],
        )


def checkpoint(database: Database) -> None:
    """Run a PostgreSQL checkpoint. Raises `BenchFailed` if the login may not request one."""
    try:
        with database.connect_as_owner("tallystick bench") as connection:
            connection.execute("CHECKPOINT")
    except InsufficientPrivilege as error:
        raise BenchFailed("the login needs the role pg_checkpoint") from error


def bytes_needed(events: int) -> int:
    """Return the disk space a journal of this many events needs, in bytes."""
    return events * BYTES_PER_EVENT + min(MOST_LOG_BYTES, events * LOGGED_BYTES_PER_EVENT)


def _sizes(events: int, small_events: int) -> Sequence[int]:
    """Return the sizes at which the journal is measured: the small one times powers of ten, and the final size."""
    sizes = [small_events * 10**power for power in range(10)]
    return [size for size in sizes if size < events] + [events]


def _small(url: str, accounts: int, events: int, count: int) -> Measurement:
    """Measure a run on a journal made for this run, so that it is equally small each time."""
    with installation(url) as database, running(database) as ledger:
        GrowingJournal(database, ledger, accounts).grow(events)
        return InProcess(ledger, accounts).contestant("small-journal").run(count)


class GrowingJournal:
    """A journal that is filled step by step."""

    def __init__(self, database: Database, ledger: LedgerApplication, accounts: int) -> None:
        self._database = database
        self._ledger = ledger
        self._accounts = accounts
        self._random = Random(5)
        self._uniform = transfers(accounts, self._random)
        open_accounts(ledger, accounts + 1)
        self.transfers = 0
        """How many transfers were recorded so far."""
        self._long_stream = 0
        self._record(self._between(1, accounts, SHORT_STREAM_EVENTS - 1))
        self.old: list[str] = self._transactions("ASC")
        """The ids of some of the oldest transactions."""
        self.new: list[str] = self.old
        """The ids of some of the newest transactions."""

    def grow(self, events: int) -> Milestone:
        """Fill the journal up to about `events` events and measure it."""
        missing = events - self._ledger.group_commit.position
        of_long_stream = min(missing // 5 // EVENTS_A_TRANSFER, LONG_STREAM_EVENTS - self._long_stream)
        began = perf_counter()
        self._record(self._with_long_stream(of_long_stream))
        self.append(missing // EVENTS_A_TRANSFER - of_long_stream)
        seconds = perf_counter() - began
        self.new = self._transactions("DESC")
        return Milestone(
            self._ledger.group_commit.position,
            missing / seconds,
            self._bytes_per_event(),
            self._median_milliseconds(self._ledger.account, [address(LONG)]),
            self._median_milliseconds(self._ledger.transaction, self.old),
            self._median_milliseconds(self._ledger.transaction, self.new),
        )

    def append(self, count: int) -> None:
        """Append this many transfers."""
        self._record(islice(self._uniform, count))

    def reading(
        self, name: str, wanted: Iterator[str], read: Callable[[str, str], tuple[Any, int]]
    ) -> Contestant:
        """Return the workload that reads these, one after the other."""

        def run(count: int) -> Measurement:
            asked = list(islice(wanted, count))
            began = perf_counter()
            for one in asked:
                read(BOOK, one)
            return Measurement(count, perf_counter() - began)

        return Contestant(name, "reads/s", run, WARM_UP_READS, MOST_READS)

    def _record(self, wanted: Iterator[Transfer]) -> None:
        before = self._ledger.group_commit.position
        record(self._ledger, wanted, self._random)
        self.transfers += (self._ledger.group_commit.position - before) // EVENTS_A_TRANSFER

    def _with_long_stream(self, count: int) -> Iterator[Transfer]:
        self._long_stream += count
        return islice(transfers(self._accounts, self._random, "hot"), count)

    def _between(self, debited: int, credited: int, count: int) -> Iterator[Transfer]:
        name = random_uuid(self._random)
        return (
            Transfer(f"{name}-{number:08}", address(debited), address(credited)) for number in range(count)
        )

    def _transactions(self, order: str) -> list[str]:
        with self._database.connect("tallystick bench") as connection:
            query = _SQL["transactions"].fill(order=order)
            found = query.rows(connection, {"limit": SAMPLED_READS})
        return [id for (id,) in found]

    def _bytes_per_event(self) -> dict[str, float]:
        with self._database.connect("tallystick bench") as connection:
            sizes = _SQL["sizes"].rows(connection)
        return {name: size / self._ledger.group_commit.position for name, size in sizes}

    def _median_milliseconds(
        self, read: Callable[[str, str], tuple[Any, int]], wanted: Sequence[str]
    ) -> float:
        times = []
        for one in islice(cycle(wanted), SAMPLED_READS):
            began = perf_counter()
            read(BOOK, one)
            times.append(perf_counter() - began)
        return median(times) * 1000
