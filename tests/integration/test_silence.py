"""Sessions whose client falls silent are ended by the server or by those who wait. Other sessions are not."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from time import monotonic, sleep
from typing import Any

import psycopg
import pytest

from domain.journal import silence
from domain.journal.database import Database
from domain.journal.session import Session
from domain.journal.silence import HOLDERS_OF_PLACE, Watch, bound_session, bound_transactions, pipelined
from domain.journal.statements import Bound, Statement, Statements
from domain.journal.writer import JournalWriter
from projections.engine.leadership import Standby, pause, result_of, say_something, try_acquire
from tests.integration.stopped_programs import stopped
from tests.ledgers import folded, history, open_accounts, running, transfer
from tests.projecting import eventually

PATIENCE_SECONDS = 60.0
# The server's timer, and a moment for the waiting one to retry. Far less than a stopped process would take.
TAKEN_WITHIN_SECONDS = 20.0


@pytest.fixture
def connection(database: Database) -> Iterator[Session]:
    """A connection of the service."""
    connection = database.connect("tallystick test")
    try:
        yield connection
    finally:
        connection.close()


def lock_and_read(connection: psycopg.Connection[Any]) -> None:
    with pipelined(connection):
        connection.execute("BEGIN")
        locking = connection.execute("SELECT position FROM head FOR UPDATE", prepare=True)
        reading = connection.execute("SELECT generate_series(1, %s)", (50_000,), prepare=True, binary=True)
        assert locking.fetchone() == (0,)
        assert len(reading.fetchall()) == 50_000


def divide(connection: psycopg.Connection[Any]) -> None:
    with pipelined(connection):
        connection.execute("BEGIN")
        connection.execute("SELECT 1 / 0")
        connection.execute("SELECT 1")


def fail(connection: psycopg.Connection[Any]) -> None:
    with pytest.raises(psycopg.errors.DivisionByZero):
        divide(connection)


def commit(connection: psycopg.Connection[Any]) -> None:
    with pipelined(connection), connection.transaction():
        assert connection.execute("SELECT %s", (1,), prepare=True).fetchone() == (1,)


def send_several(connection: Session) -> None:
    reading = Bound(Statement("series", "SELECT generate_series(1, 50000)"), {}, has_rows=True)
    _, answer = Statements(connection).run_together(Bound(Statement("begin", "BEGIN"), {}), reading)
    assert answer.ntuples == 50_000


@pytest.mark.parametrize("statements", [lock_and_read, fail, commit, send_several])
def test_who_is_silent_after_a_pipeline_loses_the_session(
    statements: Callable[[Session], None],
    connection: Session,
    owner: psycopg.Connection[Any],
) -> None:
    bound_session(connection)
    # Long beside what the statements take on a slow machine.
    connection.execute("SET idle_in_transaction_session_timeout = '2s'; SET idle_session_timeout = '2s'")
    statements(connection)
    eventually(lambda: not is_there(owner, connection.info.backend_pid))
    with pytest.raises(silence.LOST):
        connection.execute("SELECT 1")


def is_there(owner: psycopg.Connection[Any], pid: int) -> bool:
    """Whether the server has such a session."""
    return owner.execute("SELECT 1 FROM pg_stat_activity WHERE pid = %s", (pid,)).fetchone() is not None


@pytest.mark.parametrize("size", [0, 1, 10_000_000])
def test_a_pipeline_sends_whatever_it_is_given(size: int, connection: psycopg.Connection[Any]) -> None:
    with pipelined(connection):
        connection.execute("BEGIN")
        measuring = connection.execute("SELECT length(%b::bytea)", (bytes(size),))
        connection.execute("COMMIT")
    assert measuring.fetchone() == (size,)
    assert connection.execute("SELECT 2").fetchone() == (2,)


def test_a_session_is_bounded_in_every_way(connection: psycopg.Connection[Any]) -> None:
    bound_transactions(connection)
    assert connection.execute("SHOW idle_in_transaction_session_timeout").fetchone() == ("8s",)
    assert connection.execute("SHOW idle_session_timeout").fetchone() == ("0",)
    bound_session(connection)
    assert connection.execute("SHOW idle_session_timeout").fetchone() == ("12s",)
    # The server shows no keepalives of a Unix socket, because it has none.
    rows = connection.execute(
        "SELECT name FROM pg_settings WHERE source = 'session' AND name LIKE 'tcp%' ORDER BY name"
    ).fetchall()
    assert [name for (name,) in rows] == [
        "tcp_keepalives_count",
        "tcp_keepalives_idle",
        "tcp_keepalives_interval",
        "tcp_user_timeout",
    ]


STOPPING = """
import os, signal, sys
import structlog
from domain.commit.pipeline import Pipeline
from domain.journal.database import Database
from domain.journal.writer import JournalWriter
from tests.ledgers import running, transfer

url, schema, where = sys.argv[1:]

def stopping(method):
    def stop_once(self, *arguments):
        setattr(JournalWriter, where, method)
        if where == "append_locked":
            os.kill(os.getpid(), signal.SIGSTOP)
            return method(self, *arguments)
        found = method(self, *arguments)
        os.kill(os.getpid(), signal.SIGSTOP)
        return found
    return stop_once

setattr(JournalWriter, where, stopping(getattr(JournalWriter, where)))
if where != "append":
    Pipeline.decide = lambda *_: None
structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
with running(Database(url, schema)) as ledger:
    assert where != "append" or ledger.perform(transfer("a", "b", 1, key="before")).recorded
    command = transfer("a", "b", 1, key="stopped")
    (result,) = ledger.execute(command).result()
    print("answered", getattr(result, "reason", None) or result.recorded, flush=True)
    again = ledger.perform(command)
    print("again", again.state.status, flush=True)
    assert ledger.perform(transfer("a", "b", 1, key="afterwards")).recorded
"""


@pytest.mark.long
@pytest.mark.parametrize("where", ["lock", "append_locked"])
def test_a_writer_that_is_stopped_with_the_lock_stops_nobody_else(where: str, database: Database) -> None:
    with running(database) as ledger:
        open_accounts(ledger, "a", "b")
        with stopped(STOPPING, database.url, database.schema, where) as process:
            began = monotonic()
            assert ledger.perform(transfer("a", "b", 1, key="waiting")).recorded
            assert monotonic() - began < TAKEN_WITHIN_SECONDS
            os.kill(process.pid, signal.SIGCONT)
            output, _ = process.communicate(timeout=PATIENCE_SECONDS)
            assert process.returncode == 0
        # It found nothing recorded and recorded it, or it was too late for the requester, who asked again.
        assert output.splitlines()[0] in ("answered True", "answered unreachable", "answered locked")
        assert output.splitlines()[1:] == ["again posted"]
        assert ledger.account("main", "b")[0].balance == 3
    keys = [event.envelope.idempotency_key for event in history(database)]
    assert keys.count("stopped") == keys.count("waiting") == keys.count("afterwards") == 3
    folded(history(database))


def test_a_writer_that_is_stopped_once_its_commit_was_acknowledged_has_not_lost_it(
    database: Database,
) -> None:
    with running(database) as ledger:
        open_accounts(ledger, "a", "b")
        with stopped(STOPPING, database.url, database.schema, "append") as process:
            assert ledger.perform(transfer("a", "b", 1)).recorded
            os.kill(process.pid, signal.SIGCONT)
            output, _ = process.communicate(timeout=PATIENCE_SECONDS)
        assert output.splitlines() == ["answered True", "again posted"]
        assert ledger.account("main", "b")[0].balance == 4
    folded(history(database))


@contextmanager
def hung(connection: psycopg.Connection[Any]) -> Iterator[None]:
    """A connection whose server waits inside a COPY, where no timer runs."""
    connection.execute("CREATE TEMP TABLE hung (a int)")
    with suppress(psycopg.OperationalError), connection.cursor().copy("COPY hung FROM STDIN") as copy:
        copy.write("1\n")
        yield


@pytest.mark.long
@pytest.mark.apart
def test_a_writer_that_hangs_where_no_timer_runs_is_ended_by_one_that_waits(
    database: Database, owner: psycopg.Connection[Any]
) -> None:
    with running(database) as ledger, database.connect_as_owner("tallystick writer") as connection:
        open_accounts(ledger, "a", "b")
        connection.execute("CREATE TEMP TABLE hung (a int)")
        connection.execute("BEGIN; SELECT * FROM head FOR UPDATE")
        with suppress(psycopg.OperationalError), connection.cursor().copy("COPY hung FROM STDIN") as copy:
            copy.write("1\n")
            sleep(5)
            recorded: list[Any] = []
            give_up_at = monotonic() + PATIENCE_SECONDS
            while not recorded and monotonic() < give_up_at:
                (result,) = ledger.execute(transfer("a", "b", 1, key="waiting")).result(PATIENCE_SECONDS)
                recorded = [result] if not isinstance(result, Exception) else []
            assert recorded


@pytest.mark.long
@pytest.mark.apart
def test_a_place_whose_holder_hangs_in_a_copy_is_taken_over(database: Database) -> None:
    stop = threading.Event()
    with (
        database.connect_as_owner("tallystick holder") as holder,
        database.connect("tallystick standby") as standby,
    ):
        assert try_acquire(holder, "projection", "entries")
        with hung(holder):
            began = monotonic()
            assert Standby().wait(standby, "projection", "entries", stop, 0.2)
            assert monotonic() - began < TAKEN_WITHIN_SECONDS
    assert not try_acquire(standby, "projection", "entries") if not standby.closed else True


def test_who_speaks_while_it_waits_keeps_its_place(
    database: Database, connection: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(silence, "SESSION_SILENCE_SECONDS", 4)
    monkeypatch.setattr("projections.engine.leadership.SAY_EVERY_SECONDS", 0.2)
    assert try_acquire(connection, "projection", "entries")
    pause(connection, threading.Event(), 5.0)
    answered: Future[int] = Future()
    with pytest.raises(TimeoutError):
        result_of(connection, answered, 5.0)
    answered.set_result(7)
    assert result_of(connection, answered, 1.0) == 7
    say_something(connection)
    with database.connect("tallystick test") as standby:
        assert not Standby().try_acquire(standby, "projection", "entries")
        # Who looks on watches nobody: the server alone ends what is silent now.
        eventually(lambda: not is_there(standby, connection.info.backend_pid))
    with pytest.raises(psycopg.OperationalError):
        say_something(connection)


def test_who_speaks_is_left_alone_by_those_who_wait(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(silence, "SILENCE_SECONDS", 4.0)
    monkeypatch.setattr(silence, "WATCH_SECONDS", 0.5)
    watch = Watch(HOLDERS_OF_PLACE, {"purpose": "projection", "name": "entries"})
    with database.connect("tallystick standby") as standby, database.connect("tallystick holder") as holder:
        role = standby.execute("SELECT current_user").fetchone()
        assert try_acquire(holder, "projection", "entries")
        for _ in range(25):
            say_something(holder)
            watch.look(standby)
            sleep(0.2)
        assert standby.execute("SELECT current_user").fetchone() == role

        def is_ended() -> bool:
            watch.look(standby)
            return not is_there(standby, holder.info.backend_pid)

        eventually(is_ended)
        with pytest.raises(psycopg.OperationalError):
            say_something(holder)


def test_a_writer_says_when_the_server_owes_it_an_answer(
    database: Database, owner: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("domain.journal.writer.OVERDUE_SECONDS", 0.1)
    writer = JournalWriter(database, "tallystick test")
    owner.execute("BEGIN; SELECT * FROM head FOR UPDATE")
    waiting = threading.Thread(target=lambda: writer.lock(()))
    waiting.start()
    eventually(lambda: writer.is_overdue)
    owner.execute("ROLLBACK")
    waiting.join()
    eventually(lambda: not writer.is_overdue)
    writer.disconnect()
