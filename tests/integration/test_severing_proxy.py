"""The severing proxy, which the tests of lost acknowledgements rely on, does what it says."""

from collections.abc import Iterator

import psycopg
import pytest

from domain.journal.database import Database
from tests.integration.severing_proxy import SeveringProxy

pytestmark = pytest.mark.integration


@pytest.fixture
def proxy(database: Database) -> Iterator[SeveringProxy]:
    with SeveringProxy(database.url) as proxy:
        yield proxy


def connect(database: Database, proxy: SeveringProxy) -> psycopg.Connection[tuple[object, ...]]:
    return database._replace(url=proxy.database_url).connect("tallystick test")


def test_it_forwards(database: Database, proxy: SeveringProxy) -> None:
    with connect(database, proxy) as connection:
        large = connection.execute("SELECT repeat('x', 1000000), %s::bytea", (b"y" * 1_000_000,)).fetchone()
        assert large == ("x" * 1_000_000, b"y" * 1_000_000)
        with connection.transaction():
            connection.execute("INSERT INTO tracking VALUES ('a', 1)")
    assert not proxy.severed.is_set()


def tracked(database: Database) -> list[str]:
    with database.connect("tallystick test") as connection:
        rows = connection.execute("SELECT application_name FROM tracking").fetchall()
    return sorted(name for (name,) in rows if name != "__migration__")


def test_it_loses_the_answer_to_one_commit_which_has_taken_place(
    database: Database, proxy: SeveringProxy
) -> None:
    with connect(database, proxy) as one, connect(database, proxy) as other:
        with one.transaction():
            one.execute("INSERT INTO tracking VALUES ('a', 1)")
        proxy.sever_next_commit()
        with pytest.raises(psycopg.OperationalError), one.transaction():
            one.execute("INSERT INTO tracking VALUES ('b', 1)")
        assert proxy.severed.is_set() and one.closed
        with other.transaction():
            other.execute("INSERT INTO tracking VALUES ('c', 1)")
    assert tracked(database) == ["a", "b", "c"]


def test_it_lets_everything_but_a_commit_pass(database: Database, proxy: SeveringProxy) -> None:
    with connect(database, proxy) as connection:
        proxy.sever_next_commit()
        connection.execute("INSERT INTO tracking VALUES ('a', 1)")
        assert connection.execute("SELECT 'COMMIT'").fetchone() == ("COMMIT",)
        with pytest.raises(psycopg.errors.UniqueViolation), connection.transaction():
            connection.execute("INSERT INTO tracking VALUES ('a', 1)")
        with connection.transaction(force_rollback=True):
            connection.execute("INSERT INTO tracking VALUES ('b', 1)")
        assert not proxy.severed.is_set()
    assert tracked(database) == ["a"]


def commit_in_a_pipeline(connection: psycopg.Connection[tuple[object, ...]]) -> None:
    with connection.pipeline():
        connection.execute("BEGIN")
        connection.execute("INSERT INTO tracking VALUES (%s, 1)", ("a",))
        connection.execute("COMMIT")


def test_a_commit_in_a_pipeline_is_severed_too(database: Database, proxy: SeveringProxy) -> None:
    with connect(database, proxy) as connection:
        proxy.sever_next_commit()
        with pytest.raises(psycopg.OperationalError):
            commit_in_a_pipeline(connection)
        assert proxy.severed.is_set()
    assert tracked(database) == ["a"]


def notify(connection: psycopg.Connection[tuple[object, ...]], name: str, more: str = "") -> None:
    connection.execute(
        "WITH tracked AS (INSERT INTO tracking VALUES (%s, 1) RETURNING application_name)"
        f" SELECT pg_notify('heard', application_name){more} FROM tracked",
        (name,),
    )


def test_a_statement_that_notifies_is_severed_once_it_is_committed(
    database: Database, proxy: SeveringProxy
) -> None:
    with connect(database, proxy) as one, connect(database, proxy) as other:
        notify(one, "a")
        with one.transaction():
            notify(one, "b")
        proxy.sever_next_commit()
        with pytest.raises(psycopg.errors.DivisionByZero):
            notify(one, "c", ", 1 / (SELECT count(*) - count(*) FROM tracking)")
        with pytest.raises(psycopg.errors.UniqueViolation):
            notify(one, "a")
        with one.transaction(force_rollback=True):
            notify(one, "d")
        assert not proxy.severed.is_set()
        with pytest.raises(psycopg.OperationalError):
            notify(one, "e")
        assert proxy.severed.is_set() and one.closed
        notify(other, "f")
    assert tracked(database) == ["a", "b", "e", "f"]


def test_it_cuts_and_restores(database: Database, proxy: SeveringProxy) -> None:
    connection = connect(database, proxy)
    proxy.cut()
    with pytest.raises(psycopg.OperationalError):
        connection.execute("SELECT 1")
    with pytest.raises(psycopg.OperationalError):
        connect(database, proxy)
    proxy.restore()
    with connect(database, proxy) as again:
        assert again.execute("SELECT 1").fetchone() == (1,)
