"""Migrations: any number of processes may start at once, on any state of the database."""

import multiprocessing
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import errors
from psycopg.sql import SQL, Identifier

from domain.application import system_clock
from domain.journal import migrations
from domain.journal.database import SERVICE_ROLE, Database
from domain.journal.migrations import latest, migrate
from domain.journal.reader import read_past
from domain.model.accounts import Account
from domain.model.streams import account_stream
from tests.ledgers import history, open_accounts, outcomes, running, transfer

pytestmark = pytest.mark.integration

PROCESSES = 10


def applied(connection: psycopg.Connection[Any]) -> list[str]:
    rows = connection.execute("SELECT name FROM migrations ORDER BY name").fetchall()
    return [name for (name,) in rows]


def shape(connection: psycopg.Connection[Any], schema: str) -> list[Any]:
    """Everything a migration makes: relations with their rights, columns, triggers, functions."""
    queries = (
        "SELECT relname, relkind, relacl::text FROM pg_class WHERE relnamespace = %s::regnamespace ORDER BY 1",
        "SELECT table_name, column_name, data_type FROM information_schema.columns"
        " WHERE table_schema = %s ORDER BY 1, 2",
        "SELECT tgname, tgenabled FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid"
        " WHERE relnamespace = %s::regnamespace AND NOT tgisinternal ORDER BY 1",
        "SELECT proname FROM pg_proc WHERE pronamespace = %s::regnamespace ORDER BY 1",
    )
    return [connection.execute(query, (schema,)).fetchall() for query in queries]


def migrate_with_the_others(database: Database, barrier: Any, results: Any) -> None:
    """Runs in a separate process: wait until all are there, migrate, and report what was applied."""
    barrier.wait(60)
    results.put(migrate(database))


def test_ten_processes_migrate_an_empty_database_at_once(empty_database: Database) -> None:
    spawn = multiprocessing.get_context("spawn")
    barrier, results = spawn.Barrier(PROCESSES), spawn.Queue()
    processes = [
        spawn.Process(target=migrate_with_the_others, args=(empty_database, barrier, results), daemon=True)
        for _ in range(PROCESSES)
    ]
    for process in processes:
        process.start()
    told = [results.get(timeout=90) for _ in processes]
    for process in processes:
        process.join(30)
        assert process.exitcode == 0
    with empty_database.connect("tallystick test") as connection:
        every = applied(connection)
    assert sorted(told, reverse=True) == [every] + [[]] * (PROCESSES - 1)
    assert every[-1] == latest()


def test_migrating_again_changes_nothing(database: Database, owner: psycopg.Connection[Any]) -> None:
    with running(database) as ledger:
        open_accounts(ledger, "alice")
    before = shape(owner, database.schema), applied(owner), history(database)
    assert migrate(database) == []
    assert (shape(owner, database.schema), applied(owner), history(database)) == before


def test_an_older_database_is_brought_up_to_date(
    migrated_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = Database(migrated_database.url, f"test_{uuid4().hex[:12]}")
    known = migrations._known()
    try:
        monkeypatch.setattr(migrations, "_known", lambda: known[:1])
        assert migrate(older) == [known[0][0]]
        monkeypatch.undo()
        assert migrate(older) == [name for name, _ in known[1:]]
        with older.connect_as_owner("tallystick test") as connection:
            assert shape(connection, older.schema) == shape(connection, migrated_database.schema)
    finally:
        drop(older)


def test_migrations_of_a_newer_release_are_left_alone(
    database: Database, owner: psycopg.Connection[Any]
) -> None:
    owner.execute("INSERT INTO migrations (name) VALUES ('9999_of_a_newer_release')")
    assert migrate(database) == []
    assert applied(owner)[-1] == "9999_of_a_newer_release"


def test_a_migration_that_fails_leaves_nothing_behind(
    empty_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = migrations._known()
    broken = [*known, ("9999_broken", "CREATE TABLE half (); SELECT 1 / 0")]
    monkeypatch.setattr(migrations, "_known", lambda: broken)
    with pytest.raises(errors.DivisionByZero):
        migrate(empty_database)
    with empty_database.connect_as_owner("tallystick test") as connection:
        row = connection.execute("SELECT to_regnamespace(%s)", (empty_database.schema,)).fetchone()
        assert row == (None,)
    monkeypatch.undo()
    assert migrate(empty_database) == [name for name, _ in known]


def test_two_schemas_of_one_database_do_not_know_each_other(database: Database) -> None:
    other = Database(database.url, f"test_{uuid4().hex[:12]}")
    assert migrate(other)[-1] == latest()
    try:
        with running(database) as one, running(other) as two:
            open_accounts(one, "alice")
            assert two.head() == 0
            open_accounts(two, "bob")
            assert one.head() == two.head() == 3
        assert {event.stream for event in history(other)} == {"main/ledger", "main/accounts/bob"}
        assert database.journal_channel != other.journal_channel
    finally:
        drop(other)


def test_the_role_may_be_there_already(database: Database, owner: psycopg.Connection[Any]) -> None:
    """The role belongs to the whole cluster, so the second schema finds the role the first one made."""
    assert owner.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (SERVICE_ROLE,)).fetchone()
    second = Database(database.url, f"test_{uuid4().hex[:12]}")
    try:
        migrate(second)
        with second.connect("tallystick test") as connection:
            assert connection.execute("SELECT current_user").fetchone() == (SERVICE_ROLE,)
            assert connection.execute("SELECT position FROM head").fetchone() == (0,)
    finally:
        drop(second)


def test_where_new_functions_are_closed_to_everybody_the_service_may_call_its_own(
    database: Database, owner: psycopg.Connection[Any]
) -> None:
    closed = Database(database.url, f"test_{uuid4().hex[:12]}")
    owner.execute("ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC")
    try:
        migrate(closed)
    finally:
        owner.execute("ALTER DEFAULT PRIVILEGES GRANT EXECUTE ON FUNCTIONS TO PUBLIC")
    try:
        with running(closed) as ledger:
            open_accounts(ledger, "alice", "bob")
            outcomes(ledger.execute(transfer("alice", "bob", 1)).result())
        with closed.connect("tallystick test") as connection:
            stream = account_stream("main", "bob")
            past = read_past(connection, (), stream, system_clock())
            assert isinstance(past.state, Account) and past.state.posted_credits == 1
    finally:
        drop(closed)


@pytest.fixture
def plain_login(empty_database: Database) -> Any:
    """A database as a hosting company gives it: its login owns the schema and may not create roles."""
    name = f"test_{uuid4().hex[:12]}"
    with psycopg.connect(empty_database.url, autocommit=True) as connection:
        (database_name,) = connection.execute("SELECT current_database()").fetchall()[0]
        login, database = Identifier(name), Identifier(database_name)
        connection.execute(SQL("CREATE ROLE {} LOGIN").format(login))
        connection.execute(SQL("GRANT CREATE ON DATABASE {} TO {}").format(database, login))
        yield name
        connection.execute(SQL("DROP OWNED BY {} CASCADE").format(login))
        connection.execute(SQL("DROP ROLE {}").format(login))


def as_login(database: Database, login: str) -> Database:
    """The same database, connected as a superuser who becomes the login."""
    options = f"-c role={login}"
    return database._replace(url=psycopg.conninfo.make_conninfo(database.url, options=options))


def test_a_login_that_may_make_no_role_is_its_own_service(empty_database: Database, plain_login: str) -> None:
    database = as_login(empty_database, plain_login)
    assert migrate(database)[-1] == latest()
    with running(database) as ledger:
        open_accounts(ledger, "alice")
        assert ledger.head() == 3
    with database.connect("tallystick test") as connection, pytest.raises(errors.RestrictViolation):
        connection.execute("DELETE FROM events")


def test_a_database_out_of_reach_is_said_so(empty_database: Database) -> None:
    url = psycopg.conninfo.make_conninfo(empty_database.url, host="127.0.0.1", port=1)
    with pytest.raises(psycopg.OperationalError):
        migrate(empty_database._replace(url=url))


def drop(database: Database) -> None:
    with psycopg.connect(database.url, autocommit=True) as connection:
        connection.execute(SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(Identifier(database.schema)))
