"""Rebuilds carried out once: requested, cancelled, paused, resumed, divided among processes, and failing."""

import threading
from time import sleep
from typing import Any

import pytest
from psycopg import Connection, errors

from domain.journal.database import Database
from projections import registry
from projections.engine.batches import read_stretch
from projections.engine.leadership import try_acquire
from projections.errors import RebuildNotUnderWay
from projections.rebuilding import division, group, switchover
from projections.rebuilding import part as filling
from projections.rebuilding.rebuilder import rebuild, rebuild_together, rebuilding
from projections.rebuilding.requests import (
    cancel_rebuild,
    current_rebuild,
    find_rebuild,
    pause_rebuild,
    request_rebuild,
    resume_rebuild,
)
from projections.rebuilding.unread_versions import drop_retired
from projections.registry import PROJECTIONS
from tests.integration.rebuilds.journals import await_state, fill, tables
from tests.integration.rebuilds.replaying import replayed
from tests.projecting import append, eventually

pytestmark = pytest.mark.integration


class Gate:
    """Lets batches of a rebuild of `entries` through up to a position, and the rest once it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, position: int) -> None:
        self._position = position
        self._opened = threading.Event()
        self.reached = threading.Event()
        self.seen: list[int] = []
        monkeypatch.setattr(filling, "read_stretch", self._read)

    def _read(self, connection: Connection[Any], projections: Any, after: int, upto: int, part: Any) -> Any:
        if PROJECTIONS["entries"] in projections:
            self.seen.append(after)
            if after >= self._position:
                self.reached.set()
                assert self._opened.wait(60)
        return read_stretch(connection, projections, after, upto, part)

    def open(self) -> None:
        """Let everything through."""
        self._opened.set()


def test_what_is_under_way_is_asked_for_once(
    database: Database, owner: Connection[Any], service: Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(database, owner)
    gate = Gate(monkeypatch, 0)
    with rebuilding(database):
        first = request_rebuild(service, "entries", "one", "first")
        assert gate.reached.wait(60)
        again = request_rebuild(service, "entries", "two", "second")
        assert (again.version, again.requested_by, again.reason) == (first.version, "one", "first")
        assert again.state == "filling"
        told = request_rebuild(service, "entries", "two", accept_difference="as agreed")
        assert (told.version, told.accept_difference, told.accepted_by) == (first.version, "as agreed", "two")
        gate.open()
        assert await_state(service, first, "switched").equal


@pytest.mark.usefixtures("small_batches")
def test_a_rebuild_that_is_cancelled_leaves_nothing(
    database: Database, owner: Connection[Any], service: Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(database, owner)
    gate = Gate(monkeypatch, 100)
    with rebuilding(database):
        asked = request_rebuild(service, "entries", "tester")
        assert gate.reached.wait(60)
        cancel_rebuild(service, "entries", "another")
        cancel_rebuild(service, "entries", "a third")
        gate.open()
        eventually(lambda: tables(owner, "entries") == ["entries_v1"])
        ended = find_rebuild(service, "entries", asked.version)
        assert (ended.state, ended.controlled_by, current_rebuild(service, "entries")) == (
            "cancelled",
            "another",
            None,
        )
        # Its number is not given again.
        assert rebuild(database, "entries").version == asked.version + 1
    assert owner.execute("SELECT count(*) FROM rebuild_parts").fetchone() == (0,)


@pytest.mark.usefixtures("small_batches")
def test_a_rebuild_that_is_paused_goes_on_from_where_it_is_though_nothing_of_it_lived_on(
    database: Database, owner: Connection[Any], service: Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(database, owner)
    gate = Gate(monkeypatch, 100)
    for act in (pause_rebuild, resume_rebuild):
        with pytest.raises(RebuildNotUnderWay):
            act(service, "entries", "tester")
    with rebuilding(database):
        asked = request_rebuild(service, "entries", "tester")
        assert gate.reached.wait(60)
        for _ in range(2):
            pause_rebuild(service, "entries", "tester")
        gate.open()
    paused = find_rebuild(service, "entries", asked.version)
    assert (paused.state, paused.position, paused.seconds_left) == ("paused", 100, None)
    with rebuilding(database):
        rebuild(database, "balances")  # another projection is not blocked
        assert find_rebuild(service, "entries", asked.version).position == 100
        assert replayed(database, "entries")[0] == 1
        gate.seen.clear()
        code, words = replayed(database, "resume", "entries")
        assert code == 0, words
    assert gate.seen[0] == 100
    assert find_rebuild(service, "entries", asked.version).equal


def test_one_process_carries_out_a_rebuild(
    database: Database, owner: Connection[Any], service: Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(database, owner, 20)
    gate = Gate(monkeypatch, 0)
    with rebuilding(database):
        asked = request_rebuild(service, "entries", "tester")
        assert gate.reached.wait(60)
        assert not try_acquire(owner, "rebuild", PROJECTIONS["entries"].of_shape)
        with rebuilding(database):
            assert rebuild(database, "ledgers").equal
        assert gate.seen == [0]
        gate.open()
        assert await_state(service, asked, "switched").equal


def test_a_journal_that_cannot_be_read_is_not_rebuilt_from(
    database: Database, owner: Connection[Any], service: Connection[Any]
) -> None:
    fill(database, owner, 20)
    bad = append(owner, "main/transactions/x", 1, "transaction.posted", b'{"class_version":99,"data":{}}')
    owner.execute("UPDATE projection_versions SET position = %s WHERE name = 'entries'", (bad,))
    failed, balances = rebuild_together(database, ["entries", "balances"])
    assert failed.state == "failed"
    assert failed.last_error is not None
    assert failed.last_error.startswith(f"it cannot be rebuilt beyond {bad - 1}: newer_version")
    assert balances.equal
    # Requested again, it starts over.
    assert request_rebuild(service, "entries", "tester").version == failed.version + 1
    code, words = replayed(database, "entries")
    assert (code, "has failed: it cannot be rebuilt beyond" in words) == (3, True)


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize(("workers", "of_streams"), [(1, 1), (2, 1), (6, 2)])
def test_parts_that_are_filled_by_several_processes_are_the_whole(
    database: Database,
    owner: Connection[Any],
    monkeypatch: pytest.MonkeyPatch,
    workers: int,
    of_streams: int,
) -> None:
    fill(database, owner)
    monkeypatch.setattr(division, "SHORT_EVENTS", 0)
    seen: set[str] = set()

    def report(rebuilds: Any) -> None:
        rows = owner.execute("SELECT name, number, parts FROM rebuild_parts").fetchall()
        seen.update(f"{name} {number} of {parts}" for name, number, parts in rows)

    found = rebuild_together(database, list(PROJECTIONS), report=report, workers=workers)
    assert [(one.name, one.state, one.equal) for one in found] == [
        (name, "switched", True) for name in PROJECTIONS
    ]
    parts = {name: of_streams if projection.by_stream else 1 for name, projection in PROJECTIONS.items()}
    assert seen == {f"{name} {number} of {of}" for name, of in parts.items() for number in range(of)}


def test_the_version_that_was_replaced_is_kept_however_late_older_ones_are_dropped(
    database: Database, owner: Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(database, owner, 20)
    dropped = threading.Event()

    def drop_late(connection: Connection[Any], name: str, shape: int) -> None:
        sleep(1.0)  # time enough to switch
        drop_retired(connection, name, shape)
        dropped.set()

    monkeypatch.setattr(group, "drop_retired", drop_late)
    with rebuilding(database):
        assert rebuild(database, "entries", patience_seconds=60).switched
        assert dropped.wait(60)
    assert tables(owner, "entries") == ["entries_v1", "entries_v2"]


def test_a_version_that_was_begun_keeps_its_division_whoever_is_rebuilt_with_it(
    database: Database, owner: Connection[Any], service: Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(database, owner, 20)
    monkeypatch.setattr(division, "SHORT_EVENTS", 0)
    both = [request_rebuild(service, name, "tester") for name in ("entries", "balances")]
    for rebuilds, workers in ((both, 2), (both[:1], 2), (both, 8), ([], 2)):
        portions = division.divide(service, PROJECTIONS, rebuilds, workers)
        assert [portion.number for portion in portions] == [0] * len(rebuilds)
        parts = owner.execute("SELECT name, number, parts FROM rebuild_parts ORDER BY name").fetchall()
        assert parts == [("balances", 0, 1), ("entries", 0, 1)]


def test_what_depends_on_the_order_of_streams_is_filled_by_one_process(
    database: Database, owner: Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(database, owner, 20)
    monkeypatch.setattr(division, "SHORT_EVENTS", 0)
    monkeypatch.setitem(PROJECTIONS, "entries", PROJECTIONS["entries"]._replace(by_stream=False))
    parts: set[int] = set()

    def report(rebuilds: Any) -> None:
        parts.update(count for (count,) in owner.execute("SELECT parts FROM rebuild_parts").fetchall())

    assert rebuild(database, "entries", report=report, workers=3).equal
    assert parts == {1}


def test_a_fault_that_passes_is_shown_until_it_has_passed(
    database: Database, service: Connection[Any], owner: Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(database, owner, 20)
    mended = threading.Event()

    def create_indexes(*given: Any) -> None:
        if not mended.is_set():
            raise errors.DiskFull("could not extend file")
        registry.create_indexes(*given)

    monkeypatch.setattr(switchover, "create_indexes", create_indexes)
    with rebuilding(database):
        asked = request_rebuild(service, "entries", "tester")
        eventually(lambda: find_rebuild(service, "entries", asked.version).last_error is not None)
        seen = find_rebuild(service, "entries", asked.version)
        assert (seen.state, seen.last_error) == ("filling", "DiskFull: could not extend file")
        mended.set()
        ended = await_state(service, asked, "switched")
    assert (ended.equal, ended.last_error) == (True, None)


def test_a_connection_that_ended_while_nobody_used_it_is_replaced(
    database: Database, owner: Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(database, owner, 20)
    ended: list[int] = []
    errors_shown: set[str] = set()

    def fill_and_end(connection: Connection[Any], *given: Any) -> None:
        filling.fill(connection, *given)
        if not ended:
            ended.append(connection.info.backend_pid)
            owner.execute("SELECT pg_terminate_backend(%s, 60000)", ended)

    def report(rebuilds: Any) -> None:
        errors_shown.update(asked.last_error for asked in rebuilds if asked.last_error)

    monkeypatch.setattr(group, "fill", fill_and_end)
    assert rebuild(database, "entries", report=report).equal
    assert len(ended) == 1 and not errors_shown
