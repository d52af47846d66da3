"""The metrics for Prometheus: requests, commands, batches, the progress of projections, and what is stuck.

With several processes (`PROMETHEUS_MULTIPROC_DIR`) each keeps its figures in that folder, and any of them answers for
all. The progress of projections and what is stuck do not belong to a process: they are read from the database for each
request.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from projections.diagnosis.stuck.catalogue import Total
from projections.running.positions import Progress

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_COUNTS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


class Metrics:
    """The figures of one process. Label look-ups are slow and requests are many, so each is made once."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        registry = self._registry
        self._commands = Counter(
            "tallystick_commands", "Commands, by outcome", ["type", "outcome"], registry=registry
        )
        self._batch_commands = Histogram(
            "tallystick_batch_commands", "Commands decided in one batch", buckets=_COUNTS, registry=registry
        )
        self._commit_seconds = Histogram(
            "tallystick_commit_seconds",
            "Time from the decision of a batch to its commit",
            buckets=_SECONDS,
            registry=registry,
        )
        self._events = Counter("tallystick_events_recorded", "Events recorded", registry=registry)
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
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._queue: Callable[[], int] = lambda: 0
        self._of_command: dict[tuple[str, str], Counter] = {}
        self._of_request: dict[tuple[str, str, int], Histogram] = {}

    def command(self, name: str, outcome: str, count: int = 1) -> None:
        """Count commands. `outcome` is one word, or the code of a refusal."""
        counter = self._of_command.get((name, outcome))
        if counter is None:
            counter = self._of_command[name, outcome] = self._commands.labels(name, outcome)
        counter.inc(count)

    def batch(self, commands: int, events: int, seconds: float) -> None:
        """Observe a batch. `GroupCommit` calls this."""
        self._batch_commands.observe(commands)
        self._commit_seconds.observe(seconds)
        self._events.inc(events)
        self._waiting.set(self._queue())

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Observe a request. `route` is the pattern of its path."""
        histogram = self._of_request.get((method, route, status))
        if histogram is None:
            labelled = self._requests.labels(method, route, str(status))
            histogram = self._of_request[method, route, status] = labelled
        histogram.observe(seconds)

    def watch_queue(self, waiting_commands: Callable[[], int]) -> None:
        """Set the function that returns how many commands wait."""
        self._queue = waiting_commands

    def page(self, progress: Iterable[Progress], stuck: Iterable[Total]) -> bytes:
        """Return all figures: those of the processes, the progress of projections, and what is stuck."""
        self._waiting.set(self._queue())
        registry = self._registry
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        found = CollectorRegistry()
        found.register(_Positions(list(progress)))
        found.register(_Stuck(list(stuck)))
        return generate_latest(registry) + generate_latest(found)


class _Positions(Collector):
    def __init__(self, progress: list[Progress]) -> None:
        self._progress = progress

    def collect(self) -> Iterator[Metric]:
        """Yield the figures of each projection, and the head of the journal."""
        if self._progress:
            head = self._progress[0].head
            yield GaugeMetricFamily(
                "tallystick_journal_head", "The newest position of the journal", value=head
            )
        for field, words in _OF_PROJECTION.items():
            family = GaugeMetricFamily(f"tallystick_projection_{field}", words, labels=["projection"])
            for seen in self._progress:
                value: Any = getattr(seen, field)
                family.add_metric([seen.name], float(value))
            yield family
        states = GaugeMetricFamily(
            "tallystick_projection_state", "1 for the current state", labels=["projection", "state"]
        )
        for seen in self._progress:
            states.add_metric([seen.name, seen.state], 1.0)
        yield states


class _Stuck(Collector):
    def __init__(self, totals: list[Total]) -> None:
        self._totals = totals

    def collect(self) -> Iterator[Metric]:
        """Yield how much of each kind is stuck and how old the oldest is. Nothing if it could not be read."""
        counts = GaugeMetricFamily(
            "tallystick_stuck", "How many things of a kind are stuck, at most 1000", labels=["kind"]
        )
        ages = GaugeMetricFamily(
            "tallystick_stuck_oldest_age_seconds",
            "Age of the oldest stuck thing of a kind, 0 if none",
            labels=["kind"],
        )
        for total in self._totals:
            counts.add_metric([total.kind], total.number)
            ages.add_metric([total.kind], total.oldest_age_seconds)
        yield counts
        yield ages


_OF_PROJECTION = {
    "position": "The position that the projection reflects",
    "lag_events": "Events that are not projected yet",
    "lag_seconds": "Age of the oldest event that is not projected yet",
    "rate_events_per_second": "Events projected per second, recently",
    "dead_letters": "Open dead letters",
    "dead_letter_age_seconds": "Time since the first open dead letter failed, 0 if none is open",
}
