"""An outage is logged when it begins, once a minute, and when it ends, not by each request it affects."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import errors
from structlog.testing import capture_logs

from domain.journal.outage import Denials, Outage, is_lost
from domain.model.errors import JournalUnavailable

LOST = psycopg.OperationalError("connection refused\nand more")


class Clock:
    """A clock that a test sets."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def outage(clock: Clock) -> Outage:
    return Outage("database", clock=clock)


@pytest.fixture
def said() -> Iterator[list[Any]]:
    with capture_logs() as lines:
        yield lines


def test_it_is_said_once_however_many_suffer_it_and_how_often(
    outage: Outage, clock: Clock, said: list[Any]
) -> None:
    for _ in range(100):
        for part in ("a", "b", "c"):
            outage.lost(part, LOST)
        clock.now += 0.3
    assert [(line["event"], line["part"], line["error"]) for line in said] == [
        ("database out of reach", "a", "connection refused")
    ]


def test_it_is_said_again_each_minute(outage: Outage, clock: Clock, said: list[Any]) -> None:
    for _ in range(185):
        outage.lost("a", LOST)
        clock.now += 1
    assert [line.get("seconds") for line in said] == [None, 60.0, 120.0, 180.0]


def test_it_is_over_once_all_are_back(outage: Outage, clock: Clock, said: list[Any]) -> None:
    outage.lost("a", LOST)
    outage.lost("b", LOST)
    clock.now += 30
    outage.back("a")
    assert len(said) == 1 and outage.was_on(clock.now)
    outage.back("b")
    outage.back("b")
    outage.back("a")
    assert [(line["event"], line.get("seconds")) for line in said[1:]] == [
        ("database within reach again", 30.0)
    ]
    clock.now += 2
    assert outage.was_on(clock.now - 5) and not outage.was_on(clock.now - 1)


def test_who_tries_only_when_asked_is_back_with_the_others(outage: Outage, said: list[Any]) -> None:
    for _ in range(2):
        outage.lost("readers", LOST, when_asked=True)
    outage.lost("worker", LOST)
    outage.back("worker")
    assert [line["event"] for line in said] == ["database out of reach", "database within reach again"]


def test_who_finds_out_late_that_a_connection_had_died_says_nothing(outage: Outage, said: list[Any]) -> None:
    for _ in range(5):
        outage.lost("writer", LOST, when_asked=True)
        outage.back("writer")
    assert said == []
    outage.lost("writer", LOST, when_asked=True)
    outage.lost("writer", LOST, when_asked=True)
    assert len(said) == 1


def test_who_ended_meanwhile_keeps_no_outage_on(outage: Outage, clock: Clock, said: list[Any]) -> None:
    outage.lost("a", LOST)
    outage.lost("b", LOST)
    outage.ended("a")
    assert outage.parts == {"b"}
    outage.ended("b")
    clock.now += 2
    assert not outage.was_on(clock.now - 1)
    outage.ended("b")
    assert [line["event"] for line in said] == ["database out of reach"]


def test_the_next_one_is_said_anew(outage: Outage, said: list[Any]) -> None:
    for _ in range(2):
        outage.lost("a", LOST)
        outage.back("a")
    assert len(said) == 4


def test_a_denial_was_on_for_whoever_began_before_it_however_late_they_ask(
    clock: Clock, said: list[Any]
) -> None:
    denials, began = Denials(clock=clock), clock.now
    assert not denials.was_on(began)
    denials.note(errors.InsufficientPrivilege())
    clock.now += 60
    assert denials.was_on(began) and not denials.was_on(began + 1)
    assert [line["event"] for line in said] == ["database denies what is needed"]


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (LOST, True),
        (psycopg.InterfaceError("the connection is closed"), True),
        (errors.AdminShutdown(), True),
        (errors.IdleSessionTimeout(), True),
        (errors.ConnectionException(), True),
        (JournalUnavailable("unreachable"), True),
        (JournalUnavailable("newer_version"), False),
        (errors.QueryCanceled(), False),
        (errors.DeadlockDetected(), False),
        (errors.DiskFull(), False),
        (errors.LockNotAvailable(), False),
        (errors.UniqueViolation(), False),
        (None, False),
    ],
)
def test_what_says_that_a_connection_was_lost(error: Exception | None, *, lost: bool) -> None:
    assert is_lost(error) is lost
