"""The figures of the database as families of metrics. Whatever could not be read is left out."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from api.service.figures import Figures
from projections.diagnosis.stuck.catalogue import Total
from projections.diagnosis.vital_signs import VitalSigns
from projections.running.positions import Progress

INSTALLATION = "installation"
"""The label that tells the installations of a placement apart."""

_OF_PROJECTION = {
    "position": "The position that the projection reflects",
    "lag_events": "Events that are not projected yet",
    "lag_seconds": "Age of the oldest event that is not projected yet",
    "rate_events_per_second": "Events projected per second, recently",
    "dead_letters": "Open dead letters",
    "dead_letter_age_seconds": "Time since the first open dead letter failed, 0 if none is open",
}


class Seen(NamedTuple):
    """The figures of an installation, and whether this process can read and write there.

    `installation` is its name in a placement, None if there is no placement.
    """

    installation: str | None
    figures: Figures
    is_ready: bool


class Families(Collector):
    """The families of what was seen of each installation. In a placement every sample has the label `installation`."""

    def __init__(self, seen: Sequence[Seen]) -> None:
        self._seen = seen

    def collect(self) -> Iterator[Metric]:
        """Yield every family once."""
        families: dict[str, Metric] = {}
        for of in self._seen:
            label = {} if of.installation is None else {INSTALLATION: of.installation}
            for family in _families(of):
                known = families.setdefault(
                    family.name, Metric(family.name, family.documentation, family.type)
                )
                for sample in family.samples:
                    known.add_sample(sample.name, {**label, **sample.labels}, sample.value)
        yield from families.values()


def _families(seen: Seen) -> Iterator[Metric]:
    figures = seen.figures
    yield _gauge("ready", "1 if the process can read and write, as /readyz says", seen.is_ready)
    if figures.replay and figures.replay.lag_seconds is not None:
        words = "How old the copy is that the process reads, 0 on a primary"
        yield _gauge("replay_lag_seconds", words, figures.replay.lag_seconds)
    yield from _positions(figures.progress)
    yield from _stuck(figures.stuck)
    if figures.signs:
        yield from _deliveries(figures.signs)
        yield from _checkpoints(figures.signs)
        yield from _witnessed(figures.signs)


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


def _witnessed(signs: VitalSigns) -> Iterator[Metric]:
    ages = {sign.log: sign.unseen_seconds for sign in signs.witnessed}
    words = "Time since the newest checkpoint of another installation was found to follow what was witnessed"
    yield _gauges("witness_age_seconds", words, "log", ages)
    disputes = {sign.log: sign.is_disputed for sign in signs.witnessed}
    yield _gauges("witness_disputed", "1 if a checkpoint of the log contradicts it", "log", disputes)


def _gauge(name: str, words: str, value: float) -> Metric:
    return GaugeMetricFamily(f"tallystick_{name}", words, value=float(value))


def _gauges(name: str, words: str, label: str, values: Mapping[Any, float]) -> Metric:
    family = GaugeMetricFamily(f"tallystick_{name}", words, labels=[label])
    for key, value in values.items():
        family.add_metric([key], float(value))
    return family
