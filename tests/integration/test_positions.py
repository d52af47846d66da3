"""Positions of projections, and waiting for them: with notifications and without."""

import asyncio
import json
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from time import sleep
from typing import Any, ClassVar

import pytest
from psycopg import Connection, OperationalError
from psycopg.rows import dict_row
from psycopg.sql import SQL, Identifier

from domain.journal.database import Database
from domain.journal.session import Session
from domain.model.errors import JournalUnavailable
from projections.errors import ProjectionBehind, ProjectionNotFound
from projections.registry import NATS, PROJECTIONS, install
from projections.running.positions import (
    PositionWaiter,
    Wait,
    WaitOutcome,
    all_progress,
    progress,
    projections_channel,
    wanted_channel,
)
from tests.ledgers import open_accounts, outcomes, running, transfer
from tests.projecting import (
    PATIENCE_SECONDS,
    Deaf,
    append,
    await_head,
    eventually,
    projecting,
    set_state,
)

pytestmark = pytest.mark.integration


@contextmanager
def waiting(database: Database, poll_seconds: float = 0.5) -> Iterator[PositionWaiter]:
    """A waiter that follows the database, as a process of the API does."""
    waiter = PositionWaiter(database, poll_seconds)
    waiter.start()
    try:
        yield waiter
    finally:
        waiter.stop()


def run(coroutine: Coroutine[Any, Any, Wait]) -> Wait:
    return asyncio.run(coroutine)


def test_progress_tells_where_each_projection_is(database: Database, owner: Connection[Any]) -> None:
    with running(database) as ledger, projecting(database):
        open_accounts(ledger, "a", "b")
        head = await_head(owner)
    seen = progress(owner, "entries")
    assert (seen.name, seen.version, seen.position, seen.head) == ("entries", 1, head, head)
    assert (seen.state, seen.lag_events, seen.lag_seconds) == ("running", 0, 0)
    assert seen.rate_events_per_second > 0
    assert (seen.dead_letters, seen.last_error) == (0, None)
    assert [found.name for found in all_progress(owner)] == sorted(PROJECTIONS)
    owner.row_factory = dict_row
    assert progress(owner, "entries")[:4] == seen[:4]
    with pytest.raises(ProjectionNotFound):
        progress(owner, "nothing")


def test_the_lag_is_the_age_of_the_oldest_event_not_projected(
    database: Database, owner: Connection[Any]
) -> None:
    assert [(seen.lag_events, seen.lag_seconds) for seen in all_progress(owner)] == [(0, 0)] * len(
        PROJECTIONS
    )
    for age in (3600, 60):
        recorded_at = owner.execute("SELECT now() - make_interval(secs => %s)", (age,)).fetchone()
        assert recorded_at is not None
        state = json.dumps({"recorded_at": recorded_at[0].isoformat()})
        append(owner, "main/future", 1 if age == 3600 else 2, "future.event", state.encode())
    seen = progress(owner, "entries")
    assert seen.lag_events == 2
    assert 3600 <= seen.lag_seconds < 3660
    owner.execute("UPDATE projection_versions SET position = 1")
    assert 60 <= progress(owner, "entries").lag_seconds < 120


def test_who_waits_is_woken_when_the_position_is_reached(database: Database, owner: Connection[Any]) -> None:
    with running(database) as ledger, projecting(database), waiting(database) as waiter:
        open_accounts(ledger, "a", "b")
        head = await_head(owner)
        set_state(owner, "entries", "paused")
        with ThreadPoolExecutor(2) as pool:
            blocking = pool.submit(waiter.wait_for, "entries", head + 1, PATIENCE_SECONDS)
            awaiting = pool.submit(run, waiter.wait_async("entries", head + 1, PATIENCE_SECONDS))
            position = ledger.perform(transfer("a", "b", 5)).position
            assert waiter.wait_for("balances", position, PATIENCE_SECONDS).arrived().position >= position
            assert not blocking.done()
            assert not awaiting.done()
            set_state(owner, "entries", "running")
            assert blocking.result().arrived().position >= head + 1
            assert awaiting.result().arrived().position >= head + 1
        eventually(lambda: waiter.head == position)


def test_it_is_announced_that_somebody_waits(database: Database, owner: Connection[Any]) -> None:
    install(database)
    owner.execute(SQL("LISTEN {}").format(Identifier(wanted_channel(database))))
    with waiting(database) as waiter:
        eventually(lambda: bool(waiter.seen))
        waiter.wait_for("outbox", 0, PATIENCE_SECONDS)  # it is there, so nobody waits
        waiter.wait_for("entries", 1, 0.01)
        run(waiter.wait_async("balances", 1, 0.01))
        heard: set[str] = set()
        while len(heard) < 2:
            heard |= {told.payload for told in owner.notifies(timeout=PATIENCE_SECONDS, stop_after=1)}
    assert heard == {"entries/2", "balances/1"}


def test_whoever_waits_just_after_it_was_woken_is_announced(
    database: Database, owner: Connection[Any]
) -> None:
    install(database)
    owner.execute(SQL("LISTEN {}").format(Identifier(wanted_channel(database))))
    with waiting(database, poll_seconds=10 * PATIENCE_SECONDS) as waiter:
        eventually(lambda: bool(waiter.seen))
        awake = waiter._awake

        def awake_and_sleep() -> None:
            awake()
            sleep(0.3)  # time enough for the other thread to look

        waiter._awake = awake_and_sleep
        waiter.wait_for("entries", 1, 0.01)
        told = [told.payload for told in owner.notifies(timeout=PATIENCE_SECONDS, stop_after=1)]
        waiter._awake = awake
    assert told == ["entries/2"]


def test_whoever_waits_long_is_announced_again(database: Database, owner: Connection[Any]) -> None:
    install(database)
    owner.execute(SQL("LISTEN {}").format(Identifier(wanted_channel(database))))
    with waiting(database, poll_seconds=0.05) as waiter, ThreadPoolExecutor(1) as pool:
        waited = pool.submit(run, waiter.wait_async("entries", 1, 10 * PATIENCE_SECONDS))
        told = [told.payload for told in owner.notifies(timeout=PATIENCE_SECONDS, stop_after=3)]
        owner.execute("UPDATE projection_versions SET position = 1 WHERE name = 'entries'")
        assert waited.result().arrived().position == 1
    assert told == ["entries/2"] * 3


def test_what_is_announced_while_it_looks_wakes_who_waits(database: Database, owner: Connection[Any]) -> None:
    install(database)
    with (
        database.connect_as_owner("test lock") as locking,
        waiting(database, poll_seconds=0.05) as waiter,
        ThreadPoolExecutor(1) as pool,
    ):
        waited = pool.submit(run, waiter.wait_async("entries", 1, PATIENCE_SECONDS))
        eventually(lambda: bool(waiter.seen) and bool(waiter._callbacks))
        with locking.transaction():
            locking.execute("LOCK TABLE dead_letters")
            eventually(lambda: is_locked_out(owner, "tallystick positions"))
            waiter._poll_seconds = 10 * PATIENCE_SECONDS
            owner.execute("SELECT pg_notify(%s, 'entries/2:1')", (projections_channel(database),))
        assert waited.result().outcome is WaitOutcome.ARRIVED


def is_locked_out(owner: Connection[Any], application_name: str) -> bool:
    """Whether a session of this name waits for a lock."""
    found = owner.execute(
        "SELECT FROM pg_stat_activity WHERE application_name = %s AND wait_event_type = 'Lock'"
        " AND datname = current_database()",
        (application_name,),
    )
    return found.fetchone() is not None


@pytest.mark.parametrize("state", ["paused", "halted"])
def test_who_waits_in_vain_is_told_the_position_the_head_and_the_state(
    database: Database, owner: Connection[Any], state: str
) -> None:
    with running(database) as ledger, projecting(database), waiting(database) as waiter:
        open_accounts(ledger, "a", "b")
        stopped_at = await_head(owner)
        set_state(owner, "entries", state)
        head = ledger.perform(transfer("a", "b", 5)).position
        await_head(owner, "balances")
        waiter.wait_for("balances", head, PATIENCE_SECONDS)
        # The state is learnt by polling, so it may not be known the first time.
        eventually(lambda: behind(waiter, head).state == state)
        for seen in (behind(waiter, head), behind(waiter, head, asynchronous=True)):
            assert (seen.position, seen.head, seen.state) == (stopped_at, head, state)
        assert waiter.wait_for("entries", stopped_at, 0.0).arrived().position == stopped_at
        assert run(waiter.wait_async("entries", stopped_at, 0.0)).arrived().position == stopped_at


@pytest.mark.parametrize("asynchronous", [False, True])
def test_what_became_of_waiting_is_told(
    database: Database, owner: Connection[Any], asynchronous: bool
) -> None:
    def outcome(waiter: PositionWaiter, position: int, seconds: float = 0.05) -> WaitOutcome:
        if asynchronous:
            return run(waiter.wait_async("entries", position, seconds)).outcome
        return waiter.wait_for("entries", position, seconds).outcome

    with running(database) as ledger, projecting(database), waiting(database, poll_seconds=0.05) as waiter:
        open_accounts(ledger, "a", "b")
        head = await_head(owner)
        assert outcome(waiter, head, PATIENCE_SECONDS) is WaitOutcome.ARRIVED
        assert outcome(waiter, head + 1) is WaitOutcome.LATE
        for state in ("paused", "halted", "rebuilding"):
            set_state(owner, "entries", state)
            eventually(lambda: outcome(waiter, head + 1) is WaitOutcome[state.upper()])  # noqa: B023
        set_state(owner, "entries", "running")
        eventually(lambda: outcome(waiter, head + 1) is WaitOutcome.LATE)


def test_a_version_that_goes_live_meanwhile_is_told_of(database: Database, owner: Connection[Any]) -> None:
    head = append(owner, "main/future", 1, "future.event", b"{}")
    with waiting(database, poll_seconds=0.05) as waiter, ThreadPoolExecutor(1) as pool:
        waiter.wait_for("entries", 0, PATIENCE_SECONDS)
        waited = pool.submit(run, waiter.wait_async("entries", head, 4.0))
        eventually(lambda: bool(waiter._callbacks))
        with owner.transaction():  # in between there is no such projection, which may be seen
            owner.execute(
                "WITH former AS (UPDATE projection_versions SET live = false WHERE name = 'entries' RETURNING *)"
                " INSERT INTO projection_versions (name, version, shape) SELECT name, 2, shape FROM former"
            )
            owner.execute("UPDATE projection_versions SET live = true WHERE version = 2")
        seen = waited.result()
        assert seen.outcome is WaitOutcome.SWITCHED
        with pytest.raises(ProjectionBehind):
            seen.arrived()
        # A version that goes live may already have reached the position.
        owner.execute("UPDATE projection_versions SET position = %s WHERE version = 2", (head,))
        assert waiter.wait_for("entries", head, PATIENCE_SECONDS).arrived().version == 2


class Fleeting(Database):
    """A database that cannot be reached while a test says so."""

    is_gone: ClassVar[bool] = False
    sessions: ClassVar[list[int]] = []

    def connect(self, application_name: str, *, autocommit: bool = True) -> Session:
        if self.is_gone:
            raise OperationalError("it is gone")
        connection = super().connect(application_name, autocommit=autocommit)
        self.sessions.append(connection.info.backend_pid)
        return connection


def test_a_journal_that_goes_out_of_reach_is_told_of_and_is_waited_for(
    database: Database, owner: Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    head = append(owner, "main/future", 1, "future.event", b"{}")
    with waiting(Fleeting(*database), poll_seconds=0.05) as waiter, ThreadPoolExecutor(1) as pool:
        waiter.wait_for("entries", 0, PATIENCE_SECONDS)
        monkeypatch.setattr(Fleeting, "is_gone", True)
        owner.execute("SELECT pg_terminate_backend(%s, 10000)", (Fleeting.sessions.pop(),))
        eventually(lambda: waiter.wait_for("entries", head, 0.05).outcome is WaitOutcome.UNREACHABLE)
        with pytest.raises(JournalUnavailable):
            waiter.wait_for("entries", head, 0.05).arrived()
        waited = pool.submit(waiter.wait_for, "entries", head, PATIENCE_SECONDS)
        owner.execute("UPDATE projection_versions SET position = %s", (head,))
        monkeypatch.setattr(Fleeting, "is_gone", False)
        assert waited.result().arrived().position == head


def behind(waiter: PositionWaiter, position: int, *, asynchronous: bool = False) -> ProjectionBehind:
    try:
        if asynchronous:
            run(waiter.wait_async("entries", position, 0.05)).arrived()
        else:
            waiter.wait_for("entries", position, 0.05).arrived()
    except ProjectionBehind as behind:
        return behind
    pytest.fail("it was not behind")


def test_a_position_beyond_the_head_is_waited_for_and_then_behind(
    database: Database, owner: Connection[Any]
) -> None:
    with running(database) as ledger, projecting(database), waiting(database) as waiter:
        open_accounts(ledger, "a", "b")
        head = await_head(owner)
        waiter.wait_for("entries", head, PATIENCE_SECONDS)
        seen = behind(waiter, head + 3)
        assert (seen.position, seen.head, seen.state) == (head, head, "running")
        with ThreadPoolExecutor(1) as pool:
            waited = pool.submit(waiter.wait_for, "entries", head + 3, PATIENCE_SECONDS)
            outcomes(ledger.execute(transfer("a", "b", 5)).result())
            assert waited.result().arrived().position >= head + 3


def test_a_projection_that_does_not_exist_is_not_waited_for(database: Database) -> None:
    with waiting(database) as waiter:
        with pytest.raises(ProjectionNotFound):
            waiter.wait_for("nothing", 1, PATIENCE_SECONDS)
        with pytest.raises(ProjectionNotFound):
            run(waiter.wait_async("nothing", 1, PATIENCE_SECONDS))


def test_a_database_that_was_never_reached_is_said_to_be(empty_database: Database) -> None:
    with waiting(Database("postgresql://postgres@127.0.0.1:1/nowhere")) as waiter:
        with pytest.raises(JournalUnavailable):
            waiter.wait_for("entries", 1, 0.05).arrived()
        with pytest.raises(JournalUnavailable):
            run(waiter.wait_async("entries", 1, 0.05)).arrived()


def test_a_missed_notification_is_made_up_by_looking(database: Database, owner: Connection[Any]) -> None:
    with waiting(Deaf(*database), poll_seconds=0.05) as waiter:
        waiter.wait_for("entries", 0, PATIENCE_SECONDS)
        # Without the projector, and so without its notification.
        append(owner, "main/future", 1, "future.event", b"{}")
        with ThreadPoolExecutor(1) as pool:
            waited = pool.submit(run, waiter.wait_async("entries", 1, PATIENCE_SECONDS))
            eventually(lambda: bool(waiter._callbacks))
            owner.execute("UPDATE projection_versions SET position = 1 WHERE name = 'entries'")
            seen = waited.result()
        assert (seen.outcome, seen.arrived().position) == (WaitOutcome.UNANNOUNCED, 1)
        eventually(lambda: waiter.head == 1)


class Watched(Database):
    """A database that remembers the sessions opened on it."""

    sessions: ClassVar[list[int]] = []

    def connect(self, application_name: str, *, autocommit: bool = True) -> Session:
        connection = super().connect(application_name, autocommit=autocommit)
        self.sessions.append(connection.info.backend_pid)
        return connection


def test_a_waiter_survives_its_connection_and_what_others_notify(
    database: Database, owner: Connection[Any]
) -> None:
    Watched.sessions.clear()
    owner.execute("INSERT INTO projections VALUES (%s, 1)", (NATS,))
    owner.execute("INSERT INTO projection_versions (name, version, live) VALUES (%s, 1, true)", (NATS,))
    with running(database) as ledger, projecting(database), waiting(Watched(*database)) as waiter:
        open_accounts(ledger, "a", "b")
        waiter.wait_for("entries", await_head(owner), PATIENCE_SECONDS)
        for channel in (projections_channel(database), database.journal_channel):
            for payload in ("", "entries", "entries:", "entries:x", "nothing:5", "entries:-1"):
                owner.execute("SELECT pg_notify(%s, %s)", (channel, payload))
        told = waiter.wait_for("entries", 0, PATIENCE_SECONDS).arrived().position
        for payload in (f"entries/2:{'9' * 5_000}", f"{NATS}/2:7"):
            owner.execute("SELECT pg_notify(%s, %s)", (projections_channel(database), payload))

        def has_heard() -> bool:
            """It believes an announcement until it looks by itself, so it is told again and again."""
            owner.execute("SELECT pg_notify(%s, %s)", (projections_channel(database), f"{NATS}/1:7"))
            return waiter.has_reached(NATS, 7)

        eventually(has_heard)
        assert waiter.wait_for("entries", 0, PATIENCE_SECONDS).arrived().position == told
        (first,) = Watched.sessions
        assert owner.execute("SELECT pg_terminate_backend(%s, 10000)", (first,)).fetchone() == (True,)
        position = ledger.perform(transfer("a", "b", 5)).position
        assert waiter.wait_for("entries", position, PATIENCE_SECONDS).arrived().position >= position
        assert len(Watched.sessions) > 1


def test_who_waits_on_an_event_loop_that_was_closed_harms_nobody(
    database: Database, owner: Connection[Any]
) -> None:
    with running(database) as ledger, projecting(database), waiting(database) as waiter:
        open_accounts(ledger, "a", "b")
        waiter.wait_for("entries", await_head(owner), PATIENCE_SECONDS)
        loop = asyncio.new_event_loop()
        abandoned = waiter.wait_async("entries", 10**9, PATIENCE_SECONDS)
        task = loop.create_task(abandoned)
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
        for _ in range(2):
            position = ledger.perform(transfer("a", "b", 5)).position
            assert waiter.wait_for("entries", position, PATIENCE_SECONDS).arrived().position >= position
        assert not task.done()
        task._log_destroy_pending = False  # type: ignore[attr-defined]
