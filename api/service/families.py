"""The figures of the database as families of metrics. Whatever could not be read is left out."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from api.service.figures import Figures
from projections.diagnosis.stuck.catalogue import Total
from projections.diagnosis.vital_signs import VitalSigns
from projections.running.positions import Progress

_OF_PROJECTION = {
    "position": "The position that the projection reflects",
    "lag_events": "Events that are not projected yet",
    "lag_seconds": "Age of the oldest event that is not projected yet",
    "rate_events_per_second": "Events projected per second, recently",
    "dead_letters": "Open dead letters",
    "dead_letter_age_seconds": "Time since the first open dead letter failed, 0 if none is open",
}


class Families(Collector):
    """The families of some figures, and whether this process is ready."""

    def __init__(self, figures: Figures, *, is_ready: bool) -> None:
        self._figures = figures
        self._is_ready = is_ready

    def collect(self) -> Iterator[Metric]:
        """Yield every family."""
        yield _gauge("ready", "1 if the process can read and write, as /readyz says", self._is_ready)
        replay = self._figures.replay
        if replay and replay.lag_seconds is not None:
            words = "How old the copy is that the process reads, 0 on a primary"
            yield _gauge("replay_lag_seconds", words, replay.lag_seconds)
        yield from _positions(self._figures.progress)
        yield from _stuck(self._figures.stuck)
        if self._figures.signs:
            yield from _deliveries(self._figures.signs)
            yield from _checkpoints(self._figures.signs)


def _positions(progress: Sequence[Progress]) -> Iterator[Metric]:
    if progress:
        yield _gauge("journal_head", "The newest position of the journal", progress[0].head)
    for field, words in _OF_PROJECTION.items():
        values: dict[str, Any] = {seen.name: getattr(seen, field) for seen in progress}
        yield _gauges(f"projection_{field}", words, "projection", values)
    failing = {seen.name: seen.last_error is not None for seen in progress}
    yield _gauges("projection_failing", "1 if the last attempt to advance it failed", "projection", failing)
    states = GaugeMetricFamily(
        "tallystick_projection_state", "1 for the current state", labels=["projection", "state"]
    )
    for seen in progress:
        states.add_metric([seen.name, seen.state], 1.0)
    yield states


def _stuck(totals: Sequence[Total]) -> Iterator[Metric]:
    numbers = {total.kind: total.number for total in totals}
    yield _gauges("stuck", "How many things of a kind are stuck, at most 1000", "kind", numbers)
    ages = {total.kind: total.oldest_age_seconds for total in totals}
    yield _gauges(
        "stuck_oldest_age_seconds", "Age of the oldest stuck thing of a kind, 0 if none", "kind", ages
    )


def _deliveries(signs: VitalSigns) -> Iterator[Metric]:
    webhooks = {"enabled": signs.webhooks_enabled, "disabled": signs.webhooks_disabled}
    yield _gauges("webhooks", "Webhooks, by state", "state", webhooks)
    yield _gauge(
        "webhook_failing_seconds",
        "How long the webhook that fails for longest has acknowledged nothing, 0 if none fails",
        signs.failing_seconds,
    )
    yield _gauge(
        "delivery_oldest_age_seconds",
        "Age of the oldest event that an enabled webhook has not acknowledged, 0 if none",
        signs.undelivered_seconds,
    )
    yield _gauge(
        "delivery_overdue_seconds",
        "How long an attempt to deliver has been due or under way, at most, of webhooks that do not fail",
        signs.overdue_seconds,
    )
    attempts = CounterMetricFamily(
        "tallystick_delivery_attempts", "Attempts to deliver to a webhook, by outcome", labels=["outcome"]
    )
    for outcome, count in signs.attempts.items():
        attempts.add_metric([outcome], count)
    yield attempts


def _checkpoints(signs: VitalSigns) -> Iterator[Metric]:
    if signs.checkpoint_seconds is not None:
        yield _gauge("checkpoint_age_seconds", "Age of the newest checkpoint", signs.checkpoint_seconds)
    yield _gauge(
        "checkpoint_lag_seconds",
        "Age of the oldest event that no checkpoint covers, 0 if none",
        signs.unsigned_seconds,
    )


def _gauge(name: str, words: str, value: float) -> Metric:
    return GaugeMetricFamily(f"tallystick_{name}", words, value=float(value))


def _gauges(name: str, words: str, label: str, values: Mapping[Any, float]) -> Metric:
    family = GaugeMetricFamily(f"tallystick_{name}", words, labels=[label])
    for key, value in values.items():
        family.add_metric([key], float(value))
    return family
