"""Projections on a real journal: exactly once despite cuts, repetitions and a second projector."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest
from psycopg import Connection
from structlog.testing import capture_logs

from domain.journal.database import Database
from domain.journal.migrations import migrate
from domain.model.events import Recorded
from projections.engine.batches import Claim, EventBatch, advance, read_batch
from projections.engine.projection import Projection, Queries
from projections.engine.recent_events import RecentEvents
from projections.read_models import balances, entries, ledgers, transactions
from projections.read_models.entries import list_entries
from projections.registry import PROJECTIONS, install
from projections.running.runner import Runner
from tests.integration.projector.folding import assert_equal_to_fold, fill
from tests.ledgers import open_accounts, outcomes, running, transfer
from tests.projecting import Deaf, await_head, await_progress, eventually, holder, projecting, set_state

pytestmark = pytest.mark.integration


class Cut:
    """A projection whose session is ended after it has written its first batch and before the commit."""

    def __init__(self, original: Projection, owner: Connection[Any]) -> None:
        self._original = original
        self._owner = owner
        self.cuts = 0

    def project(self, connection: Connection[Any], queries: Queries, events: Sequence[Recorded]) -> None:
        self._original.project(connection, queries, events)
        if self.cuts < 2:
            self.cuts += 1
            self._owner.execute("SELECT pg_terminate_backend(%s, 10000)", (connection.info.backend_pid,))


def test_a_connection_lost_between_write_and_commit_changes_nothing_twice(
    database: Database, owner: Connection[Any]
) -> None:
    originals = (entries.PROJECTION, balances.PROJECTION, transactions.PROJECTION)
    cuts = [Cut(original, owner) for original in originals]
    cut = [original._replace(project=cut.project) for original, cut in zip(originals, cuts, strict=True)]
    with running(database) as ledger:
        fill(ledger, count=80)
    with projecting(database, cut[:1]):
        await_head(owner, "entries")
    with projecting(database, [ledgers.PROJECTION, *cut[1:]]):
        await_head(owner, "ledgers", "balances", "transactions")
    assert [seen.cuts for seen in cuts] == [2, 2, 2]
    assert_equal_to_fold(database, owner)


def test_two_projectors_count_nothing_twice_and_one_takes_over_from_the_other(
    database: Database, owner: Connection[Any]
) -> None:
    with running(database) as ledger, projecting(database):
        with projecting(database):
            fill(ledger, count=120)
            await_head(owner)
            first = holder(owner, "entries")
            assert first is not None
            # The place becomes free with its holder's session, and one of the two takes it.
            owner.execute("SELECT pg_terminate_backend(%s, 10000)", (first,))
            eventually(lambda: holder(owner, "entries") not in (None, first))
            outcomes(ledger.execute(*(transfer("bank", "users", 1) for _ in range(50))).result())
            await_head(owner)
        outcomes(ledger.execute(*(transfer("bank", "users", 1) for _ in range(50))).result())
        await_head(owner)
    assert_equal_to_fold(database, owner)


def test_a_runner_that_was_taken_over_writes_nothing(database: Database, owner: Connection[Any]) -> None:
    with running(database) as ledger:
        open_accounts(ledger, "a", "b")
        head = outcomes(ledger.execute(transfer("a", "b", 5)).result())[0].position
    mine, other = (Claim(entries.PROJECTION, 1, uuid4(), "running") for _ in range(2))
    owner.execute("UPDATE projection_versions SET runner = %s WHERE name = 'entries'", (other.runner,))
    batch = read_batch(owner, entries.PROJECTION, 0, head)
    assert len(batch.events) == 1
    assert not advance(owner, mine, batch, 0.0, None)
    assert list_entries(owner, "main", "a", limit=9).rows == []
    assert advance(owner, other, batch, 0.0, None)
    assert not advance(owner, other, batch, 0.0, None)
    assert len(list_entries(owner, "main", "a", limit=9).rows) == 1


def test_a_runner_that_finds_itself_taken_over_lets_go_of_its_place(
    database: Database, owner: Connection[Any]
) -> None:
    with running(database) as ledger, projecting(database):
        open_accounts(ledger, "a", "b")
        await_head(owner)
        first = holder(owner, "entries")
        owner.execute("UPDATE projection_versions SET runner = %s", (uuid4(),))
        eventually(lambda: holder(owner, "entries") not in (None, first))
        outcomes(ledger.execute(transfer("a", "b", 5)).result())
        await_head(owner)
    assert_equal_to_fold(database, owner)


def test_a_version_that_a_switch_left_to_nobody_is_taken_by_who_holds_the_place(
    database: Database, owner: Connection[Any]
) -> None:
    with running(database) as ledger, capture_logs() as logged, projecting(database, [entries.PROJECTION]):
        fill(ledger, count=20)
        await_head(owner, "entries")
        before = owner.execute("SELECT runner FROM projection_versions WHERE name = 'entries'").fetchone()
        owner.execute("UPDATE projection_versions SET runner = NULL WHERE name = 'entries'")
        outcomes(ledger.execute(*(transfer("bank", "users", 1) for _ in range(50))).result())
        await_head(owner, "entries")
        found = owner.execute("SELECT runner FROM projection_versions WHERE name = 'entries'").fetchone()
    assert found == before
    assert [line for line in logged if line["log_level"] != "info"] == []


def test_a_missed_notification_is_made_up_by_looking(database: Database, owner: Connection[Any]) -> None:
    with projecting(Deaf(*database)), running(database) as ledger:
        open_accounts(ledger, "a", "b")
        await_head(owner)
        ledger.perform(transfer("a", "b", 5))
        await_head(owner)
    assert_equal_to_fold(database, owner)


def test_what_is_paused_does_not_move_until_it_is_resumed(database: Database, owner: Connection[Any]) -> None:
    with projecting(database), running(database) as ledger:
        open_accounts(ledger, "a", "b")
        paused_at = await_head(owner)
        set_state(owner, "entries", "paused")
        ledger.perform(transfer("a", "b", 5))
        head = await_head(owner, "balances", "ledgers")
        seen = await_progress(owner, "entries", lambda seen: seen.head == head)
        assert (seen.state, seen.position, seen.lag_events) == ("paused", paused_at, head - paused_at)
        page = list_entries(owner, "main", "a", limit=9)
        assert (page.rows, page.position, page.head) == ([], paused_at, head)
        set_state(owner, "entries", "running")
        await_head(owner)


def test_a_projector_waits_for_a_database_that_is_not_migrated_yet(empty_database: Database) -> None:
    with projecting(empty_database, tuple(PROJECTIONS.values())):
        migrate(empty_database)
        with running(empty_database) as ledger, empty_database.connect("test") as connection:
            open_accounts(ledger, "a", "b")
            eventually(
                lambda: (
                    connection.execute("SELECT count(*) FROM projections").fetchone() == (len(PROJECTIONS),)
                )
            )
            await_head(connection, "entries")


def test_any_number_may_install_at_once(migrated_database: Database) -> None:
    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(install, migrated_database) for _ in range(8)]:
            done.result()
    with migrated_database.connect("test") as connection:
        rows = connection.execute(
            "SELECT name, version, position, state FROM projection_versions ORDER BY name"
        ).fetchall()
    assert rows == [(name, 1, 0, "running") for name in sorted(PROJECTIONS)]


def test_an_empty_range_is_an_empty_batch(database: Database, owner: Connection[Any]) -> None:
    assert read_batch(owner, entries.PROJECTION, 0, 0) == EventBatch(0, 0, [])


def test_a_runner_that_is_stopped_ends_though_another_holds_the_place(
    database: Database, owner: Connection[Any]
) -> None:
    stop = threading.Event()
    with projecting(database):
        eventually(lambda: holder(owner, "entries") is not None)
        standby = threading.Thread(target=Runner(database, entries.PROJECTION, stop, RecentEvents()).run)
        standby.start()
        stop.set()
        standby.join(60)
        assert not standby.is_alive()
