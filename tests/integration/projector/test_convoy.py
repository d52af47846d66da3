"""Projections that advance together: in one transaction, each exactly once, and none held up by another."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import Connection
from structlog.testing import capture_logs

from domain.journal.database import Database
from domain.model.events import Recorded
from projections.engine.batches import Claim, read_batch
from projections.engine.joint_advance import Faltered, Step, advance_together
from projections.engine.projection import Projection, Queries
from projections.engine.recent_events import RecentEvents
from projections.read_models import balances, entries, transactions
from projections.read_models.entries import list_entries
from projections.registry import PROJECTIONS, install
from projections.running.convoy import Convoy
from projections.running.positions import PositionWaiter, all_progress
from projections.running.projector import run_projector
from projections.running.runner import Runner, tell_nobody
from projections.running.shares import Share, divided
from tests.integration.projector.folding import assert_equal_to_fold, fill
from tests.ledgers import history, open_accounts, outcomes, running, transfer
from tests.projecting import PATIENCE_SECONDS, await_head, cut, eventually, holder, projecting, set_state
from tests.tampering import arm, disarm

pytestmark = pytest.mark.integration

THREE = (entries.PROJECTION, balances.PROJECTION, transactions.PROJECTION)

HELD = """
UPDATE projection_versions SET held_streams = 1 WHERE name = 'balances';
INSERT INTO dead_letters (
    id, projection, projection_version, shape, stream, stream_version, position, topic, accounts, exception, message,
    release, attempts, first_failed_at, last_failed_at
) VALUES (
    gen_random_uuid(), 'balances', 1, 1, 'main/accounts/a', 1, 2, 'account.opened', '{}', 'Inconsistent', 'unfit',
    '1.0', 3, now(), now()
)
"""

OTHERS_AT_THE_END = """
UPDATE stored_events SET state = convert_to(
    replace(convert_from(state, 'UTF8'), '"reference":""', '"reference":"of the new primary"'), 'UTF8'
)
WHERE notification_id > (SELECT position - 4 FROM head)
"""


def session_of(owner: Connection[Any], name: str) -> str | None:
    """What holds the place of a projection."""
    row = owner.execute(
        "SELECT application_name FROM pg_stat_activity WHERE pid = %s", (holder(owner, name),)
    ).fetchone()
    return None if row is None else str(row[0])


def positions(owner: Connection[Any], *projections: Projection) -> list[int]:
    names = [projection.name for projection in projections]
    rows = owner.execute(
        "SELECT position FROM projection_versions WHERE name = ANY(%s) AND live ORDER BY name", (names,)
    )
    return [position for (position,) in rows]


def steps(owner: Connection[Any], projections: Sequence[Projection], after: int, upto: int) -> list[Step]:
    """Steps of one runner that has taken these versions over."""
    runner = uuid4()
    owner.execute("UPDATE projection_versions SET runner = %s", (runner,))
    return [
        Step(Claim(projection, 1, runner, "running"), read_batch(owner, projection, after, upto), 1.5)
        for projection in projections
    ]


@pytest.fixture
def head(database: Database) -> int:
    """The head of a journal with one transfer, which nobody has projected."""
    with running(database) as ledger:
        open_accounts(ledger, "a", "b")
        return int(outcomes(ledger.execute(transfer("a", "b", 5)).result())[0].position)


class Failing:
    """A projection that cannot be written until it is mended."""

    def __init__(self, original: Projection) -> None:
        self.mended = threading.Event()
        self._original = original
        self.projection = original._replace(project=self._project)

    def _project(self, connection: Connection[Any], queries: Queries, events: Sequence[Recorded]) -> None:
        self._original.project(connection, queries, events)
        if not self.mended.is_set():
            raise RuntimeError("a fault of ours")


def test_all_steps_are_written_in_one_transaction(
    database: Database, owner: Connection[Any], head: int
) -> None:
    given = steps(owner, THREE, 0, head)
    assert advance_together(owner, given, "announcements") == given
    rows = owner.execute(
        "SELECT DISTINCT xmin::text, advanced_at, position, rate_events_per_second FROM projection_versions"
        " WHERE name = ANY(%s)",
        ([projection.name for projection in THREE],),
    ).fetchall()
    assert [row[2:] for row in rows] == [(head, 1.5)]
    assert len(list_entries(owner, "main", "a", limit=9).rows) == 1
    # A second time none of the claims holds.
    assert advance_together(owner, given, "announcements") == []
    assert len(list_entries(owner, "main", "a", limit=9).rows) == 1


def test_positions_are_announced_as_each_alone_would_be(
    database: Database, owner: Connection[Any], head: int
) -> None:
    given = steps(owner, THREE, 0, head)
    with database.connect_as_owner("test listener") as listener:
        listener.execute("LISTEN announcements")
        advance_together(owner, given, "announcements")
        told = [note.payload for note in listener.notifies(timeout=30, stop_after=3)]
    assert sorted(told) == sorted(f"{projection.of_shape}:{head}" for projection in THREE)


@pytest.mark.parametrize("change", ["runner = gen_random_uuid()", "state = 'paused'", "position = 1"])
def test_a_step_whose_claim_does_not_hold_is_not_taken_and_the_others_are(
    owner: Connection[Any], head: int, change: str
) -> None:
    given = steps(owner, THREE, 0, head)
    owner.execute(f"UPDATE projection_versions SET {change} WHERE name = 'entries'")
    taken = advance_together(owner, given, "announcements")
    assert [step.name for step in taken] == ["balances", "transactions"]
    assert list_entries(owner, "main", "a", limit=9).rows == []


def test_a_version_whose_row_is_locked_is_passed_over(
    database: Database, owner: Connection[Any], head: int
) -> None:
    given = steps(owner, THREE, 0, head)
    with database.connect_as_owner("test lock") as other, other.transaction():
        other.execute("SELECT FROM projection_versions WHERE name = 'balances' FOR UPDATE")
        taken = advance_together(owner, given, "announcements")
        assert [step.name for step in taken] == ["entries", "transactions"]
    assert [step.name for step in advance_together(owner, given, "announcements")] == ["balances"]


def test_a_step_that_fails_is_named_and_nothing_is_written(owner: Connection[Any], head: int) -> None:
    failing = Failing(balances.PROJECTION)
    given = steps(owner, (entries.PROJECTION, failing.projection, transactions.PROJECTION), 0, head)
    with pytest.raises(Faltered) as raised:
        advance_together(owner, given, "announcements")
    assert raised.value.name == "balances"
    assert positions(owner, *THREE) == [0, 0, 0]
    assert list_entries(owner, "main", "a", limit=9).rows == []
    # The connection is as it was.
    failing.mended.set()
    assert advance_together(owner, given, "announcements") == given


def test_events_of_held_streams_wait(database: Database, owner: Connection[Any], head: int) -> None:
    owner.execute(HELD)
    advance_together(owner, steps(owner, THREE, 0, head), "announcements")
    rows = owner.execute("SELECT address FROM balances_v1").fetchall()
    assert rows == [("b",)]


def test_one_session_holds_the_places_of_all_that_keep_step(
    database: Database, owner: Connection[Any]
) -> None:
    with running(database) as ledger, projecting(database):
        fill(ledger, count=40)
        await_head(owner)
        assert {session_of(owner, name) for name in PROJECTIONS} == {"tallystick projections"}
    assert_equal_to_fold(database, owner)


def test_whoever_fails_goes_alone_and_comes_back_once_it_is_mended(
    database: Database, owner: Connection[Any]
) -> None:
    failing = Failing(entries.PROJECTION)
    others = [name for name in PROJECTIONS if name != "entries"]
    changed = [failing.projection if name == "entries" else PROJECTIONS[name] for name in PROJECTIONS]
    with running(database) as ledger, capture_logs() as logged, projecting(database, changed):
        fill(ledger, count=40)
        head = await_head(owner, *others)
        eventually(lambda: session_of(owner, "entries") == "tallystick projection entries")
        assert {session_of(owner, name) for name in others} == {"tallystick projections"}
        assert positions(owner, entries.PROJECTION) < [head]
        failing.mended.set()
        await_head(owner)
        eventually(lambda: session_of(owner, "entries") == "tallystick projections")
        outcomes(ledger.execute(transfer("bank", "users", 1)).result())
        await_head(owner)
    assert "projection goes on alone" in {line["event"] for line in logged}
    assert_equal_to_fold(database, owner)


def test_whoever_waits_for_a_lock_goes_alone_and_the_others_go_on(
    database: Database, owner: Connection[Any]
) -> None:
    others = [name for name in PROJECTIONS if name != "balances"]
    with running(database) as ledger, projecting(database):
        await_head(owner)
        with database.connect_as_owner("test lock") as locking, locking.transaction():
            locking.execute("LOCK TABLE balances_v1 IN EXCLUSIVE MODE")
            fill(ledger, count=40)
            head = await_head(owner, *others)
            assert positions(owner, balances.PROJECTION) < [head]
        await_head(owner)
        eventually(lambda: session_of(owner, "balances") == "tallystick projections")
    assert_equal_to_fold(database, owner)


def test_whoever_was_paused_and_is_far_behind_does_not_hold_up_the_others(
    database: Database, owner: Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("projections.running.convoy.MAX_EVENTS", 50)
    with running(database) as ledger, capture_logs() as logged, projecting(database):
        await_head(owner)
        set_state(owner, "transactions", "paused")
        fill(ledger, count=120)
        await_head(owner, *(name for name in PROJECTIONS if name != "transactions"))
        assert positions(owner, transactions.PROJECTION) < [50]
        set_state(owner, "transactions", "running")
        outcomes(ledger.execute(transfer("bank", "users", 1)).result())
        await_head(owner)
        eventually(lambda: session_of(owner, "transactions") == "tallystick projections")
    left = [line for line in logged if line["event"] == "projection goes on alone"]
    assert ("transactions", "far behind") in {(line["projection"], line["reason"]) for line in left}
    assert_equal_to_fold(database, owner)


def test_whoever_has_no_live_version_does_not_hold_up_the_others(
    database: Database, owner: Connection[Any]
) -> None:
    others = [name for name in PROJECTIONS if name != "entries"]
    with running(database) as ledger, projecting(database):
        await_head(owner)
        owner.execute("UPDATE projection_versions SET live = false WHERE name = 'entries'")
        fill(ledger, count=40)
        for name in others:
            await_head(owner, name)
        # The projector finds that one is missing, and makes it anew.
        eventually(lambda: "entries" in {seen.name for seen in all_progress(owner)})
        await_head(owner)
        eventually(lambda: session_of(owner, "entries") == "tallystick projections")
    assert_equal_to_fold(database, owner)


def test_whoever_waits_for_the_row_of_its_version_is_passed_over(
    database: Database, owner: Connection[Any]
) -> None:
    others = [name for name in PROJECTIONS if name != "balances"]
    with running(database) as ledger, capture_logs() as logged, projecting(database):
        fill(ledger, count=5)
        await_head(owner)
        with database.connect_as_owner("test lock") as locking, locking.transaction():
            locking.execute("SELECT FROM projection_versions WHERE name = 'balances' FOR UPDATE")
            outcomes(ledger.execute(*(transfer("bank", "users", 1) for _ in range(50))).result())
            head = await_head(owner, *others)
            assert positions(owner, balances.PROJECTION) < [head]
        await_head(owner)
    assert "projection goes on alone" not in {line["event"] for line in logged}
    assert_equal_to_fold(database, owner)


def test_whoever_is_waited_for_advances_before_the_others(
    database: Database, owner: Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("projections.running.pace.LONG_LINGER_SECONDS", 10 * PATIENCE_SECONDS)
    waiter = PositionWaiter(database)
    with running(database) as ledger, projecting(database):
        fill(ledger, count=5)
        eventually(lambda: positions(owner, balances.PROJECTION) > [0])
        waiter.start()
        position = outcomes(ledger.execute(transfer("bank", "users", 1)).result())[0].position
        waiter.wait_for("entries", position, PATIENCE_SECONDS).arrived()
        waiter.stop()
        assert positions(owner, balances.PROJECTION) < [position]


def test_a_head_that_the_journal_does_not_have_harms_nobody(
    database: Database, owner: Connection[Any]
) -> None:
    with running(database) as ledger, capture_logs() as logged, projecting(database):
        fill(ledger, count=5)
        for head in (10**6, 10**15, 1):
            owner.execute("SELECT pg_notify(%s, %s)", (database.journal_channel, str(head)))
            outcomes(ledger.execute(transfer("bank", "users", 1)).result())
            await_head(owner)
    assert "projection goes on alone" not in {line["event"] for line in logged}
    assert_equal_to_fold(database, owner)


def test_events_are_forgotten_with_the_connection_since_a_new_primary_may_have_others(
    database: Database, owner: Connection[Any]
) -> None:
    with running(database) as ledger, projecting(database):
        fill(ledger, count=5)
        await_head(owner)
        set_state(owner, "entries", "paused")
        outcomes(ledger.execute(transfer("bank", "users", 1)).result())
        head = await_head(owner, *(name for name in PROJECTIONS if name != "entries"))
        with owner.transaction():
            disarm(owner)
            owner.execute(OTHERS_AT_THE_END)
            arm(owner)
        former = holder(owner, "balances")
        assert cut(owner, "tallystick projections") == 1
        eventually(lambda: holder(owner, "balances") not in (former, None))
        set_state(owner, "entries", "running")
        await_head(owner)
        found = owner.execute("SELECT DISTINCT reference FROM entries_v1 WHERE position > %s - 4", (head,))
        assert found.fetchall() == [("of the new primary",)]


@contextmanager
def sharing(database: Database, share: Share) -> Iterator[None]:
    """A projector with a share, which runs meanwhile."""
    stop = threading.Event()
    thread = threading.Thread(target=run_projector, args=(database, stop), kwargs={"share": share})
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(PATIENCE_SECONDS)
        assert not thread.is_alive()


def test_projectors_divide_the_work_and_take_over_and_give_back_a_share(
    database: Database, owner: Connection[Any]
) -> None:
    install(database)
    owners = divided(frozenset(PROJECTIONS), 2)

    def holders() -> list[set[int | None]]:
        return [{holder(owner, name) for name in owners if owners[name] == number} for number in range(2)]

    def is_divided() -> bool:
        first, second = holders()
        return len(first) == len(second) == 1 and first != second and None not in first | second

    with running(database) as ledger, sharing(database, Share(0, 2)):
        with sharing(database, Share(1, 2)):
            eventually(is_divided)
            fill(ledger, count=40)
            await_head(owner)
        first, second = holders()
        eventually(lambda: holders() == [first, first])
        assert second != first
        outcomes(ledger.execute(*(transfer("bank", "users", 1) for _ in range(50))).result())
        await_head(owner)
        with sharing(database, Share(1, 2)):
            eventually(is_divided)
            outcomes(ledger.execute(*(transfer("bank", "users", 1) for _ in range(50))).result())
            await_head(owner)
    assert_equal_to_fold(database, owner)


def test_whoever_comes_back_when_another_has_its_share_is_left_to_that_one(
    database: Database, owner: Connection[Any]
) -> None:
    stop, tail = threading.Event(), RecentEvents()
    stop.set()
    runners = [Runner(database, projection, stop, tail) for projection in PROJECTIONS.values()]
    convoy = Convoy(database, runners, stop, tail, tell_nobody, Share(0, 2))
    others = [member for member in convoy._members if not convoy._division.is_ours(member.name)]
    for member in others:
        member.go_alone()
        member.join()
    convoy._take_places(owner)
    assert others
    # Otherwise it would look for places in each of its turns.
    assert not any(member.is_back or member.has_place for member in others)


def test_a_session_that_ends_between_writing_and_commit_writes_nothing_twice(
    database: Database, owner: Connection[Any]
) -> None:
    cut = threading.Event()

    def project(connection: Connection[Any], queries: Queries, events: Sequence[Recorded]) -> None:
        transactions.PROJECTION.project(connection, queries, events)
        if not cut.is_set():
            cut.set()
            owner.execute("SELECT pg_terminate_backend(%s, 10000)", (connection.info.backend_pid,))

    changed = [*THREE[:2], transactions.PROJECTION._replace(project=project), PROJECTIONS["ledgers"]]
    with running(database) as ledger:
        fill(ledger, count=40)
    with projecting(database, changed):
        await_head(owner, *(projection.name for projection in changed))
    assert cut.is_set()
    assert_equal_to_fold(database, owner)


def test_a_lost_connection_is_blamed_on_nobody(owner: Connection[Any], head: int) -> None:
    given = steps(owner, THREE, 0, head)
    owner.execute("SET statement_timeout = 0")
    broken = given[1].claim.projection._replace(project=_lose)
    given[1] = given[1]._replace(claim=given[1].claim._replace(projection=broken))
    with pytest.raises(psycopg.OperationalError):
        advance_together(owner, given, "announcements")


def _lose(connection: Connection[Any], queries: Queries, events: Sequence[Recorded]) -> None:
    connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")


def test_a_batch_ends_where_a_command_ends(
    database: Database, owner: Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    ends: set[int] = set()

    def note(connection: Connection[Any], given: Sequence[Step], channel: str) -> list[Step]:
        ends.update(step.batch.upto for step in given)
        return advance_together(connection, given, channel)

    monkeypatch.setattr("projections.running.pace.FIRST_BATCH_EVENTS", 20)
    monkeypatch.setattr("projections.running.pace.MAX_BATCH_EVENTS", 20)
    monkeypatch.setattr("projections.running.convoy.advance_together", note)
    with running(database) as ledger:
        fill(ledger, count=60)
    events = history(database)
    commands = [event.envelope for event in events]
    whole = {position for position in range(1, len(events)) if commands[position - 1] != commands[position]}
    with projecting(database):
        await_head(owner)
    assert len(ends) > len(events) / 40
    assert ends <= whole | {len(events)}
    assert_equal_to_fold(database, owner)


def test_a_command_that_is_larger_than_a_batch_is_divided(database: Database, owner: Connection[Any]) -> None:
    with running(database) as ledger:
        open_accounts(ledger, "a", "b")
        head = int(outcomes(ledger.execute(transfer("a", "b", 5)).result())[0].position)
    tail = RecentEvents()
    with database.connect("test") as connection:
        assert tail.last_whole(connection, 0, head) == head - 3
        assert [tail.last_whole(connection, head - 3, upto) for upto in (head, head - 1)] == [head, head - 1]
        assert tail.last_whole(connection, head - 4, head - 1) == head - 3
        # A range that begins before what is kept is divided anywhere.
        other = RecentEvents()
        other.last_whole(connection, head - 3, head)
        assert other.last_whole(connection, 0, head - 1) == head - 1
