"""The dashboard for Grafana, as code: `python -m scripts.monitoring.dashboard` writes `dashboard.json`.

Each panel is one question. A query may use `$__rate_interval`, which Grafana fills in. Figures of the database come
from every API process, so their maximum is taken.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

PATH = Path(__file__).with_name("dashboard.json")

WIDTH, PANEL_WIDTH, PANEL_HEIGHT = 24, 8, 7
"""In units of Grafana's grid."""

_SOURCE = {"type": "prometheus", "uid": "${source}"}


class Panel(NamedTuple):
    """A question: its title, the unit of its answer, and the queries that answer it, each with the legend of its
    lines."""

    title: str
    unit: str
    queries: Sequence[tuple[str, str]]


def rate(metric: str, by: str = "") -> str:
    """Return the query for a counter's growth per second, summed for each value of the label `by`."""
    grouped = f" by ({by})" if by else ""
    return f"sum{grouped} (rate({metric}[$__rate_interval]))"


def quantiles(histogram: str) -> list[tuple[str, str]]:
    """Return the queries for the median and the 99th percentile of a histogram."""
    buckets = rate(f"{histogram}_bucket", "le")
    return [(f"histogram_quantile({q}, {buckets})", legend) for q, legend in ((0.5, "p50"), (0.99, "p99"))]


def greatest(gauge: str, by: str = "") -> str:
    """Return the query for the maximum of a gauge for each value of the label `by`, and for each installation."""
    return f"max by ({', '.join(filter(None, ('installation', by)))}) ({gauge})"


_REQUESTS = "tallystick_http_request_seconds"
_ERRORS = rate(_REQUESTS + '_count{status=~"5.."}')

ROWS: Sequence[tuple[str, Sequence[Panel]]] = (
    (
        "Answers",
        (
            Panel(
                "Alerts that fire", "short", [('count(ALERTS{alertstate="firing"}) or vector(0)', "alerts")]
            ),
            Panel(
                "Processes that are ready",
                "short",
                [("sum by (installation) (tallystick_ready)", "ready {{installation}}")],
            ),
            Panel("Requests by status", "reqps", [(rate(f"{_REQUESTS}_count", "status"), "{{status}}")]),
            Panel("Time to answer", "s", quantiles(_REQUESTS)),
            Panel(
                "Share of 5xx",
                "percentunit",
                [(f"({_ERRORS} or vector(0)) / {rate(f'{_REQUESTS}_count')}", "5xx")],
            ),
            Panel("Requests not let in", "reqps", [(rate("tallystick_denials_total", "code"), "{{code}}")]),
        ),
    ),
    (
        "Writing",
        (
            Panel(
                "Commands by outcome", "ops", [(rate("tallystick_commands_total", "outcome"), "{{outcome}}")]
            ),
            Panel("Events recorded", "ops", [(rate("tallystick_events_recorded_total"), "events")]),
            Panel("Commands that wait", "short", [("sum(tallystick_waiting_commands)", "waiting")]),
            Panel("Time to commit a batch", "s", quantiles("tallystick_commit_seconds")),
            Panel("Commands in a batch", "short", quantiles("tallystick_batch_commands")),
            Panel(
                "Head of the journal",
                "short",
                [(greatest("tallystick_journal_head"), "position {{installation}}")],
            ),
        ),
    ),
    (
        "Promises",
        (
            Panel(
                "Stuck, by kind",
                "short",
                [(greatest("tallystick_stuck", "kind"), "{{kind}} {{installation}}")],
            ),
            Panel(
                "Age of the oldest that is stuck",
                "s",
                [(greatest("tallystick_stuck_oldest_age_seconds", "kind"), "{{kind}} {{installation}}")],
            ),
            Panel(
                "Checkpoints",
                "s",
                [
                    (
                        greatest("tallystick_checkpoint_lag_seconds"),
                        "oldest event without one {{installation}}",
                    ),
                    (greatest("tallystick_checkpoint_age_seconds"), "age of the newest {{installation}}"),
                ],
            ),
            Panel(
                "Calls of providers",
                "ops",
                [
                    (
                        rate("tallystick_provider_call_seconds_count", "provider, receiver, outcome"),
                        "{{provider}} {{receiver}} {{outcome}}",
                    )
                ],
            ),
            Panel("Time of a provider's call", "s", quantiles("tallystick_provider_call_seconds")),
        ),
    ),
    (
        "Reading",
        (
            Panel(
                "Lag of read models",
                "s",
                [
                    (
                        greatest("tallystick_projection_lag_seconds", "projection"),
                        "{{projection}} {{installation}}",
                    )
                ],
            ),
            Panel(
                "Events that they lack",
                "short",
                [
                    (
                        greatest("tallystick_projection_lag_events", "projection"),
                        "{{projection}} {{installation}}",
                    )
                ],
            ),
            Panel(
                "Events projected",
                "ops",
                [
                    (
                        greatest("tallystick_projection_rate_events_per_second", "projection"),
                        "{{projection}} {{installation}}",
                    )
                ],
            ),
            Panel(
                "Read models by state",
                "short",
                [
                    (
                        "count by (state) (max by (installation, projection, state) (tallystick_projection_state))",
                        "{{state}}",
                    )
                ],
            ),
            Panel(
                "Dead letters and failures",
                "short",
                [
                    (
                        greatest("tallystick_projection_dead_letters", "projection"),
                        "{{projection}} {{installation}}",
                    ),
                    (
                        greatest("tallystick_projection_failing", "projection"),
                        "{{projection}} fails {{installation}}",
                    ),
                ],
            ),
            Panel(
                "Waits for a position",
                "ops",
                [(rate("tallystick_position_wait_seconds_count", "outcome"), "{{outcome}}")],
            ),
            Panel("Time of a wait", "s", quantiles("tallystick_position_wait_seconds")),
        ),
    ),
    (
        "Telling",
        (
            Panel(
                "Attempts to deliver",
                "ops",
                [(rate("tallystick_delivery_attempts_total", "outcome"), "{{outcome}}")],
            ),
            Panel(
                "Age of the oldest delivery",
                "s",
                [
                    (greatest("tallystick_delivery_oldest_age_seconds"), "oldest delivery {{installation}}"),
                    (greatest("tallystick_delivery_overdue_seconds"), "overdue attempt {{installation}}"),
                    (greatest("tallystick_webhook_failing_seconds"), "a webhook fails {{installation}}"),
                ],
            ),
            Panel(
                "Webhooks by state",
                "short",
                [(greatest("tallystick_webhooks", "state"), "{{state}} {{installation}}")],
            ),
        ),
    ),
)


def queries() -> Iterator[str]:
    """Yield every query of the dashboard."""
    for _, panels in ROWS:
        for panel in panels:
            yield from (query for query, _ in panel.queries)


def dashboard() -> dict[str, Any]:
    """Return the dashboard as Grafana imports it."""
    source = {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"}
    return {
        "uid": "tallystick",
        "title": "Tallystick",
        "schemaVersion": 39,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {"list": [source]},
        "panels": list(_placed()),
    }


def _placed() -> Iterator[dict[str, Any]]:
    """Yield the rows and panels, from left to right and from top to bottom."""
    top = 0
    for title, panels in ROWS:
        yield {"type": "row", "title": title, "gridPos": {"x": 0, "y": top, "w": WIDTH, "h": 1}, "panels": []}
        top += 1
        for number, panel in enumerate(panels):
            line, column = divmod(number, WIDTH // PANEL_WIDTH)
            yield _panel(panel, column * PANEL_WIDTH, top + line * PANEL_HEIGHT)
        top += -(-len(panels) // (WIDTH // PANEL_WIDTH)) * PANEL_HEIGHT


def _panel(panel: Panel, x: int, y: int) -> dict[str, Any]:
    targets = [
        {"refId": chr(ord("A") + number), "datasource": _SOURCE, "expr": query, "legendFormat": legend}
        for number, (query, legend) in enumerate(panel.queries)
    ]
    return {
        "type": "timeseries",
        "title": panel.title,
        "datasource": _SOURCE,
        "gridPos": {"x": x, "y": y, "w": PANEL_WIDTH, "h": PANEL_HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": targets,
    }


def text() -> str:
    """Return the content of `dashboard.json`."""
    return json.dumps(dashboard(), indent=1) + "\n"


if __name__ == "__main__":
    PATH.write_text(text(), encoding="utf-8")
