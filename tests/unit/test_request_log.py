"""The log of requests: the first of each kind, caller and route, then one line a minute that counts the rest."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from api.service.request_log import MAX_WINDOWS, RequestLog


class Loop:
    """An event loop whose clock is set."""

    def __init__(self) -> None:
        self.now = 100.0
        self.later: list[tuple[float, Callable[[], None]]] = []

    def time(self) -> float:
        return self.now

    def call_later(self, seconds: float, function: Callable[[], None]) -> None:
        self.later.append((self.now + seconds, function))

    def pass_seconds(self, seconds: float) -> None:
        self.now += seconds
        due = [function for at, function in self.later if at <= self.now]
        self.later = [(at, function) for at, function in self.later if at > self.now]
        for function in due:
            function()


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
def log(loop: Loop) -> RequestLog:
    return RequestLog(loop.time, loop.call_later)


@pytest.fixture
def said() -> Iterator[list[Any]]:
    with capture_logs() as lines:
        yield lines


def test_what_repeats_a_line_is_counted_and_told_after_a_minute(
    log: RequestLog, loop: Loop, said: list[Any]
) -> None:
    for number in range(3_000):
        log.note("denied", {"code": "unauthenticated"}, "GET /a", path=f"/{number}")
    loop.pass_seconds(59)
    assert [line["path"] for line in said] == ["/0"]
    loop.pass_seconds(1)
    (last,) = said[1:]
    assert (last["event"], last["code"], last["times"], last["seconds"]) == (
        "denied",
        "unauthenticated",
        2_999,
        60.0,
    )
    loop.pass_seconds(600)
    assert len(said) == 2 and not loop.later


def test_a_flood_that_lasts_is_told_each_minute(log: RequestLog, loop: Loop, said: list[Any]) -> None:
    for _ in range(600):
        log.note("denied", {"code": "forbidden", "actor": "shop"}, "GET /a")
        loop.pass_seconds(1)
    log.stop()
    assert sum(line.get("times", 1) for line in said) == 600
    assert len(said) <= 20


def test_each_reason_caller_and_route_is_told_at_once(log: RequestLog, said: list[Any]) -> None:
    for _ in range(3):
        for facts in (
            {"code": "unauthenticated"},
            {"code": "forbidden", "actor": "a"},
            {"code": "forbidden", "actor": "b"},
        ):
            for route in ("GET /a", "POST /a"):
                log.note("denied", facts, route)
    assert len(said) == 6
    log.stop()
    assert [line["times"] for line in said[6:]] == [4, 4, 4]
    log.stop()
    assert len(said) == 9


def test_what_is_alone_is_told_once(log: RequestLog, loop: Loop, said: list[Any]) -> None:
    log.note("denied", {"code": "forbidden"}, "GET /a")
    loop.pass_seconds(60)
    assert len(said) == 1
    log.note("denied", {"code": "forbidden"}, "GET /a")
    assert len(said) == 2


def test_it_goes_on_where_a_loop_has_ended(log: RequestLog, loop: Loop, said: list[Any]) -> None:
    for _ in range(2):
        log.note("denied", {"code": "forbidden"}, "GET /a")
    loop.later.clear()
    loop.pass_seconds(61)
    log.note("denied", {"code": "forbidden"}, "GET /a")
    assert [line.get("times") for line in said] == [None, 1, None]


def test_many_callers_are_counted_together(log: RequestLog, said: list[Any]) -> None:
    for number in range(MAX_WINDOWS + 500):
        log.note("denied", {"code": "forbidden", "actor": f"key {number}"}, "GET /a")
    assert len(said) == MAX_WINDOWS + 1
    log.stop()
    assert (said[-1]["actor"], said[-1]["times"]) == ("others", 499)
