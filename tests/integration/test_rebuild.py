"""Rebuilding beside the live version: reads go on, what differs is refused, what was interrupted is resumed."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import typer
from psycopg import Connection, Cursor, errors
from typer.testing import CliRunner

import projections
from domain.errors import ProjectionNotFound
from domain.journal.database import Database
from domain.ledger import Ledger
from projections import rebuild as rebuilding
from projections.balances import list_accounts, read_account
from projections.entries import list_entries
from projections.live import read_live
from projections.positions import progress
from projections.rebuild import Comparison, RebuildRefused, discard, rebuild
from projections.register import PROJECTIONS
from scripts.replay import replay
from tests.ledgers import open_accounts, outcomes, running, transfer
from tests.projecting import append, await_head, await_progress, eventually, holder, projecting, set_state

pytestmark = pytest.mark.integration

ADDRESSES = [f"account:{number}" for number in range(10)]
REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rebuild in many steps, so that much can happen in between."""
    monkeypatch.setattr("projections.rebuild.BATCH_EVENTS", 50)


def post(ledger: Ledger, count: int) -> None:
    """Post transfers around a ring of accounts."""
    pairs = zip(ADDRESSES, [*ADDRESSES[1:], ADDRESSES[0]], strict=True)
    ring = [transfer(debited, credited, 7) for debited, credited in pairs]
    commands = [
        transfer(ring[n % 10].entries[0].account, ring[n % 10].entries[1].account, n + 1)
        for n in range(count)
    ]
    outcomes(ledger.execute(*commands).result())


def fill(database: Database, owner: Connection[Any], count: int = 200) -> int:
    """A journal and its projections at the head of it, which is returned."""
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
    """Every table and index of a projection: nothing else may be left of other versions."""
    rows = owner.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r'"
        " AND relname ~ ('^' || %s || '_v[0-9]+$') ORDER BY relname",
        (name,),
    ).fetchall()
    return [str(table) for (table,) in rows]


@contextmanager
def reading(database: Database, failures: list[Exception], counts: list[int]) -> Iterator[None]:
    """Someone who reads the live version all the while."""
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
def test_reads_and_the_projector_go_on_while_a_projection_is_rebuilt(
    database: Database, owner: Connection[Any]
) -> None:
    fill(database, owner)
    failures: list[Exception] = []
    positions: list[int] = []
    with running(database) as ledger, projecting(database), reading(database, failures, positions):
        eventually(lambda: holder(owner, "entries") is not None)
        for name in ("entries", "balances", "ledgers", "entries"):
            seen: list[int] = []

            def report(position: int, target: int, rate: float, seen: list[int] = seen) -> None:
                if position not in seen:
                    seen.append(position)
                    post(ledger, 5)

            outcome = rebuild(database, name, report=report)
            assert outcome.switched
            assert outcome.equal
            assert len(seen) > 5
            post(ledger, 5)
            await_head(owner)
        eventually(
            lambda: bool(failures) or bool(positions and positions[-1] == progress(owner, "balances").head)
        )
    assert failures == []
    assert positions == sorted(positions)
    assert versions(owner, "entries") == [(3, "running")]
    assert tables(owner, "entries") == ["entries_v3"]
    assert versions(owner, "balances") == [(2, "running")]
    assert tables(owner, "balances") == ["balances_v2"]
    # What was switched to last equals what is made anew from the whole journal.
    for name in PROJECTIONS:
        assert rebuild(database, name).equal


def test_a_rebuild_says_what_was_compared_and_is_recorded(database: Database, owner: Connection[Any]) -> None:
    head = fill(database, owner)
    outcome = rebuild(database, "entries")
    assert (outcome.version, outcome.replaced_version, outcome.position) == (2, 1, head)
    compared, turnovers = outcome.comparisons
    assert (compared.live_table, compared.rebuilt_table) == ("entries_v1", "entries_v2")
    assert compared.live_rows == compared.rebuilt_rows == 400
    assert compared.live_checksum == compared.rebuilt_checksum != "0"
    recorded = owner.execute(
        "SELECT version, replaced_version, position, comparison, reason FROM projection_switches"
    ).fetchall()
    assert (turnovers.live_table, turnovers.rebuilt_table) == ("turnovers_v1", "turnovers_v2")
    assert turnovers.equal
    assert recorded == [(2, 1, head, f"{compared}\n{turnovers}", None)]
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
    """Run `tallystick replay`; return its exit code and what it says."""
    app = typer.Typer()
    app.command()(replay)
    options = ["--database-url", database.url, "--schema", database.schema]
    result = CliRunner().invoke(app, [*arguments, *options])
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
    database: Database, owner: Connection[Any], tampering: str
) -> None:
    fill(database, owner, 20)
    assert owner.execute(tampering).rowcount >= 1
    code, words = replayed(database, "entries")
    assert code == 1
    assert "v1 and" in words and "v2 differ" in words
    assert "only in the" in words
    assert "Not switched" in words
    assert versions(owner, "entries") == [(1, "running"), (2, "rebuilding")]

    # Without a reason it is made anew, and refused again.
    code, words = replayed(database, "entries")
    assert (code, tables(owner, "entries")) == (1, ["entries_v1", "entries_v2"])

    code, words = replayed(database, "entries", "--accept-difference", "the disk was bad")
    assert code == 0
    assert "because: the disk was bad" in words
    assert (versions(owner, "entries"), tables(owner, "entries")) == ([(2, "running")], ["entries_v2"])
    assert owner.execute("SELECT reason FROM projection_switches").fetchall() == [("the disk was bad",)]
    code, words = replayed(database, "entries")
    assert (code, "are equal" in words) == (0, True)


def test_a_refused_rebuild_can_be_discarded(database: Database, owner: Connection[Any]) -> None:
    fill(database, owner, 20)
    owner.execute("UPDATE balances_v1 SET posted_debits = posted_debits + 1 WHERE address = 'account:1'")
    assert replayed(database, "balances")[0] == 1
    code, words = replayed(database, "balances", "--discard")
    assert (code, words) == (0, "Dropped 1 unfinished version(s) of balances.")
    assert (versions(owner, "balances"), tables(owner, "balances")) == ([(1, "running")], ["balances_v1"])
    assert discard(database, "balances") == 0


def test_what_the_command_is_given_is_checked(database: Database, tmp_path: Path) -> None:
    assert replayed(database, "nothing")[0] == 2
    assert replayed(database, "entries", "--accept-difference", " ")[0] == 2
    app = typer.Typer()
    app.command()(replay)
    result = CliRunner().invoke(app, ["entries", "--data-dir", str(tmp_path / "absent")])
    assert result.exit_code == 1
    assert not (tmp_path / "absent").exists()
    with pytest.raises(ProjectionNotFound):
        rebuild(database, "nothing")


def test_the_state_of_the_live_version_decides_that_of_the_new_one(
    database: Database, owner: Connection[Any]
) -> None:
    fill(database, owner, 20)
    for before, after in (("paused", "paused"), ("halted", "running"), ("running", "running")):
        set_state(owner, "entries", before)
        assert rebuild(database, "entries").switched
        assert progress(owner, "entries").state == after


def test_a_rebuild_mends_what_halted(database: Database, owner: Connection[Any]) -> None:
    with running(database) as ledger, projecting(database):
        open_accounts(ledger, *ADDRESSES)
        post(ledger, 20)
        await_head(owner)
        owner.execute("UPDATE balances_v1 SET version = 99, posted_debits = 1 WHERE address = 'account:1'")
        post(ledger, 20)
        await_progress(owner, "balances", lambda seen: seen.state == "halted")
        outcome = rebuild(database, "balances", accept_difference="it was damaged")
        assert not outcome.equal
        await_head(owner)
    assert rebuild(database, "balances").equal


def test_a_rebuild_goes_no_further_than_the_live_version(database: Database, owner: Connection[Any]) -> None:
    head = fill(database, owner, 20)
    set_state(owner, "entries", "paused")
    with running(database) as ledger:
        post(ledger, 20)
    outcome = rebuild(database, "entries")
    assert (outcome.equal, outcome.position) == (True, head)


def test_the_live_version_stands_still_while_it_is_compared_and_nothing_else_does(
    database: Database, owner: Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(database, owner, 20)
    compare = rebuilding._compare
    reached: list[int] = []

    def compare_while_money_moves(*given: Any) -> list[Comparison]:
        post(ledger, 20)
        live = "SELECT FROM projection_versions WHERE name = 'entries' AND version = 1 FOR UPDATE NOWAIT"
        with pytest.raises(errors.LockNotAvailable):
            owner.execute(live)
        reached.append(await_head(owner, "balances"))
        assert list_entries(owner, "main", ADDRESSES[0], limit=1).rows
        return compare(*given)

    monkeypatch.setattr(rebuilding, "_compare", compare_while_money_moves)
    with running(database) as ledger, projecting(database):
        eventually(lambda: holder(owner, "entries") is not None)
        outcome = rebuild(database, "entries")
        assert outcome.equal
        assert [outcome.position] < reached
        await_head(owner)
    monkeypatch.undo()
    assert rebuild(database, "entries").equal


def test_one_rebuild_at_a_time(database: Database, owner: Connection[Any]) -> None:
    fill(database, owner, 20)
    refused: list[str] = []

    def report(position: int, target: int, rate: float) -> None:
        if not refused:
            for another in (rebuild, discard):
                with pytest.raises(RebuildRefused) as caught:
                    another(database, "entries")
                refused.append(str(caught.value))
            assert rebuild(database, "ledgers").equal

    assert rebuild(database, "entries", report=report).equal
    assert len(refused) == 2


def test_a_journal_that_cannot_be_read_is_not_rebuilt_from(
    database: Database, owner: Connection[Any]
) -> None:
    fill(database, owner, 20)
    bad = append(owner, "main/transactions/x", 1, "transaction.posted", b'{"class_version":99,"data":{}}')
    owner.execute("UPDATE projection_versions SET position = %s WHERE name = 'entries'", (bad,))
    with pytest.raises(RebuildRefused, match=f"cannot be rebuilt beyond {bad - 1}: newer_version"):
        rebuild(database, "entries")


INTERRUPTED = """
import sys, time
from domain.journal.database import Database
from projections import rebuild
rebuild.BATCH_EVENTS = 50
def report(position, target, rate):
    print(position, flush=True)
    if position >= 150:
        time.sleep(600)
rebuild.rebuild(Database(sys.argv[1], sys.argv[2]), "entries", report=report)
"""


def kill_midway(database: Database) -> None:
    """Run a rebuild in a process of its own and kill it when it has come to position 150."""
    command = [sys.executable, "-c", INTERRUPTED, database.url, database.schema]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert [int(line) for line in iter(process.stdout.readline, "150\n")] == [0, 50, 100]
        finally:
            process.kill()


def await_free(owner: Connection[Any], database: Database) -> None:
    """Wait until the server has noticed that the killed process is gone."""
    query = (
        "SELECT count(*) FROM pg_locks, hashtextextended('rebuild ' || current_schema() || '/entries', 0) AS key"
        " WHERE locktype = 'advisory' AND objid::bigint = key & 4294967295"
    )
    eventually(lambda: owner.execute(query).fetchone() == (0,))


def test_what_kill_9_interrupted_is_resumed(database: Database, owner: Connection[Any]) -> None:
    fill(database, owner)
    kill_midway(database)
    await_free(owner, database)
    assert versions(owner, "entries") == [(1, "running"), (2, "rebuilding")]
    assert list_entries(owner, "main", ADDRESSES[0], limit=1).rows
    seen: list[int] = []
    outcome = rebuild(database, "entries", report=lambda position, target, rate: seen.append(position))
    assert seen[0] == 150
    assert (outcome.version, outcome.equal) == (2, True)
    assert (versions(owner, "entries"), tables(owner, "entries")) == ([(2, "running")], ["entries_v2"])


def test_what_kill_9_interrupted_can_be_begun_anew(database: Database, owner: Connection[Any]) -> None:
    fill(database, owner)
    kill_midway(database)
    await_free(owner, database)
    owner.execute(
        "DELETE FROM entries_v2 WHERE entry = 1"
    )  # as a fault of an older release might have left it
    seen: list[int] = []
    outcome = rebuild(
        database, "entries", restart=True, report=lambda position, target, rate: seen.append(position)
    )
    assert seen[0] == 0
    assert outcome.equal
    assert (len(versions(owner, "entries")), len(tables(owner, "entries"))) == (1, 1)


def test_a_reader_overtaken_by_a_switch_reads_the_new_version(
    database: Database, owner: Connection[Any]
) -> None:
    fill(database, owner, 20)
    seen: list[int] = []

    def read(cursor: Cursor[Any], version: int) -> int:
        if not seen:
            rebuild(database, "entries")
        seen.append(version)
        row = cursor.execute(f"SELECT count(*) FROM entries_v{version:d}").fetchone()
        return int(row[0]) if row else 0

    assert read_live(owner, PROJECTIONS["entries"], read).found == 40
    assert seen == [1, 2]


def test_a_table_that_is_still_read_is_dropped_the_next_time(
    database: Database, owner: Connection[Any]
) -> None:
    fill(database, owner, 20)
    with database.connect("test reader") as reader, reader.transaction():
        reader.execute("SELECT count(*) FROM entries_v1")
        assert rebuild(database, "entries").switched
        assert tables(owner, "entries") == ["entries_v1", "entries_v2"]
        assert versions(owner, "entries") == [(1, "retired"), (2, "running")]
    assert rebuild(database, "entries").switched
    assert tables(owner, "entries") == ["entries_v3"]
    assert versions(owner, "entries") == [(3, "running")]


def test_a_projection_is_installed_where_it_was_not(database: Database, owner: Connection[Any]) -> None:
    assert replayed(database, "entries")[0] == 0
    projections.install(database)
    assert versions(owner, "entries") == [(2, "running")]
