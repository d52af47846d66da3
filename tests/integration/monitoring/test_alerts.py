"""Each alert fires while its problem lasts, alone, and is quiet before and after: `promtool test rules` judges."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.integration.monitoring.prometheus import MONITORING, alert_rules, needs_prometheus

BREAKS_AT, HEALS_AT, ENDS_AT = 10, 60, 100
"""In minutes: a problem begins, it is over, the observation ends."""

QUIET_AT, FIRES_AT, QUIET_AGAIN_AT = 9, 50, 95

SEALS = '{projection="seals"}'
FILESYSTEM = '{mountpoint="/",instance="db"}'

UP = 'up{job="tallystick"}'
FIGURES = (
    'tallystick_stuck{kind="request_waiting"}',
    'tallystick_stuck{kind="payout_in_doubt"}',
    "tallystick_webhook_failing_seconds",
)

Series = Mapping[str, str]


def gauge(well: float, broken: float | None) -> str:
    """A gauge by the minute: well, then broken, then well again. None is a figure that is missing."""
    middle = "_" if broken is None else str(broken)
    return " ".join(
        [str(well)] * BREAKS_AT + [middle] * (HEALS_AT - BREAKS_AT) + [str(well)] * (ENDS_AT - HEALS_AT)
    )


def counter(well: float, broken: float) -> str:
    """A counter that grows by so much a minute, while well and while broken."""
    values = [0.0]
    for minute in range(1, ENDS_AT):
        values.append(values[-1] + (broken if BREAKS_AT <= minute < HEALS_AT else well))
    return " ".join(map(str, values))


def of(figure: str, installation: str) -> str:
    """A figure of an installation of a placement."""
    name, _, labels = figure.removesuffix("}").partition("{")
    given = f'installation="{installation}"'
    return f"{name}{{{','.join(filter(None, (labels, given)))}}}"


def stuck(kind: str, age_seconds: float) -> Series:
    labels = f'{{kind="{kind}"}}'
    return {
        f"tallystick_stuck{labels}": gauge(0, 1),
        f"tallystick_stuck_oldest_age_seconds{labels}": gauge(0, age_seconds),
    }


def requests(status: int, well: float, broken: float) -> Series:
    labels = f'{{route="/v1/ledgers",status="{status}"}}'
    return {f"tallystick_http_request_seconds_count{labels}": counter(well, broken)}


CASES: list[tuple[str, Series]] = [
    ("TallystickNotReady", {UP: gauge(1, 0)}),
    ("TallystickNotReady", {UP: gauge(1, None)}),
    (
        "TallystickNotReady",
        {"tallystick_ready": gauge(1, 0), **dict.fromkeys(FIGURES, gauge(0, None))},
    ),
    (
        "TallystickWriterStalled",
        {"tallystick_waiting_commands": gauge(0, 5), "tallystick_commit_seconds_count": counter(60, 0)},
    ),
    (
        "TallystickWriterStalled",
        {
            'tallystick_commands_total{type="Probe",outcome="journal_unavailable"}': counter(0, 4),
            "tallystick_waiting_commands": gauge(0, 0),
            "tallystick_commit_seconds_count": counter(60, 0),
        },
    ),
    ("TallystickServerErrors", {**requests(200, 100, 100), **requests(503, 0, 2)}),
    (
        "TallystickDenialsRising",
        {'tallystick_denials_total{code="unauthenticated"}': counter(1, 20)},
    ),
    *(
        (
            "TallystickFiguresMissing",
            {"tallystick_ready": gauge(1, 1), **dict.fromkeys(FIGURES, gauge(0, 0)), missing: gauge(0, None)},
        )
        for missing in FIGURES
    ),
    ("TallystickRequestUnanswered", stuck("request_waiting", 100)),
    ("TallystickHoldNotReleased", stuck("hold_lapsed", 100)),
    ("TallystickPayoutInDoubt", stuck("payout_in_doubt", 1_000)),
    ("TallystickPayoutUnfinished", stuck("payout_accepted", 2_000)),
    ("TallystickPayoutUnfinished", stuck("payout_submitted", 2_000)),
    ("TallystickPayoutContradicted", stuck("payout_contradictory", 1)),
    ("TallystickMoveCutOff", stuck("move_unfinished", 1)),
    ("TallystickMoveCutOff", stuck("move_not_arrived", 1)),
    (
        "TallystickCheckpointLate",
        {
            "tallystick_checkpoint_lag_seconds": gauge(0, 400),
            f"tallystick_projection_lag_seconds{SEALS}": gauge(0, 0),
        },
    ),
    (
        "TallystickWitnessDisputed",  # and no word of its age, since nobody looks at it any more
        {
            'tallystick_witness_disputed{log="west"}': gauge(0, 1),
            'tallystick_witness_age_seconds{log="west"}': gauge(10, 4_000),
        },
    ),
    (
        "TallystickWitnessLate",
        {
            'tallystick_witness_disputed{log="west"}': gauge(0, 0),
            'tallystick_witness_age_seconds{log="west"}': gauge(10, 1_000),
        },
    ),
    (
        "TallystickProjectionLagging",  # and no word of the checkpoint, which lags for that reason
        {
            "tallystick_checkpoint_lag_seconds": gauge(0, 400),
            f"tallystick_projection_lag_seconds{SEALS}": gauge(0, 400),
        },
    ),
    (
        "TallystickProjectionHalted",
        {
            'tallystick_projection_state{projection="seals",state="halted"}': gauge(0, 1),
            f"tallystick_projection_lag_seconds{SEALS}": gauge(0, 400),
            f"tallystick_projection_failing{SEALS}": gauge(0, 1),
        },
    ),
    (
        "TallystickProjectionPaused",
        {
            'tallystick_projection_state{projection="seals",state="paused"}': gauge(0, 1),
            f"tallystick_projection_lag_seconds{SEALS}": gauge(0, 400),
        },
    ),
    (
        "TallystickProjectionFailing",
        {
            'tallystick_projection_state{projection="seals",state="running"}': gauge(1, 1),
            f"tallystick_projection_lag_seconds{SEALS}": gauge(0, 400),
            f"tallystick_projection_failing{SEALS}": gauge(0, 1),
        },
    ),
    ("TallystickDeadLetters", {f"tallystick_projection_dead_letters{SEALS}": gauge(0, 1)}),
    (
        "TallystickWebhookFailing",
        {
            "tallystick_webhook_failing_seconds": gauge(0, 700),
            "tallystick_delivery_oldest_age_seconds": gauge(0, 700),
        },
    ),
    (
        "TallystickDeliveryBlocked",
        {**stuck("delivery_failed", 700), "tallystick_delivery_oldest_age_seconds": gauge(0, 700)},
    ),
    (
        "TallystickProjectionPaused",  # and no word of the deliveries that it keeps back
        {
            'tallystick_projection_state{projection="outbox",state="paused"}': gauge(0, 1),
            "tallystick_delivery_overdue_seconds": gauge(0, 4_000),
        },
    ),
    ("TallystickDeliveryBlocked", stuck("webhook_disabled", 700)),
    (
        "TallystickDeliveryLate",
        {
            "tallystick_webhook_failing_seconds": gauge(20, 20),  # of another webhook, which hides nothing
            "tallystick_delivery_overdue_seconds": gauge(0, 400),
            **stuck("delivery_waiting", 400),
        },
    ),
    (
        "TallystickWriterStalled",  # in one installation of a placement, while another commits
        {
            'tallystick_waiting_commands{installation="west"}': gauge(0, 5),
            'tallystick_commit_seconds_count{installation="west"}': counter(60, 0),
            'tallystick_commit_seconds_count{installation="east"}': counter(60, 60),
        },
    ),
    (
        "TallystickNotReady",  # one installation of a placement, whose figures are missing for that reason
        {
            'tallystick_ready{installation="east"}': gauge(1, 1),
            'tallystick_ready{installation="west"}': gauge(1, 0),
            **{of(figure, "east"): gauge(0, 0) for figure in FIGURES},
            **{of(figure, "west"): gauge(0, None) for figure in FIGURES},
        },
    ),
    (
        "TallystickFiguresMissing",  # of one installation, while another has them
        {
            'tallystick_ready{installation="east"}': gauge(1, 1),
            'tallystick_ready{installation="west"}': gauge(1, 1),
            **{of(figure, "east"): gauge(0, 0) for figure in FIGURES},
            **{of(figure, "west"): gauge(0, None) for figure in FIGURES},
        },
    ),
    (
        "TallystickDiskFull",
        {
            f"node_filesystem_size_bytes{FILESYSTEM}": gauge(1_000, 1_000),
            f"node_filesystem_avail_bytes{FILESYSTEM}": " ".join(
                str(400 if minute < BREAKS_AT else 410 - minute if minute < HEALS_AT else 900)
                for minute in range(ENDS_AT)
            ),
        },
    ),
]


def test_every_alert_is_tried() -> None:
    assert {alert for alert, _ in CASES} == set(alert_rules())


@needs_prometheus
@pytest.mark.parametrize(
    ("alert", "series"), CASES, ids=[f"{n}-{alert}" for n, (alert, _) in enumerate(CASES)]
)
def test_it_fires_alone_and_is_quiet_before_and_after(alert: str, series: Series, tmp_path: Path) -> None:
    # An hour of the new rate is no rise any more.
    fires_at = 27 if alert == "TallystickDenialsRising" else FIRES_AT
    firing = {"labels": f'{{alertname="{alert}"}}', "value": 1}
    asked: dict[int, list[object]] = {QUIET_AT: [], fires_at: [firing], QUIET_AGAIN_AT: []}
    expression = 'count by (alertname) (ALERTS{alertstate="firing"})'
    test = {
        "interval": "1m",
        "input_series": [
            {"series": name, "values": values} for name, values in {UP: gauge(1, 1), **series}.items()
        ],
        "promql_expr_test": [
            {"expr": expression, "eval_time": f"{minute}m", "exp_samples": samples}
            for minute, samples in asked.items()
        ],
    }
    tests = {
        "rule_files": [str(MONITORING / "alerts.yaml")],
        "evaluation_interval": "1m",
        "tests": [test],
    }
    (tmp_path / "tests.yaml").write_text(json.dumps(tests), encoding="utf-8")
    judged = subprocess.run(
        ["promtool", "test", "rules", str(tmp_path / "tests.yaml")], capture_output=True, text=True
    )
    assert judged.returncode == 0, judged.stdout + judged.stderr


@pytest.mark.parametrize("alert", alert_rules())
def test_it_has_all_that_is_needed_at_night(alert: str) -> None:
    rule = alert_rules()[alert]
    assert rule["for"] and rule["labels"]["severity"] in ("critical", "warning")
    assert rule["annotations"]["summary"].endswith((".", "?"))
