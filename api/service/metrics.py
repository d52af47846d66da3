"""The metrics for Prometheus: what each process counts, and what the database says for all of them.

With several processes (`PROMETHEUS_MULTIPROC_DIR`) each keeps its figures in that folder, and any of them answers for
all. The figures of the database (`figures`) do not belong to a process: they are read for each page.
"""

import os
from collections.abc import Callable, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from api.problems import PROBLEM_TYPES
from api.service.families import INSTALLATION, Families, Seen
from projections.process_managers.provider_health import Callee
from projections.running.positions import WaitOutcome

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_COUNTS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


class Metrics:
    """The figures of one process. Label look-ups are slow and requests are many, so each is made once.

    In a placement, the figures of what an installation's books take have the label `installation`: `of` leads to them.
    """

    def __init__(self, *, is_placement: bool = False) -> None:
        self._registry = CollectorRegistry()
        registry = self._registry
        placed = [INSTALLATION] if is_placement else []
        self._commands = Counter(
            "tallystick_commands", "Commands, by outcome", [*placed, "type", "outcome"], registry=registry
        )
        self._batch_commands = Histogram(
            "tallystick_batch_commands",
            "Commands decided in one batch",
            placed,
            buckets=_COUNTS,
            registry=registry,
        )
        self._commit_seconds = Histogram(
            "tallystick_commit_seconds",
            "Time from the decision of a batch to its commit",
            placed,
            buckets=_SECONDS,
            registry=registry,
        )
        self._events = Counter("tallystick_events_recorded", "Events recorded", placed, registry=registry)
        self._requests = Histogram(
            "tallystick_http_request_seconds",
            "Requests, by route",
            ["method", "route", "status"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._waiting = Gauge(
            "tallystick_waiting_commands",
            "Commands that wait for the next batch",
            placed,
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._denials = Counter(
            "tallystick_denials",
            "Requests that were not let in, by problem code",
            ["code"],
            registry=registry,
        )
        # Each is 0 from the first page on. Otherwise Prometheus would not see the first denials as a rise.
        for code in (code for code, of in PROBLEM_TYPES.items() if of.status in (401, 403)):
            self._denials.labels(code)
        self._waits = Histogram(
            "tallystick_position_wait_seconds",
            "Waits of reads until a projection reaches a position, by how they ended",
            [*placed, "projection", "outcome"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._provider_calls = Histogram(
            "tallystick_provider_call_seconds",
            "Calls of payment providers, and of the installations that receive bridges, by purpose and outcome",
            [*placed, "provider", "receiver", "call", "outcome"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._of_request: dict[tuple[str, str, int], Histogram] = {}
        self._is_placement = is_placement
        self._books: dict[str, BookMetrics] = {}

    def of(self, installation: str) -> "BookMetrics":
        """Return the figures of the books of an installation of this process."""
        if installation not in self._books:
            metrics = self._commands, self._batch_commands, self._commit_seconds, self._events, self._waiting
            label = (installation,) if self._is_placement else ()
            self._books[installation] = BookMetrics(label, *metrics, self._waits, self._provider_calls)
        return self._books[installation]

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Observe a request. `route` is the pattern of its path."""
        histogram = self._of_request.get((method, route, status))
        if histogram is None:
            labelled = self._requests.labels(method, route, str(status))
            histogram = self._of_request[method, route, status] = labelled
        histogram.observe(seconds)

    def denial(self, code: str) -> None:
        """Count a request that was not let in. `code` is that of its problem."""
        self._denials.labels(code).inc()

    def page(self, seen: Sequence[Seen]) -> bytes:
        """Return all figures: those of the processes, and those of the database of each installation."""
        for books in self._books.values():
            books.count_waiting()
        registry = self._registry
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        found = CollectorRegistry()
        found.register(Families(seen))
        return generate_latest(registry) + generate_latest(found)


class BookMetrics:
    """The figures of what the books of an installation take in one process."""

    def __init__(
        self,
        label: tuple[str, ...],
        commands: Counter,
        batch_commands: Histogram,
        commit_seconds: Histogram,
        events: Counter,
        waiting: Gauge,
        waits: Histogram,
        provider_calls: Histogram,
    ) -> None:
        """`label` is the installation's name in a placement, else empty."""
        self._label = label
        self._commands = commands
        self._batch_commands = batch_commands.labels(*label) if label else batch_commands
        self._commit_seconds = commit_seconds.labels(*label) if label else commit_seconds
        self._events = events.labels(*label) if label else events
        self._waiting = waiting.labels(*label) if label else waiting
        self._waits = waits
        self._provider_calls = provider_calls
        self._queue: Callable[[], int] = lambda: 0
        self._of_command: dict[tuple[str, str], Counter] = {}

    def command(self, name: str, outcome: str, count: int = 1) -> None:
        """Count commands. `outcome` is one word, or the code of a refusal."""
        counter = self._of_command.get((name, outcome))
        if counter is None:
            labelled = self._commands.labels(*self._label, name, outcome)
            counter = self._of_command[name, outcome] = labelled
        counter.inc(count)

    def batch(self, commands: int, events: int, seconds: float) -> None:
        """Observe a batch. `GroupCommit` calls this."""
        self._batch_commands.observe(commands)
        self._commit_seconds.observe(seconds)
        self._events.inc(events)
        self.count_waiting()

    def wait(self, projection: str, outcome: WaitOutcome, seconds: float) -> None:
        """Observe the wait of a read for a position of a projection."""
        self._waits.labels(*self._label, projection, outcome.name.lower()).observe(seconds)

    def provider_call(self, callee: Callee, call: str, outcome: str, seconds: float) -> None:
        """Observe a call of a payment provider, or of an installation that receives a bridge. `Payer` calls this."""
        self._provider_calls.labels(*self._label, *callee, call, outcome).observe(seconds)

    def watch_queue(self, waiting_commands: Callable[[], int]) -> None:
        """Set the function that returns how many commands wait."""
        self._queue = waiting_commands

    def count_waiting(self) -> None:
        """Set how many commands wait now."""
        self._waiting.set(self._queue())
