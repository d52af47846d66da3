"""Two releases with different shapes of one projection: each reads, advances and awaits its own version."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from psycopg import Connection

from domain.journal.database import Database
from projections.engine.live_version import read_live
from projections.engine.projection import Projection
from projections.errors import ProjectionBehind, RebuildNeeded
from projections.read_models import entries
from projections.read_models.entries import list_entries
from projections.rebuilding.rebuilder import rebuild, rebuilding
from projections.rebuilding.requests import cancel_rebuild, current_rebuild, find_rebuild
from projections.rebuilding.unread_versions import drop_unread, unread_versions
from projections.registry import PROJECTIONS, install
from projections.running.positions import PositionWaiter, progress
from projections.running.projector import run_projector
from tests.ledgers import open_accounts, outcomes, running, transfer
from tests.projecting import PATIENCE_SECONDS, append, await_head, eventually, holder, projecting

pytestmark = pytest.mark.integration

OTHER: Projection = entries.PROJECTION._replace(shape=99)


@contextmanager
def other_release(database: Database) -> Iterator[None]:
    """A projector of a release with another shape of `entries`, which is installed before it runs."""
    stop = threading.Event()
    install(database, [OTHER])
    thread = threading.Thread(target=run_projector, args=(database, stop, [OTHER]))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(PATIENCE_SECONDS)
        assert not thread.is_alive()


@contextmanager
def registered(projection: Projection) -> Iterator[None]:
    """The projections a process of the other release knows."""
    original = PROJECTIONS[projection.name]
    PROJECTIONS[projection.name] = projection
    try:
        yield
    finally:
        PROJECTIONS[projection.name] = original


@pytest.fixture
def service(database: Database) -> Iterator[Connection[Any]]:
    """A connection with the rights of the service."""
    with database.connect("test service") as connection:
        yield connection


@pytest.fixture
def head(database: Database, owner: Connection[Any]) -> int:
    """A journal whose projections are at the head. Returns the head."""
    with projecting(database), running(database) as ledger:
        open_accounts(ledger, "a", "b")
        outcomes(ledger.execute(transfer("a", "b", 5)).result())
        return await_head(owner)


def versions(owner: Connection[Any]) -> list[tuple[Any, ...]]:
    return owner.execute(
        "SELECT version, state, shape, live FROM projection_versions WHERE name = 'entries' ORDER BY version"
    ).fetchall()


def count(connection: Connection[Any], projection: Projection) -> tuple[int, int]:
    """How many entries a release reads, and the position they reflect."""

    def read(cursor: Any, version: int) -> int:
        return int(cursor.execute(f"SELECT count(*) FROM entries_v{version:d}").fetchone()[0])

    found = read_live(connection, projection, read)
    return found.found, found.position


def at_head(connection: Connection[Any], projection: Projection, head: int) -> bool:
    try:
        return count(connection, projection)[1] == head
    except ProjectionBehind:
        return False


def test_each_release_advances_the_version_of_its_own_shape(
    database: Database, owner: Connection[Any], service: Connection[Any], head: int
) -> None:
    with running(database) as ledger:
        for first, second in ((projecting, other_release), (other_release, projecting)):
            with first(database), second(database):
                head = outcomes(ledger.execute(transfer("a", "b", 5)).result())[0].position
                for projection in (entries.PROJECTION, OTHER):
                    eventually(lambda: at_head(service, projection, head))  # noqa: B023
    assert versions(owner) == [(1, "running", 2, True), (2, "running", 99, True)]
    assert count(service, entries.PROJECTION) == count(service, OTHER) == (6, head)
    found = find_rebuild_of_other(service, 2)
    assert (found.state, found.comparisons, found.replaced_version) == ("switched", (), None)


def find_rebuild_of_other(connection: Connection[Any], version: int) -> Any:
    with registered(OTHER):
        return find_rebuild(connection, "entries", version)


def test_what_is_not_filled_yet_is_not_read_and_writes_go_on(
    database: Database, owner: Connection[Any], service: Connection[Any], head: int
) -> None:
    with registered(OTHER):
        install(database)
        seen = progress(owner, "entries")
        assert (seen.version, seen.position, seen.state) == (2, 0, "rebuilding")
        waiter = PositionWaiter(database)
        waiter.start()
        try:
            for position in (0, head):
                with pytest.raises(ProjectionBehind) as caught:
                    waiter.wait_for("entries", position, 0.2).arrived()
                assert caught.value.state == "rebuilding"
            with pytest.raises(ProjectionBehind) as caught:
                count(service, OTHER)
            assert (caught.value.position, caught.value.head, caught.value.state) == (0, head, "rebuilding")
            with pytest.raises(RebuildNeeded):
                cancel_rebuild(service, "entries", "tester")
            # The older release continues with its own.
            assert count(service, entries.PROJECTION) == (2, head)
            with running(database) as ledger:
                head = outcomes(ledger.execute(transfer("a", "b", 5)).result())[0].position
            with rebuilding(database):
                assert waiter.wait_for("entries", head, PATIENCE_SECONDS).arrived().position == head
        finally:
            waiter.stop()
        assert count(service, OTHER) == (4, head)
        assert current_rebuild(service, "entries") is None


def test_what_one_release_announces_is_not_taken_for_the_other_s(
    database: Database, owner: Connection[Any], head: int
) -> None:
    waiter = PositionWaiter(database)
    waiter.start()
    try:
        waiter.wait_for("entries", head, PATIENCE_SECONDS).arrived()
        newer = append(owner, "main/future", 1, "future.event", b"{}")
        with other_release(database), database.connect("test") as connection:
            eventually(lambda: at_head(connection, OTHER, newer))
            with pytest.raises(ProjectionBehind):
                waiter.wait_for("entries", newer, 0.2).arrived()
    finally:
        waiter.stop()


def test_each_release_rebuilds_its_own_and_keeps_to_it(
    database: Database, owner: Connection[Any], service: Connection[Any], head: int
) -> None:
    with other_release(database):
        eventually(lambda: at_head(service, OTHER, head))
        assert rebuild(database, "entries").equal
        assert versions(owner) == [
            (1, "retired", 2, False),
            (2, "running", 99, True),
            (3, "running", 2, True),
        ]
    # Releases older than this one know only one live version, and are led to the one that replaced it.
    assert owner.execute("SELECT live_version FROM projections WHERE name = 'entries'").fetchone() == (3,)


def test_versions_of_other_releases_are_dropped_on_request_unless_these_run(
    database: Database, owner: Connection[Any], service: Connection[Any], head: int
) -> None:
    with other_release(database):
        eventually(lambda: at_head(service, OTHER, head))
        with registered(OTHER):
            eventually(lambda: holder(owner, "entries") is not None)
        dropped, kept = drop_unread(database, "entries", "tester")
        assert ([of.version for of in dropped], [of.version for of in kept]) == ([], [2])
    assert [(of.version, of.shape) for of in unread_versions(owner, "entries")] == [(2, 99)]
    eventually(lambda: bool(drop_unread(database, "entries", "tester")[0]))
    assert versions(owner) == [(1, "running", 2, True)]
    assert owner.execute("SELECT to_regclass('entries_v2')").fetchone() == (None,)
    # A release rolled back to makes what it needs.
    with other_release(database):
        eventually(lambda: at_head(service, OTHER, head))
    assert [version for version, *_ in versions(owner)] == [1, 3]
    assert list_entries(service, "main", "a", limit=9).position == head


def test_a_running_release_whose_version_was_dropped_makes_it_anew(
    database: Database, owner: Connection[Any], service: Connection[Any], head: int
) -> None:
    with projecting(database):
        eventually(lambda: holder(owner, "entries") is not None)
        service.execute("DELETE FROM projection_versions WHERE name = 'entries'")
        service.execute("DROP TABLE entries_v1, turnovers_v1")
        eventually(lambda: at_head(service, entries.PROJECTION, head))
    assert len(list_entries(service, "main", "a", limit=9).rows) == 1
