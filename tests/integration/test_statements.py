"""The writer's prepared statements: what they send and read, and what becomes of errors and of a lost connection."""

import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg.pq import TransactionStatus

from domain.journal import silence
from domain.journal.arrays import bigint_array, bytea_array, text_array
from domain.journal.database import Database
from domain.journal.statements import Bound, Statement, Statements, statements_of
from tests.projecting import cut, eventually

pytestmark = pytest.mark.integration

BEGIN = Bound(Statement("begin", "BEGIN"), {})
COMMIT = Bound(Statement("commit", "COMMIT"), {})
ECHO_NUMBER = "SELECT %(number)s::int"
FAIL = Bound(Statement("fail", "SELECT 1 / %(by)s::int"), {"by": 0})
ECHO = Statement(
    "echo",
    "SELECT %(text)s::text, %(number)b::bigint, %(float)s::float8, %(nothing)s::text, '100 %%', %(number)b::bigint",
)
VALUES: dict[str, Any] = {"text": "ä'\\", "number": -(2**62), "float": 0.1, "nothing": None}


@pytest.fixture
def statements(database: Database) -> Iterator[Statements]:
    with database.connect("tallystick test") as connection:
        yield Statements(connection)


def test_values_arrive_and_come_back(statements: Statements) -> None:
    for _ in range(2):  # when it is prepared, and afterwards
        found = statements.rows(statements.run(Bound(ECHO, VALUES, has_rows=True)))
        assert found == [("ä'\\", -(2**62), 0.1, None, "100 %", -(2**62))]
    arrays = Statement("arrays", "SELECT %(a)b::text[], %(b)b::bigint[], %(c)b::bytea[]")
    values = {"a": text_array(["ä", ""]), "b": bigint_array([1, -1]), "c": bytea_array([b"\0", b""])}
    assert statements.rows(statements.run(Bound(arrays, values, has_rows=True))) == [
        (["ä", ""], [1, -1], [b"\0", b""])
    ]


@pytest.mark.parametrize("size", [0, 1, 10_000_000])
def test_whatever_is_given_is_sent_and_whatever_comes_is_read(size: int, statements: Statements) -> None:
    returned = Statement("returned", "SELECT %(states)b::bytea[]")
    values = {"states": bytea_array([bytes(size)])}
    _, *answers, _ = statements.run_together(
        BEGIN, Bound(returned, values, has_rows=True), Bound(returned, values, has_rows=True), COMMIT
    )
    for answer in (*answers, statements.run(Bound(returned, values, has_rows=True))):
        assert statements.rows(answer) == [([bytes(size)],)]
    assert statements.rows(statements.run(Bound(ECHO, VALUES, has_rows=True)))


def test_an_error_is_that_of_the_statement_that_failed_and_the_connection_goes_on(
    statements: Statements,
) -> None:
    with pytest.raises(psycopg.errors.DivisionByZero):
        statements.run(FAIL)
    with pytest.raises(psycopg.errors.DivisionByZero):
        statements.run_together(BEGIN, FAIL, COMMIT)
    statements.run(Bound(Statement("rollback", "ROLLBACK"), {}))
    assert statements.rows(statements.run(Bound(ECHO, VALUES, has_rows=True)))


def test_what_cannot_be_encoded_leaves_the_connection_as_it_was(statements: Statements) -> None:
    for values in ({**VALUES, "text": "\ud800"}, {}):
        with pytest.raises((ValueError, LookupError)):
            statements.run_together(BEGIN, Bound(ECHO, values), COMMIT)
        assert statements.connection.info.transaction_status == TransactionStatus.IDLE
        assert statements.rows(statements.run(Bound(ECHO, VALUES, has_rows=True)))


@pytest.mark.parametrize("together", [False, True])
def test_a_connection_that_is_lost_is_said_to_be(
    statements: Statements, owner: psycopg.Connection[Any], together: bool
) -> None:
    sleep = Bound(Statement("sleep", "SELECT pg_sleep(60)"), {})
    lost: list[psycopg.Error] = []

    def ask() -> None:
        try:
            statements.run_together(BEGIN, sleep) if together else statements.run(sleep)
        except psycopg.Error as error:
            lost.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    eventually(lambda: cut(owner, "tallystick test") > 0)
    asking.join()
    assert isinstance(lost[0], silence.LOST)
    with pytest.raises(silence.LOST):
        statements.run_together(BEGIN, COMMIT)


def test_what_the_library_has_the_server_forget_is_prepared_again(database: Database) -> None:
    with database.connect("tallystick test") as connection:
        for _ in range(2):
            assert statements_of(connection).ask(ECHO_NUMBER, {"number": 7}) == [(7,)]
            connection.execute("SELECT", prepare=True)
            connection.execute("BEGIN")
            connection.execute("ROLLBACK")  # after which the library deallocates all statements


def test_rows_are_copied_and_a_copy_that_fails_leaves_nothing(database: Database) -> None:
    with database.connect_as_owner("tallystick test") as connection:
        connection.execute("CREATE TEMPORARY TABLE copied (a int)")
        statements = statements_of(connection)
        copy = "COPY copied FROM STDIN"
        statements.copy(copy, [b"1\n", b"2\n" * 1_000_000, b""])
        assert statements.ask("SELECT count(*) FROM copied", {}) == [(1_000_001,)]
        with pytest.raises(psycopg.DataError):
            statements.copy(copy, [b"3\nthree\n"])
        with pytest.raises(LookupError):
            statements.copy(copy, (b"%d\n" % {1: 4}[number] for number in (1, 2)))
        with pytest.raises(psycopg.errors.UndefinedTable):
            statements.copy("COPY missing FROM STDIN", [b"1\n"])
        with pytest.raises(psycopg.ProgrammingError, match="not a COPY"):
            statements.copy("SELECT", [b"1\n"])
        assert statements.ask("SELECT count(*) FROM copied", {}) == [(1_000_001,)]
        assert statements.change("DELETE FROM copied WHERE a = %(a)s", {"a": 1}) == 1
