"""Rebuilding beside the live version: reads continue, a difference is refused, an interruption is resumed."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import typer
from psycopg import Connection, Cursor, errors

from domain.application import LedgerApplication
from domain.journal.database import Database
from projections import registry
from projections.engine import comparison
from projections.engine.batches import read_stretch
from projections.engine.comparison import TableComparison
from projections.engine.leadership import try_acquire
from projections.engine.live_version import read_live
from projections.errors import ProjectionNotFound, RebuildNotUnderWay
from projections.read_models.balances import list_accounts, read_account
from projections.read_models.entries import list_entries
from projections.rebuilding import part as filling
from projections.rebuilding import part_processes, switchover
from projections.rebuilding.rebuilder import rebuild, rebuild_together, rebuilding
from projections.rebuilding.requests import (
    Rebuild,
    cancel_rebuild,
    current_rebuild,
    current_rebuilds,
    find_rebuild,
    pause_rebuild,
    request_rebuild,
    resume_rebuild,
)
from projections.rebuilding.unread_versions import drop_unread, unread_versions
from projections.registry import PROJECTIONS
from projections.running.positions import progress
from scripts.commands.replay import replay
from tests.commands import invoke
from tests.ledgers import open_accounts, outcomes, running, transfer
from tests.projecting import append, await_head, await_progress, eventually, projecting, set_state

pytestmark = pytest.mark.integration

ADDRESSES = [f"account:{number}" for number in range(10)]
REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rebuild in many steps, so that much can happen in between."""
    monkeypatch.setattr("projections.rebuilding.part.BATCH_EVENTS", 50)


@pytest.fixture
def service(database: Database) -> Iterator[Connection[Any]]:
    """A connection with the rights of the service, which owns the tables of projections."""
    with database.connect("test service") as connection:
        yield connection


def post(ledger: LedgerApplication, count: int) -> None:
    """Post transfers around a ring of accounts."""
    pairs = zip(ADDRESSES, [*ADDRESSES[1:], ADDRESSES[0]], strict=True)
    ring = [transfer(debited, credited, 7) for debited, credited in pairs]
    commands = [
        transfer(ring[n % 10].entries[0].account, ring[n % 10].entries[1].account, n + 1)
        for n in range(count)
    ]
    outcomes(ledger.execute(*commands).result())


def fill(database: Database, owner: Connection[Any], count: int = 200) -> int:
    """Write a journal and bring its projections to the head. Return the head."""
    with running(database) as ledger, projecting(database):
        open_accounts(ledger, *ADDRESSES)
        post(ledger, count)
        return await_head(owner)


def versions(owner: Connection[Any], name: str) -> list[tuple[int, str]]:
    rows = owner.execute(
        "SELECT version, state FROM projection_versions WHERE name = %s ORDER BY version", (name,)
    ).fetchall()
    return [(version, state) for version, state in rows]


def tables(owner: Connection[Any], name: str) -> list[str]:
    """The tables of all versions of a projection."""
    rows = owner.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r'"
        " AND relname ~ ('^' || %s || '_v[0-9]+$') ORDER BY relname",
        (name,),
    ).fetchall()
    return [str(table) for (table,) in rows]


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


def await_state(connection: Connection[Any], rebuild: Rebuild, *states: str) -> Rebuild:
    """Wait until a rebuild is in one of these states, and return it."""
    eventually(lambda: find_rebuild(connection, rebuild.name, rebuild.version).state in states)
    return find_rebuild(connection, rebuild.name, rebuild.version)


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


def replayed(database: Database, *arguments: str) -> tuple[int, str]:
    """Run `tallystick replay`. Return its exit code and output."""
    app = typer.Typer()
    app.command()(replay)
    options = ["--database-url", database.url, "--schema", database.schema]
    result = invoke(app, [*arguments, *options])
    return result.exit_code, " ".join(result.output.split())


@pytest.mark.parametrize(
    "tampering",
    [
        "UPDATE entries_v1 SET change = change + 1 WHERE position = (SELECT max(position) FROM entries_v1)",
        "DELETE FROM entries_v1 WHERE position = (SELECT min(position) FROM entries_v1) AND entry = 1",
        "INSERT INTO entries_v1 SELECT ledger, account, recorded_at, position, 9, transaction_id, kind, asset,"
        " direction, change, balance_after, debits_after, effective_at, reference FROM entries_v1 LIMIT 1",
        "UPDATE turnovers_v1 SET debits = debits + 1 WHERE span = 'day'",
    ],
)
def test_a_difference_is_refused_and_shown_until_it_is_accepted_with_a_reason(
    database: Database, owner: Connection[Any], service: Connection[Any], tampering: str
) -> None:
    fill(database, owner, 20)
    assert owner.execute(tampering).rowcount >= 1
    code, words = replayed(database, "entries")
    assert code == 1
    assert "v1 and" in words and "v2 differ" in words
    assert "only in the" in words
    assert "Not switched" in words
    assert versions(owner, "entries") == [(1, "running"), (2, "rebuilding")]

    # Without a reason it is rebuilt and refused again.
    code, words = replayed(database, "entries")
    assert (code, tables(owner, "entries")) == (1, ["entries_v1", "entries_v3"])
    stopped = current_rebuild(service, "entries")
    assert stopped is not None
    assert (stopped.version, stopped.state, stopped.equal) == (3, "differing", False)
    assert any(compared.differing for compared in stopped.comparisons)

    code, words = replayed(database, "entries", "--accept-difference", "the disk was bad")
    assert code == 0
    assert "because: the disk was bad" in words
    assert versions(owner, "entries") == [(1, "retired"), (3, "running")]
    accepted = find_rebuild(service, "entries", 3)
    assert (accepted.state, accepted.accept_difference) == ("switched", "the disk was bad")
    assert accepted.accepted_by is not None and accepted.accepted_by.startswith("terminal")
    assert find_rebuild(service, "entries", 2).state == "cancelled"
    code, words = replayed(database, "entries")
    assert (code, "are equal" in words) == (0, True)


def test_a_refused_rebuild_can_be_dropped(database: Database, owner: Connection[Any]) -> None:
    fill(database, owner, 20)
    owner.execute("UPDATE balances_v1 SET posted_debits = posted_debits + 1 WHERE address = 'account:1'")
    assert replayed(database, "balances")[0] == 1
    for _ in range(2):
        assert replayed(database, "balances", "--cancel") == (0, "No rebuild of balances is under way.")
    assert (versions(owner, "balances"), tables(owner, "balances")) == ([(1, "running")], ["balances_v1"])


def test_what_the_command_is_given_is_checked(database: Database, tmp_path: Path) -> None:
    for arguments in (
        ("nothing",),
        (),
        ("entries", "--all"),
        ("entries", "--accept-difference", " "),
        ("entries", "--reason", ""),
        ("entries", "--pause", "--cancel"),
        ("entries", "--workers", "0"),
    ):
        assert replayed(database, *arguments)[0] == 2, arguments
    app = typer.Typer()
    app.command()(replay)
    result = invoke(app, ["entries", "--data-dir", str(tmp_path / "absent")])
    assert result.exit_code == 3
    assert not (tmp_path / "absent").exists()
    with pytest.raises(ProjectionNotFound):
        rebuild(database, "nothing")


def test_all_projections_are_replayed_at_once(
    database: Database, owner: Connection[Any], service: Connection[Any]
) -> None:
    fill(database, owner, 20)
    code, words = replayed(database, "--all", "--reason", "an audit")
    assert code == 0
    for name in PROJECTIONS:
        assert f"Version 2 of {name} replaces 1." in words
        assert find_rebuild(service, name, 2).reason == "an audit"


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
        code, words = replayed(database, "entries", "--resume")
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
def test_parts_that_are_filled_by_several_processes_are_the_whole(
    database: Database, owner: Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(database, owner)
    monkeypatch.setattr(part_processes, "SHORT_EVENTS", 0)
    seen: set[str] = set()

    def report(rebuilds: Any) -> None:
        rows = owner.execute("SELECT name, number, parts FROM rebuild_parts").fetchall()
        seen.update(f"{name} {number} of {parts}" for name, number, parts in rows)

    found = rebuild_together(database, list(PROJECTIONS), report=report, workers=3)
    assert [(one.name, one.state, one.equal) for one in found] == [
        (name, "switched", True) for name in PROJECTIONS
    ]
    parts = {name: 3 if projection.by_stream else 1 for name, projection in PROJECTIONS.items()}
    assert seen == {f"{name} {number} of {of}" for name, of in parts.items() for number in range(of)}


def test_what_depends_on_the_order_of_streams_is_filled_by_one_process(
    database: Database, owner: Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(database, owner, 20)
    monkeypatch.setattr(part_processes, "SHORT_EVENTS", 0)
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


def test_what_was_replaced_is_kept_until_it_is_dropped(database: Database, owner: Connection[Any]) -> None:
    fill(database, owner, 20)
    with database.connect("test reader") as reader, reader.transaction():
        reader.execute("SELECT count(*) FROM entries_v1")
        assert rebuild(database, "entries").switched
        assert [unread.version for unread in unread_versions(owner, "entries")] == [1]
        code, words = replayed(database, "entries", "--drop-retired")
        assert (code, words) == (0, "Kept version 1 of entries (shape 2, retired): it is in use.")
        assert tables(owner, "entries") == ["entries_v1", "entries_v2"]
    code, words = replayed(database, "entries", "--drop-retired")
    assert (code, words) == (0, "Dropped version 1 of entries (shape 2, retired).")
    assert (versions(owner, "entries"), tables(owner, "entries")) == ([(2, "running")], ["entries_v2"])
    code, words = replayed(database, "entries", "--drop-retired")
    assert (code, words) == (0, "There is no version of entries but the live one.")


def test_a_projection_is_installed_where_it_was_not(migrated_database: Database) -> None:
    assert replayed(migrated_database, "entries")[0] == 0
    with migrated_database.connect("test service") as service:
        assert versions(service, "entries") == [(1, "retired"), (2, "running")]
        assert current_rebuilds(service) == []
