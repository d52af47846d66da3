"""A writer with a wrong clock records nothing, says why, and continues by itself once its clock is right."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import Any

import pytest
from msgspec.structs import replace

from domain.application import LedgerApplication, system_clock
from domain.commit.decider import Result
from domain.commit.pipeline import Pipeline
from domain.journal.abbreviations import WHOLE
from domain.journal.database import Database
from domain.journal.writer import ClockDiffers, JournalWriter, Rows, Timekeeping
from domain.model.commands import Command, Outcome
from domain.model.errors import JournalUnavailable
from domain.model.holds import ExpireHold
from domain.model.idempotency import operation_id
from domain.model.times import Instant, later
from projections.process_managers.due_worker import Worker
from projections.process_managers.payer import Payer
from tests.ledgers import CONTEXT, folded, history, open_accounts, running, transfer
from tests.projecting import eventually

YEAR_SECONDS = 365 * 24 * 60 * 60.0
LIMIT_SECONDS = 5.0
WRONG = pytest.mark.parametrize("seconds", [YEAR_SECONDS, 60.0, -60.0, -YEAR_SECONDS])


class Shifted:
    """A clock that differs from the database's by some seconds, given for each reading."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.next: list[float] = []

    def __call__(self) -> Instant:
        return later(system_clock(), self.next.pop(0) if self.next else self.seconds)


@contextmanager
def shifted(database: Database) -> Iterator[tuple[LedgerApplication, Shifted]]:
    """A ledger that checks its clock."""
    clock = Shifted()
    with LedgerApplication(database, clock, max_clock_difference_seconds=LIMIT_SECONDS) as ledger:
        ledger.start()
        yield ledger, clock


def reasons(results: Sequence[Result]) -> set[str]:
    return {getattr(result, "reason", "none") for result in results}


def newest(database: Database) -> Instant:
    return history(database)[-1].envelope.recorded_at


def ahead(_: pytest.MonkeyPatch) -> None:
    """A command whose time is not fixed."""


def under_the_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pipeline, "decide", lambda *_: None)


PATHS = pytest.mark.parametrize("path", [ahead, under_the_lock])


@WRONG
@PATHS
@pytest.mark.parametrize("number", [1, 400], ids=["one", "many"])
def test_nothing_is_recorded_by_a_wrong_clock(
    number: int,
    path: Callable[[pytest.MonkeyPatch], None],
    seconds: float,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path(monkeypatch)
    with shifted(database) as (ledger, clock):
        open_accounts(ledger, "a", "b")
        clock.seconds = seconds
        commands = [transfer("a", "b", 1, key=f"key-{n}") for n in range(number)]
        for _ in range(3):
            assert reasons(ledger.execute(*commands).result(30)) == {"clock"}
        head = ledger.head()
        clock.seconds = LIMIT_SECONDS / 2  # near enough
        assert all(isinstance(result, Outcome) for result in ledger.execute(*commands).result(30))
        assert ledger.head() == head + 3 * number
    assert newest(database) < later(system_clock(), LIMIT_SECONDS)
    folded(history(database))


@pytest.mark.parametrize("glitch", [[YEAR_SECONDS], [0.0, YEAR_SECONDS], [0.0, 0.0, YEAR_SECONDS]])
@PATHS
def test_a_clock_that_is_wrong_for_one_look_dates_nothing(
    path: Callable[[pytest.MonkeyPatch], None],
    glitch: list[float],
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path(monkeypatch)
    with shifted(database) as (ledger, clock):
        open_accounts(ledger, "a", "b")
        clock.next = list(glitch)
        for n in range(4):
            ledger.execute(transfer("a", "b", 1, key=f"key-{n}")).result(30)
        for n in range(4):
            assert ledger.perform(transfer("a", "b", 1, key=f"key-{n}")).state.status == "posted"
        assert ledger.account("main", "b")[0].balance == 4
    assert newest(database) < later(system_clock(), LIMIT_SECONDS)
    folded(history(database))


def test_what_waited_long_for_the_lock_is_not_taken_for_a_wrong_clock(database: Database, owner: Any) -> None:
    clock = Shifted()
    with LedgerApplication(database, clock, max_clock_difference_seconds=1.0) as ledger:
        ledger.start()
        open_accounts(ledger, "a", "b")
        for _ in range(2):
            owner.execute("BEGIN; SELECT * FROM head FOR UPDATE")
            waiting = ledger.execute(transfer("a", "b", 1))
            owner.execute("SELECT pg_sleep(2); COMMIT")
            (result,) = waiting.result(30)
            assert isinstance(result, Outcome)


def test_a_hold_is_not_ended_by_a_wrong_clock(database: Database) -> None:
    with shifted(database) as (ledger, clock):
        open_accounts(ledger, "a", "b")
        expires_at = later(system_clock(), 3600.0)
        hold = replace(transfer("a", "b", 10, key="hold"), pending=True, expires_at=expires_at)
        ledger.perform(hold)
        clock.seconds = YEAR_SECONDS
        asked: list[Command] = [ExpireHold(CONTEXT, "main", operation_id("main", "hold"))]
        assert reasons(ledger.execute(*asked).result(30)) == {"clock"}
        # Such a clock does not decide refusals that are not recorded, either.
        late = replace(transfer("a", "b", 1), pending=True, expires_at=expires_at)
        assert reasons(ledger.execute(late).result(30)) == {"clock"}
        assert reasons(ledger.execute(late, dry_run=True).result(30)) == {"clock"}
        clock.seconds = 0.0
        assert ledger.perform(late).state.status == "pending"
        assert ledger.transaction("main", operation_id("main", "hold"))[0].status == "pending"


def test_recorded_time_that_an_older_release_has_moved_ahead_stops_nobody(database: Database) -> None:
    """Recorded time never runs back, so later events get the same time."""
    far = later(system_clock(), YEAR_SECONDS)
    with LedgerApplication(database, lambda: far) as ledger:  # it checks nothing
        ledger.start()
        open_accounts(ledger, "a", "b")
    with shifted(database) as (ledger, clock):
        assert ledger.perform(transfer("a", "b", 1)).recorded
        assert ledger.perform(transfer("a", "b", 1)).recorded
        clock.seconds = 2 * YEAR_SECONDS
        assert reasons(ledger.execute(transfer("a", "b", 1)).result(30)) == {"clock"}
    assert newest(database) == far


def test_two_writers_of_which_one_is_wrong_hurt_nobody(database: Database) -> None:
    with shifted(database) as (wrong, clock), running(database) as right:
        open_accounts(right, "a", "b")
        clock.seconds = -YEAR_SECONDS
        for n in range(5):
            assert right.perform(transfer("a", "b", 1)).recorded
            assert reasons(wrong.execute(transfer("a", "b", 1, key=f"key-{n}")).result(30)) == {"clock"}
        clock.seconds = 0.0
        assert wrong.perform(transfer("a", "b", 1, key="key-1")).recorded
    folded(history(database))


def test_the_writer_appends_nothing_with_a_wrong_clock_or_at_another_head(database: Database) -> None:
    clock = Shifted()
    writer = JournalWriter(database, "tallystick test", Timekeeping(clock, LIMIT_SECONDS))
    rows = Rows(0, ["main/accounts/a"], [1], ["test.event"], [b"{}"], [WHOLE])
    of_long_ago = rows.values(system_clock(), clock(), 0.0)  # a reading from when the machine was started
    assert not writer.append(of_long_ago)
    assert not writer.append(timely(rows, recorded_at=later(system_clock(), 60.0)))
    assert writer.lock(()).head.position == 0
    with pytest.raises(ClockDiffers):
        writer.append_locked(of_long_ago)
    assert writer.append(timely(rows))
    assert not writer.append(timely(rows))
    clock.seconds = 60.0
    with pytest.raises(ClockDiffers):
        writer.lock(())
    clock.seconds = 0.0
    assert writer.lock(()).head.position == 1
    writer.disconnect()


def timely(rows: Rows, recorded_at: Instant | None = None) -> Any:
    return rows.values(recorded_at or system_clock(), system_clock(), monotonic())


def test_the_refusal_says_what_is_wrong() -> None:
    refusal = JournalUnavailable("clock")
    assert "clocks" in refusal.detail and refusal.is_of_the_journal
    assert not JournalUnavailable("newer_version").is_of_the_journal


def test_who_has_a_wrong_clock_leaves_the_place_to_others(
    database: Database, owner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("projections.engine.leadership.SAY_EVERY_SECONDS", 0.1)

    def holders() -> list[tuple[str, int]]:
        query = (
            "SELECT a.application_name, a.pid FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)"
            " WHERE l.locktype = 'advisory' AND l.mode = 'ExclusiveLock' AND l.granted"
            " AND l.database = a.datid AND a.datname = current_database()"
            " ORDER BY 1"
        )
        found: list[tuple[str, int]] = owner.execute(query).fetchall()
        return found

    clock = Shifted()
    with (
        LedgerApplication(database, clock, max_clock_difference_seconds=LIMIT_SECONDS) as ledger,
        LedgerApplication(database) as other,
    ):
        ledger.start()
        other.start()
        parts: list[Worker | Payer] = [
            Worker(database, ledger, clock, LIMIT_SECONDS),
            Payer(database, ledger, {}, clock, LIMIT_SECONDS),
        ]
        for part in parts:
            part.start()
        eventually(lambda: len(holders()) == 2)
        first = holders()
        others: list[Worker | Payer] = [Worker(database, other), Payer(database, other, {})]
        for part in others:
            part.start()
        clock.seconds = -YEAR_SECONDS  # by this clock nothing is ever due
        eventually(lambda: len(holders()) == 2 and not set(first) & set(holders()))
        for part in (*parts, *others):
            part.stop()
