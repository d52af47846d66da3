"""With a synchronous standby, nothing is answered that the standby does not have, whatever ends a commit's wait for it.

No standby follows here, so a commit waits until the server's settings want none any more: that stands for the standby's
acknowledgement. PostgreSQL lets a wait be cancelled, and then says that the commit succeeded.
"""

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import psycopg
import pytest

from domain.application import LedgerApplication
from domain.journal import session
from domain.journal.database import Database
from domain.journal.migrations import migrate
from domain.journal.session import NotReplicated, ServerHangs, Session
from domain.journal.silence import pipelined
from domain.journal.statements import Bound, Statement, Statements
from domain.model.accounts import Account
from domain.model.errors import JournalUnavailable
from domain.model.streams import account_stream
from domain.placement.installations import Installation
from domain.placement.mover import Mover, Progress
from domain.placement.moves import standing
from projections.audit import one_instant, violations
from projections.engine.batches import Claim, advance, read_batch, take_over
from projections.read_models.seals import PROJECTION as SEALS
from projections.registry import install
from projections.running.standing import prepare_session
from projections.transparency.checkpoints import read_newest, take_keys
from projections.transparency.signer import seal
from scripts.serving.embedded_postgres import EmbeddedPostgres
from tests.ledgers import CONTEXT, folded, history, open_accounts, outcomes, running, transfer
from tests.projecting import eventually
from tests.service import serving
from tests.standbys import base_backup, home

pytestmark = pytest.mark.integration

WRITE = "CREATE TABLE written_{} ()"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(tmp_path_factory.mktemp("server"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def operator(server: EmbeddedPostgres) -> Iterator[psycopg.Connection[Any]]:
    """A superuser whose own commits wait for nobody."""
    with psycopg.connect(server.superuser_url, autocommit=True) as connection:
        connection.execute("SET synchronous_commit = local")
        yield connection
        want_standby(connection, "")


@pytest.fixture
def database(server: EmbeddedPostgres, operator: psycopg.Connection[Any]) -> Iterator[Database]:
    operator.execute("CREATE DATABASE books OWNER tallystick")
    database = Database(server.url.replace("/postgres?", "/books?"))
    migrate(database)
    yield database
    want_standby(operator, "")
    eventually(
        lambda: not operator.execute("SELECT FROM pg_stat_activity WHERE datname = 'books'").fetchall()
    )
    operator.execute("DROP DATABASE books")


@pytest.fixture
def ledger(database: Database, operator: psycopg.Connection[Any]) -> Iterator[LedgerApplication]:
    with running(database) as ledger:
        open_accounts(ledger, "a", "b")
        yield ledger
        want_standby(operator, "")  # or what still waits is waited for


def want_standby(operator: psycopg.Connection[Any], name: str) -> None:
    """Have all commits wait for a standby of this name, and return once they do."""
    operator.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{name}'".encode())
    operator.execute("SELECT pg_reload_conf()")
    wanted = "SELECT current_setting('synchronous_standby_names')"
    eventually(lambda: operator.execute(wanted).fetchone() == (name,))
    if name:  # a process of the server's has to hear of it, too
        eventually(lambda: a_commit_waits(operator))


def a_commit_waits(operator: psycopg.Connection[Any]) -> bool:
    with (
        psycopg.connect(operator.info.dsn, application_name="trying", autocommit=True) as connection,
        ThreadPoolExecutor(1) as thread,
    ):
        trying = thread.submit(connection.execute, "SELECT pg_logical_emit_message(true, 'trying', '')")
        eventually(lambda: trying.done() or bool(waiting(operator, "trying")))
        found = waiting(operator, "trying")
        for pid in found:
            operator.execute("SELECT pg_cancel_backend(%s)", (pid,))
        return bool(found)


def waiting(operator: psycopg.Connection[Any], application_name: str) -> list[int]:
    """The sessions whose commit waits for a standby."""
    query = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND application_name = %s"
    return [pid for (pid,) in operator.execute(query, (application_name,))]


def held_up(operator: psycopg.Connection[Any], application_name: str) -> list[int]:
    """The sessions that wait for a standby, or for the lock of one that does."""
    query = (
        "SELECT pid FROM pg_stat_activity WHERE wait_event_type IN ('IPC', 'Lock') AND application_name = %s"
    )
    return [pid for (pid,) in operator.execute(query, (application_name,))]


def cut_short(
    operator: psycopg.Connection[Any], application_name: str, by: str = "pg_cancel_backend"
) -> None:
    """End the wait of a commit, as an administrator can."""
    eventually(lambda: bool(waiting(operator, application_name)))
    found = waiting(operator, application_name)
    for pid in found:
        operator.execute(f"SELECT {by}(%s)", (pid,))
    eventually(lambda: not {*found} & {*waiting(operator, application_name)})


def execute(connection: Session, table: str) -> None:
    connection.execute(WRITE.format(table).encode())


def in_a_transaction(connection: Session, table: str) -> None:
    with connection.transaction():
        execute(connection, table)


def in_a_pipeline(connection: Session, table: str) -> None:
    with pipelined(connection):
        execute(connection, table)


def by_libpq(connection: Session, table: str) -> None:
    Statements(connection).run(Bound(Statement("write", WRITE.format(table)), {}))


def by_libpq_together(connection: Session, table: str) -> None:
    begin, commit = (Bound(Statement(word, word), {}) for word in ("BEGIN", "COMMIT"))
    Statements(connection).run_together(begin, Bound(Statement("write", WRITE.format(table)), {}), commit)


def before_an_error(connection: Session, table: str) -> None:
    connection.execute(f"BEGIN; {WRITE.format(table)}; COMMIT; SELECT 1/0".encode())


@pytest.mark.parametrize(
    "write", [execute, in_a_transaction, in_a_pipeline, before_an_error, by_libpq, by_libpq_together]
)
def test_a_commit_whose_wait_is_cancelled_is_no_success(
    write: Callable[[Session, str], None], database: Database, operator: psycopg.Connection[Any]
) -> None:
    """Even if the role is not to be told of warnings."""
    operator.execute("ALTER ROLE tallystick SET client_min_messages = 'error'")
    try:
        with database.connect_as_owner("writing") as connection, ThreadPoolExecutor(1) as thread:
            want_standby(operator, "nobody")
            writing = thread.submit(write, connection, write.__name__)
            cut_short(operator, "writing")
            with pytest.raises(NotReplicated, match="canceling wait for synchronous replication"):
                writing.result()
            assert connection.closed
    finally:
        operator.execute("ALTER ROLE tallystick RESET client_min_messages")
    want_standby(operator, "")
    with database.connect_as_owner("reading") as reader:
        table = f"tallystick.written_{write.__name__}"
        assert reader.execute("SELECT to_regclass(%s) IS NOT NULL", (table,)).fetchone() == (True,)


@pytest.mark.parametrize("by", ["pg_cancel_backend", "pg_terminate_backend"])
def test_a_command_is_answered_once_the_standby_has_it(
    by: str, ledger: LedgerApplication, database: Database, operator: psycopg.Connection[Any]
) -> None:
    """However often the wait is cut short: what is found in the journal is not answered before it is replicated."""
    want_standby(operator, "nobody")
    moved = ledger.execute(transfer("a", "b", 7))
    for _ in range(3):
        cut_short(operator, "tallystick writer", by)
    eventually(lambda: bool(waiting(operator, "tallystick writer")))
    with database.connect("reading") as reader:  # it is committed, and everybody sees it
        assert reader.execute("SELECT position FROM head").fetchone() == (len(history(database)),)
    assert not moved.done()
    want_standby(operator, "")
    (outcome,) = outcomes(moved.result())
    assert outcome.recorded and not outcome.replayed
    balance = folded(history(database))[account_stream("main", "b")]
    assert isinstance(balance, Account) and balance.posted_credits == 7


def test_a_repetition_is_answered_once_the_standby_has_what_it_repeats(
    ledger: LedgerApplication, database: Database, operator: psycopg.Connection[Any]
) -> None:
    """Another process sees a row that no standby has. It says so to nobody."""
    command = transfer("a", "b", 7, key="k")
    with running(database) as other, ExitStack() as at_end:
        at_end.callback(want_standby, operator, "")  # or the other never ends
        # Or its first session would wait for the standby, too.
        outcomes(other.execute(transfer("a", "b", 1)).result())
        want_standby(operator, "nobody")
        first = ledger.execute(command)
        cut_short(operator, "tallystick writer")
        eventually(lambda: bool(waiting(operator, "tallystick writer")))
        repeated = other.execute(command)
        refused = other.execute(transfer("a", "nobody", 1))
        eventually(lambda: len(held_up(operator, "tallystick writer")) == 2)
        assert not first.done() and not repeated.done() and not refused.done()
        want_standby(operator, "")
        answered = [*outcomes(first.result()), *outcomes(repeated.result())]
        assert [outcome.replayed for outcome in answered] == [False, True]
        (refusal,) = refused.result()
        assert isinstance(refusal, Exception)


def test_a_read_sees_nothing_that_no_standby_has(
    ledger: LedgerApplication,
    database: Database,
    operator: psycopg.Connection[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(session, "CONFIRM_SECONDS", 0.2)
    want_standby(operator, "nobody")
    moved = ledger.execute(transfer("a", "b", 7))
    cut_short(operator, "tallystick writer")
    for read in (
        lambda: ledger.account("main", "b"),
        lambda: ledger.account_at("main", "b", 3),
        lambda: ledger.payout_as_accepted("main", "x"),
        ledger.head,
    ):
        with pytest.raises(JournalUnavailable):
            read()
    want_standby(operator, "")
    moved.result()
    account, head = ledger.account("main", "b")
    assert account.posted_credits == 7 and head == len(history(database))


def test_a_read_writes_nothing_where_no_standby_is_wanted(
    ledger: LedgerApplication, operator: psycopg.Connection[Any]
) -> None:
    newest = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text"
    ledger.account("main", "b")
    before = operator.execute(newest).fetchone()
    for _ in range(5):
        ledger.account("main", "b")
    assert operator.execute(newest).fetchone() == before


def test_what_is_changed_beside_the_journal_is_answered_once_the_standby_has_it(
    database: Database, operator: psycopg.Connection[Any], tmp_path: Path
) -> None:
    """Also what had been changed before, and so needs no commit."""
    with (
        serving(tmp_path, "--database-url", database.url, "--no-projector") as service,
        service.client(60) as client,
        ThreadPoolExecutor(1) as thread,
    ):
        hook = {"url": "https://example.com/hook", "ledgers": ["*"], "types": ["*"]}
        made = client.post("/v1/webhooks", json=hook)
        assert made.status_code == 201, made.text
        path = f"/v1/webhooks/{made.json()['id']}"
        want_standby(operator, "nobody")
        deleting = thread.submit(client.delete, path)
        cut_short(operator, "tallystick reader")
        assert deleting.result().status_code == 503
        assert client.delete(path).status_code == 503
        want_standby(operator, "")
        assert client.delete(path).status_code in (204, 404)


def test_nothing_is_signed_that_no_standby_has(
    database: Database,
    operator: psycopg.Connection[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nobody can take back a checkpoint that was told."""
    monkeypatch.setattr(session, "CONFIRM_SECONDS", 0.2)
    install(database)
    with running(database) as ledger, database.connect("tree") as connection:
        open_accounts(ledger, "a", "b")
        keys = take_keys(connection, [])
        claim = Claim(SEALS, 1, uuid4(), "running")
        take_over(connection, claim)
        prepare_session(connection)
        want_standby(operator, "nobody")
        try:
            moved = ledger.execute(transfer("a", "b", 7))
            cut_short(operator, "tallystick writer")
            size = len(history(database))
            assert advance(connection, claim, read_batch(connection, SEALS, 0, size), 0.0, None)
            with database.connect("sealer") as sealer, pytest.raises(NotReplicated):
                seal(sealer, keys)
            assert read_newest(connection) is None
        finally:
            want_standby(operator, "")  # or the ledger never ends
        moved.result()
        with database.connect("sealer") as sealer:
            seal(sealer, keys)
        assert (found := read_newest(connection)) is not None and found.size == size


def test_a_ledger_arrives_once_a_standby_knows_that_it_left(
    ledger: LedgerApplication,
    database: Database,
    operator: psycopg.Connection[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Otherwise that standby would be written as well."""
    monkeypatch.setattr(session, "CONFIRM_SECONDS", 0.2)
    west = database._replace(schema="west")
    migrate(west)
    places = Installation("east", database), Installation("west", west)

    def want_one(progress: Progress) -> None:
        if progress.step == "leave":
            want_standby(operator, "nobody")

    with (
        database.connect("east") as of_east,
        west.connect("west") as of_west,
        ThreadPoolExecutor(1) as thread,
    ):
        try:
            moving = thread.submit(Mover("main", *places, CONTEXT, want_one).run)
            cut_short(operator, "tallystick place")
            with pytest.raises(NotReplicated):
                moving.result()
            found = standing(of_east, "main")
            assert found is not None and found.state == "left"
            with pytest.raises(NotReplicated):
                Mover("main", *places, CONTEXT).run()
            found = standing(of_west, "main")
            assert found is not None and found.state == "arriving"
        finally:
            want_standby(operator, "")
        Mover("main", *places, CONTEXT).run()
        found = standing(of_west, "main")
        assert found is not None and found.state == "here"


@pytest.mark.parametrize("ask", [execute, by_libpq])
def test_a_session_gives_up_on_a_server_that_hangs(
    ask: Callable[[Session, str], None],
    server: EmbeddedPostgres,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(session, "ANSWER_SECONDS", 0.2)
    monkeypatch.setattr(session, "HUNG_SECONDS", 0.2)
    monkeypatch.setattr("domain.journal.statements.HUNG_SECONDS", 0.2)
    assert server.pid is not None
    with database.connect_as_owner("asking") as connection:
        stopped = [server.pid, connection.info.backend_pid]
        connection.execute("SELECT pg_sleep(1)")  # a server that is only slow is waited for
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        try:
            with pytest.raises(ServerHangs):
                ask(connection, f"{ask.__name__}_when_it_hangs")
        finally:
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)


def test_a_writer_forgets_what_a_server_has_shown_that_is_gone(tmp_path: Path) -> None:
    """The server that follows has other events at the same positions. Balances are those of its events."""
    primary, standby = EmbeddedPostgres(tmp_path / "a"), EmbeddedPostgres(tmp_path / "b")
    hosts = ",".join(quote(str(home(tmp_path / name)), safe="") for name in "ab")
    both = Database(f"postgresql://tallystick@/postgres?host={hosts}&target_session_attrs=primary")
    primary.start()
    try:
        migrate(both)
        with running(both) as ledger:
            open_accounts(ledger, "a", "b", "c", "d")
            outcomes(ledger.execute(transfer("a", "b", 1)).result())
            base_backup(tmp_path / "a", tmp_path / "b")
            outcomes(ledger.execute(transfer("a", "b", 10)).result())  # the standby never gets it
            assert primary.pid is not None
            os.kill(primary.pid, signal.SIGKILL)
            standby.start()
            with psycopg.connect(standby.superuser_url, autocommit=True) as operator:
                operator.execute("SELECT pg_promote()")
            with running(both) as other:
                outcomes(other.execute(transfer("a", "b", 100)).result())
            outcomes(ledger.execute(transfer("c", "d", 1)).result())  # finds out, without naming a or b
            outcomes(ledger.execute(transfer("a", "b", 1_000)).result())
            account, _ = ledger.account("main", "b")
        assert account.posted_credits == 1_101
        with both.connect("audit") as connection, one_instant(connection):
            assert list(violations(connection)) == []
    finally:
        standby.stop()
        primary.stop()
