"""Periods of reports: days are included, instants are excluded at the end, and the title says so."""

import pytest
import typer

from scripts.commands.report.periods import Period, period

DAY = "2026-11-30T00:00:00.000000Z"
NEXT = "2026-12-01T00:00:00.000000Z"
NOON = "2026-11-30T12:00:00.000000Z"


@pytest.mark.parametrize(
    ("since", "until", "expected"),
    [
        (None, None, Period(None, None, "from the beginning to the end")),
        ("2026-11-30", "2026-11-30", Period(DAY, NEXT, "from 2026-11-30 to 2026-11-30, both included (UTC)")),
        (None, "2026-11-30", Period(None, NEXT, "from the beginning to 2026-11-30, included (UTC)")),
        ("2026-11-30", None, Period(DAY, None, "from 2026-11-30, included, to the end (UTC)")),
        (None, "2026-11-30T12:00", Period(None, NOON, f"from the beginning to {NOON}, not included (UTC)")),
        (
            None,
            "2026-11-30 14:00+02:00",
            Period(None, NOON, f"from the beginning to {NOON}, not included (UTC)"),
        ),
        (
            "2026-11-30",
            "2026-11-30t12:00:00.0000000z",
            Period(DAY, NOON, f"from 2026-11-30, included, to {NOON}, not included (UTC)"),
        ),
        (
            "2026-11-30T12:00",
            "2026-11-30",
            Period(NOON, NEXT, f"from {NOON}, included, to 2026-11-30, included (UTC)"),
        ),
        (None, "9999-12-31", Period(None, None, "from the beginning to 9999-12-31, included (UTC)")),
        (
            "2026-11-30T12:00",
            "2026-11-30T12:00",
            Period(NOON, NOON, f"from {NOON}, included, to {NOON}, not included (UTC)"),
        ),
    ],
)
def test_what_is_included(since: str | None, until: str | None, expected: Period) -> None:
    assert period(since, until) == expected


@pytest.mark.parametrize(
    ("since", "until", "option"),
    [
        ("soon", None, "--from"),
        ("2026-02-30", None, "--from"),
        ("20261130", None, "--from"),
        ("2026-W48-1", None, "--from"),
        ("2026-11", None, "--from"),
        ("", None, "--from"),
        (None, "2026-11-30T12:00:00.1234567Z", "--to"),
        (None, "0000-01-01", "--to"),
        (None, "9999-12-31T23:59:59-12:00", "--to"),
        ("2026-11-30", "2026-11-29", "--to"),
        ("2026-11-30T12:00", "2026-11-30T11:59", "--to"),
    ],
)
def test_what_is_no_period(since: str | None, until: str | None, option: str) -> None:
    with pytest.raises(typer.BadParameter) as caught:
        period(since, until)
    assert caught.value.param_hint == option
