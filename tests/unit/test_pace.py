"""How long events collect: not long if somebody waits for the rows, unless many events come."""

import pytest

from projections.engine.batches import EventBatch
from projections.registry import PROJECTIONS
from projections.running.pace import (
    BUSY_EVENTS_PER_SECOND,
    LAG_SECONDS,
    LINGER_SECONDS,
    LONG_LINGER_SECONDS,
    linger_seconds,
)

EMPTY, SOME = EventBatch(0, 3, []), EventBatch(0, 3, ["an event"])
MANY = EventBatch(40, 40 + BUSY_EVENTS_PER_SECOND // 50, [])
TOO_MANY = EventBatch(40, 40 + BUSY_EVENTS_PER_SECOND, [])


@pytest.mark.parametrize(
    ("name", "batch", "is_wanted", "expected"),
    [
        ("entries", SOME, False, LONG_LINGER_SECONDS),
        ("entries", SOME, True, LINGER_SECONDS),
        ("entries", EMPTY, True, LINGER_SECONDS),
        ("entries", MANY, True, 0.02),
        ("entries", TOO_MANY, True, LONG_LINGER_SECONDS),
        # Process managers act on the rows of these.
        ("due", SOME, False, LINGER_SECONDS),
        ("due", EventBatch(0, BUSY_EVENTS_PER_SECOND, ["an event"]), False, LONG_LINGER_SECONDS),
        ("payouts", SOME, False, LINGER_SECONDS),
        ("payouts", EMPTY, False, LONG_LINGER_SECONDS),
        # Small batches are costly for these, so they come with the others even if somebody waits.
        ("seals", SOME, True, LONG_LINGER_SECONDS),
        ("event_index", SOME, True, LONG_LINGER_SECONDS),
    ],
)
def test_events_collect_for_as_long_as_their_rows_may_wait(
    name: str, batch: EventBatch, is_wanted: bool, expected: float
) -> None:
    seconds = linger_seconds(PROJECTIONS[name], batch, took_seconds=1, is_wanted=is_wanted)
    assert seconds == expected


def test_whoever_writes_quickly_lets_them_collect_for_longer() -> None:
    for is_wanted, expected in ((False, LAG_SECONDS - 0.005), (True, LINGER_SECONDS)):
        seconds = linger_seconds(PROJECTIONS["entries"], SOME, took_seconds=0.005, is_wanted=is_wanted)
        assert seconds == pytest.approx(expected)
