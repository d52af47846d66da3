"""Rebuilding beside the live version: reads and writes continue, and the new version is compared and switched to."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from psycopg import Connection, Cursor

from domain.journal.database import Database
from projections.engine import comparison
from projections.engine.comparison import TableComparison
from projections.engine.live_version import read_live
from projections.read_models.balances import list_accounts, read_account
from projections.read_models.entries import list_entries
from projections.rebuilding import switchover
from projections.rebuilding.rebuilder import rebuild, rebuild_together
from projections.rebuilding.requests import cancel_rebuild, current_rebuild, current_rebuilds, find_rebuild
from projections.rebuilding.unread_versions import drop_unread
from projections.registry import PROJECTIONS
from projections.running.positions import progress
from tests.integration.rebuilds.journals import ADDRESSES, fill, post, tables, versions
from tests.integration.rebuilds.replaying import replayed
from tests.ledgers import open_accounts, running
from tests.projecting import await_head, await_progress, eventually, projecting, set_state

pytestmark = pytest.mark.integration


@contextmanager
def reading(database: Database, failures: list[Exception], counts: list[int]) -> Iterator[None]:
    """A reader that reads the live version all the time."""
    stop = threading.Event()

    def read() -> None:
        with database.connect("test reader") as connection:
            while not stop.is_set():
                try:
                    accounts = list_accounts(connection, "main", limit=100)
                    assert (
                        sum(account.posted_credits - account.posted_debits for account in accounts.rows) == 0
                    )
                    entries = list_entries(connection, "main", ADDRESSES[0], limit=5, descending=True)
                    assert entries.rows[0].position <= entries.position <= entries.head
                    account = read_account(connection, "main", ADDRESSES[0])
                    assert account.found is not None
                    assert account.found.position <= account.position
                    counts.append(account.position)
                except Exception as failure:  # noqa: BLE001 - whatever it is fails the test
                    failures.append(failure)
                    return

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@pytest.mark.usefixtures("small_batches")
def test_reads_and_the_projector_go_on_while_projections_are_rebuilt(
    database: Database, owner: Connection[Any]
) -> None:
    fill(database, owner)
    failures: list[Exception] = []
    positions: list[int] = []
    with running(database) as ledger, projecting(database), reading(database, failures, positions):
        for names in (["entries"], ["balances", "ledgers"], list(PROJECTIONS)):
            found = rebuild_together(
                database, names, requested_by="tester", report=lambda rebuilds: post(ledger, 5)
            )
            assert [(one.name, one.state, one.equal) for one in found] == [
                (name, "switched", True) for name in names
            ]
            post(ledger, 5)
            await_head(owner)
        eventually(
            lambda: bool(failures) or bool(positions and positions[-1] == progress(owner, "balances").head)
        )
    assert failures == []
    assert positions == sorted(positions)
    # The replaced version is kept until the next rebuild begins.
    assert versions(owner, "entries") == [(2, "retired"), (3, "running")]
    assert tables(owner, "entries") == ["entries_v2", "entries_v3"]
    # The version switched to last equals one rebuilt from the whole journal.
    assert all(found.equal for found in rebuild_together(database, list(PROJECTIONS)))


def test_a_rebuild_says_what_was_compared_and_is_recorded(
    database: Database, owner: Connection[Any], service: Connection[Any]
) -> None:
    head = fill(database, owner)
    outcome = rebuild(database, "entries", requested_by="tester", reason="an audit")
    assert (outcome.version, outcome.replaced_version, outcome.compared_position) == (2, 1, head)
    compared, turnovers = outcome.comparisons
    assert (compared.live_table, compared.rebuilt_table) == ("entries_v1", "entries_v2")
    assert compared.live_rows == compared.rebuilt_rows == 400
    assert compared.live_checksum == compared.rebuilt_checksum != "0"
    assert (turnovers.live_table, turnovers.rebuilt_table) == ("turnovers_v1", "turnovers_v2")
    assert turnovers.equal
    assert current_rebuild(service, "entries") is None
    assert find_rebuild(service, "entries", 2).state == "switched"
    assert (outcome.requested_by, outcome.reason, outcome.last_error) == ("tester", "an audit", None)
    assert outcome.started_at and outcome.ended_at and outcome.requested_at < outcome.started_at
    assert owner.execute(
        "SELECT indexname FROM pg_indexes WHERE tablename = 'entries_v2' ORDER BY 1"
    ).fetchall() == [
        ("entries_v2_dated_effective",),
        ("entries_v2_dated_moment",),
        ("entries_v2_dated_recorded",),
        ("entries_v2_moment",),
        ("entries_v2_plain",),
    ]


def test_the_state_of_the_live_version_decides_that_of_the_new_one(
    database: Database, owner: Connection[Any]
) -> None:
    fill(database, owner, 20)
    for before, after in (("paused", "paused"), ("halted", "running"), ("running", "running")):
        set_state(owner, "entries", before)
        assert rebuild(database, "entries").switched
        assert progress(owner, "entries").state == after


def test_a_rebuild_mends_what_dead_letters_lack(database: Database, owner: Connection[Any]) -> None:
    with running(database) as ledger, projecting(database):
        open_accounts(ledger, *ADDRESSES)
        post(ledger, 20)
        await_head(owner)
        owner.execute("UPDATE balances_v1 SET version = 99, posted_debits = 1 WHERE address = 'account:1'")
        post(ledger, 20)
        await_progress(owner, "balances", lambda seen: seen.dead_letters == 1)
        outcome = rebuild(database, "balances")
        assert (outcome.state, outcome.difference_expected) == (
            "differing",
            "version 1 lacks what 1 dead letters hold",
        )
        assert rebuild(database, "balances", accept_difference="it was damaged").switched
        await_head(owner)
        assert progress(owner, "balances").dead_letters == 0
    assert rebuild(database, "balances").equal


def test_a_rebuild_goes_no_further_than_the_live_version(database: Database, owner: Connection[Any]) -> None:
    head = fill(database, owner, 20)
    set_state(owner, "entries", "paused")
    with running(database) as ledger:
        post(ledger, 20)
    outcome = rebuild(database, "entries")
    assert (outcome.equal, outcome.compared_position, progress(owner, "entries").position) == (
        True,
        head,
        head,
    )


def test_nothing_stands_still_while_versions_are_compared(
    database: Database, owner: Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(database, owner, 20)
    reached: list[int] = []

    def compare_while_money_moves(*given: Any) -> list[TableComparison]:
        post(ledger, 20)
        reached.append(await_head(owner))
        assert list_entries(owner, "main", ADDRESSES[0], limit=1).position == reached[-1]
        return comparison.compare(*given)

    monkeypatch.setattr(switchover, "compare", compare_while_money_moves)
    with running(database) as ledger, projecting(database):
        outcome = rebuild(database, "entries")
        assert outcome.equal
        assert outcome.compared_position is not None
        assert [outcome.compared_position] < reached
        await_head(owner)
    monkeypatch.undo()
    assert rebuild(database, "entries").equal


def test_who_is_overtaken_by_a_difference_sees_the_version_that_was_live(
    database: Database, owner: Connection[Any]
) -> None:
    head = fill(database, owner, 20)
    owner.execute("UPDATE entries_v1 SET change = 0")
    assert rebuild(database, "entries").state == "differing"
    found = list_entries(owner, "main", ADDRESSES[0], limit=1)
    assert (found.rows[0].amount, found.position) == (0, head)


def test_a_reader_overtaken_by_a_switch_and_a_drop_reads_the_new_version(
    database: Database, owner: Connection[Any]
) -> None:
    fill(database, owner, 20)
    seen: list[int] = []

    def read(cursor: Cursor[Any], version: int) -> int:
        if not seen:
            rebuild(database, "entries")
            drop_unread(database, "entries", "tester")
        seen.append(version)
        row = cursor.execute(f"SELECT count(*) FROM entries_v{version:d}").fetchone()
        return int(row[0]) if row else 0

    assert read_live(owner, PROJECTIONS["entries"], read).found == 40
    assert seen == [1, 2]


def test_who_cancels_while_it_switches_waits_and_finds_it_switched(
    database: Database, owner: Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(database, owner, 20)
    failures: list[Exception] = []

    def cancel() -> None:
        try:
            with database.connect("test cancelling") as connection:
                cancel_rebuild(connection, "entries", "tester")
        except Exception as failure:  # noqa: BLE001 - whatever it is fails the test
            failures.append(failure)

    def waits() -> bool:
        waiting = "SELECT FROM pg_stat_activity WHERE application_name = %s AND wait_event_type = 'Lock'"
        return owner.execute(waiting, ["test cancelling"]).fetchone() is not None

    cancelling = threading.Thread(target=cancel)
    end = switchover.Switching._end

    def end_and_let_another_cancel(switching: switchover.Switching) -> None:
        end(switching)
        cancelling.start()
        eventually(waits)

    monkeypatch.setattr(switchover.Switching, "_end", end_and_let_another_cancel)
    assert rebuild(database, "entries").state == "switched"
    cancelling.join()
    assert failures == []
    assert current_rebuild(owner, "entries") is None


def test_a_projection_is_installed_where_it_was_not(migrated_database: Database) -> None:
    assert replayed(migrated_database, "entries")[0] == 0
    with migrated_database.connect("test service") as service:
        assert versions(service, "entries") == [(1, "retired"), (2, "running")]
        assert current_rebuilds(service) == []
