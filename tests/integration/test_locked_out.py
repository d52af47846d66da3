"""Foreign locks: every request is answered in time with the reason, and the session that holds the lock is found."""

import threading
from collections.abc import Iterator
from time import monotonic, sleep
from typing import Any

import psycopg
import pytest
import typer
from structlog.testing import capture_logs

from domain.application import LedgerApplication, system_clock
from domain.commit import queue
from domain.journal import writer
from domain.journal.database import Database
from domain.journal.statements import Statements
from domain.model.errors import JournalUnavailable
from projections.diagnosis.stuck.search import find_stuck
from scripts.commands.stuck import stuck
from scripts.doctor import server
from scripts.doctor.examination import Check, Scope, examine
from tests.commands import invoke
from tests.ledgers import folded, history, open_accounts, running, transfer
from tests.projecting import eventually

# The bound in api/README.md, Problems, and a little time for the observer.
ANSWERED_WITHIN_SECONDS = 15.0
ALL = Scope(whole=True, sample_events=1, seed=1)


@pytest.fixture
def ledger(database: Database) -> Iterator[LedgerApplication]:
    with running(database) as ledger:
        open_accounts(ledger, "a", "b")
        yield ledger


@pytest.fixture
def stranger(database: Database) -> Iterator[psycopg.Connection[Any]]:
    """A session that does not belong to the service."""
    connection = database.connect_as_owner("nightly report")
    yield connection
    connection.close()


@pytest.mark.long
@pytest.mark.parametrize(
    "locking",
    ["SELECT * FROM head FOR UPDATE", "LOCK TABLE stored_events", "LOCK TABLE head", "LOCK TABLE snapshots"],
)
def test_all_who_wait_are_told_in_time_and_nothing_is_lost(
    locking: str, ledger: LedgerApplication, stranger: psycopg.Connection[Any], database: Database
) -> None:
    """Also requests that arrive while a batch is already waiting: their time counts from their arrival."""
    stranger.execute(f"BEGIN; {locking}")
    asked, waits = [], list[float]()
    for number in range(6):
        began = monotonic()

        def note(_: object, began: float = began) -> None:
            waits.append(monotonic() - began)

        answer = ledger.execute(transfer("a", "b", 1, key=f"key-{number}"))
        answer.add_done_callback(note)
        asked.append(answer)
        sleep(1.5)
    results = [result for answer in asked for result in answer.result(40)]
    assert max(waits) < ANSWERED_WITHIN_SECONDS
    unavailable = [result for result in results if isinstance(result, JournalUnavailable)]
    if locking != "LOCK TABLE snapshots":  # this table is read only for accounts that are not in memory
        assert len(unavailable) == len(results)
    assert {result.reason for result in unavailable} <= {"locked"}
    stranger.execute("ROLLBACK")
    for number in range(6):
        assert ledger.perform(transfer("a", "b", 1, key=f"key-{number}")).state.status == "posted"
    assert ledger.account("main", "b")[0].balance == 6
    folded(history(database))


def test_a_lock_is_one_line_at_its_beginning_and_one_at_its_end_however_many_wait(
    database: Database, stranger: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "LOCK_TIMEOUT_SECONDS", 0.3)
    asked = []
    with running(database) as ledger, capture_logs() as lines:
        open_accounts(ledger, "a", "b")
        patience_seconds = queue.PATIENCE_SECONDS
        monkeypatch.setattr(queue, "PATIENCE_SECONDS", 0.3)
        stranger.execute("BEGIN; SELECT * FROM head FOR UPDATE")
        for number in range(20):
            asked.append(ledger.execute(transfer("a", "b", 1, key=f"key-{number}")))
            sleep(0.1)
        results = [result for answer in asked for result in answer.result(40)]
        assert all(isinstance(result, JournalUnavailable) for result in results)
        stranger.execute("ROLLBACK")
        monkeypatch.setattr(queue, "PATIENCE_SECONDS", patience_seconds)
        assert ledger.perform(transfer("a", "b", 1)).recorded
    said = [line for line in lines if line["log_level"] == "warning"]
    assert [line["event"] for line in said] == ["journal out of reach", "journal within reach again"]
    assert "tallystick doctor" in said[0]["error"]


def test_who_holds_the_head_is_named_with_what_to_do(
    ledger: LedgerApplication, stranger: psycopg.Connection[Any], database: Database
) -> None:
    pid = stranger.info.backend_pid
    with database.connect("tallystick test") as reader:
        assert find_stuck(reader, system_clock()) == []
        stranger.execute("BEGIN; SELECT * FROM head FOR UPDATE")
        eventually(lambda: [of.kind for of in find_stuck(reader, system_clock())] == ["session_blocking"])
        (found,) = find_stuck(reader, system_clock())
        (finding,) = examine(database, Check("it", server.blockers), ALL, 60).findings
        for words in (found.why, finding.found):
            assert "nightly report" in words and "the journal's head" in words
            assert f"SELECT pg_terminate_backend({pid})" in words
            assert "idle in transaction" in words
        assert found.remedy == "end_session"
        # A reader without all ledgers sees that a session blocks, but not whose it is.
        (found,) = find_stuck(reader, system_clock(), granted=["main"])
        assert "nightly" not in found.why and str(pid) in found.why
        command = typer.Typer()
        command.command()(stuck)
        told = invoke(command, ["--database-url", database.url, "--schema", database.schema])
        assert told.exit_code == 1 and f"pg_terminate_backend({pid})" in told.output
        reader.execute("RESET ROLE")
        reader.execute(f"SELECT pg_terminate_backend({pid})")
        eventually(lambda: find_stuck(reader, system_clock()) == [])
    assert ledger.perform(transfer("a", "b", 1)).recorded


@pytest.mark.parametrize("table", ["stored_events", "head", "projection_versions"])
def test_who_has_locked_a_table_is_found_although_it_cannot_be_read(
    table: str, ledger: LedgerApplication, stranger: psycopg.Connection[Any], database: Database
) -> None:
    stranger.execute(f"BEGIN; LOCK TABLE {table}")
    sleep(5.5)
    with database.connect("tallystick test") as reader:
        reader.execute("SET lock_timeout = '7s'")
        began = monotonic()
        found = [of for of in find_stuck(reader, system_clock()) if of.kind == "session_blocking"]
        assert reader.execute("SHOW lock_timeout").fetchone() == ("7s",)
    assert monotonic() - began < ANSWERED_WITHIN_SECONDS
    assert len(found) == 1 and f"the table {table}" in found[0].why
    assert [of.code for of in examine(database, Check("it", server.blockers), ALL, 60).findings] == [
        "session_blocking"
    ]


def test_a_read_that_is_locked_out_is_refused_in_time(
    ledger: LedgerApplication, stranger: psycopg.Connection[Any]
) -> None:
    stranger.execute("BEGIN; LOCK TABLE stored_events")
    began = monotonic()
    with pytest.raises(JournalUnavailable) as refused:
        ledger.account("main", "a")
    assert refused.value.reason == "locked" and monotonic() - began < ANSWERED_WITHIN_SECONDS


def test_whoever_waits_behind_a_server_that_does_not_answer_is_told_in_time(
    ledger: LedgerApplication, monkeypatch: pytest.MonkeyPatch, database: Database
) -> None:
    """The writer's thread hangs in a statement, so another thread must answer."""
    go_on = threading.Event()

    def hang(call: Any) -> Any:
        def hanging(*arguments: Any) -> Any:
            go_on.wait(60)
            return call(*arguments)

        return hanging

    monkeypatch.setattr(Statements, "run", hang(Statements.run))
    with monkeypatch.context() as hasty:
        hasty.setattr("domain.journal.writer.OVERDUE_SECONDS", 0.1)
        hasty.setattr(queue, "PATIENCE_SECONDS", 0.5)
        asked = [ledger.execute(transfer("a", "b", 1, key=f"key-{number}")) for number in range(3)]
        results = [result for answer in asked for result in answer.result(30)]
    assert [getattr(result, "reason", None) for result in results] == ["unreachable"] * 3
    go_on.set()
    assert ledger.perform(transfer("a", "b", 1, key="key-0")).state.status == "posted"
    folded(history(database))
