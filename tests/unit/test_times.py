"""Instants as text."""

import re
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.model.times import EARLIEST, FORMAT, instant, moment

OFFSETS = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
# Naive, as Hypothesis requires of bounds. One day inside the range of datetime, because offsets move it.
FIRST = datetime.fromisoformat("0001-01-02")
LAST = datetime.fromisoformat("9999-12-30")
MOMENTS = st.datetimes(FIRST, LAST, timezones=OFFSETS)


@pytest.mark.parametrize(
    ("aware", "text"),
    [
        (datetime(2026, 11, 23, 20, 0, tzinfo=UTC), "2026-11-23T20:00:00.000000Z"),
        (datetime(2026, 11, 23, 20, 0, 0, 1, tzinfo=UTC), "2026-11-23T20:00:00.000001Z"),
        (
            datetime(2026, 11, 24, 1, 30, tzinfo=timezone(timedelta(hours=5, minutes=30))),
            "2026-11-23T20:00:00.000000Z",
        ),
        (datetime(1, 1, 1, tzinfo=UTC), EARLIEST),
        (datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC), "9999-12-31T23:59:59.999999Z"),
    ],
)
def test_an_instant_is_utc_with_six_digits(aware: datetime, text: str) -> None:
    assert instant(aware) == text
    assert moment(text) == aware


@settings(deadline=None)
@given(MOMENTS)
def test_it_is_read_as_it_was_written(aware: datetime) -> None:
    text = instant(aware)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", text)
    assert moment(text) == aware
    assert moment(text).utcoffset() == timedelta(0)
    assert instant(moment(text)) == text
    assert datetime.strptime(text, FORMAT).replace(tzinfo=UTC) == aware


@settings(deadline=None)
@given(MOMENTS, MOMENTS)
def test_text_order_is_time_order(one: datetime, other: datetime) -> None:
    assert (instant(one) < instant(other)) == (one < other)
    assert (instant(one) == instant(other)) == (one == other)
    assert instant(one) > EARLIEST
