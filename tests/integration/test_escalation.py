"""The service's role gains no rights by detours: guards refer to the objects they mean, whatever it creates or sets."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import errors
from psycopg.sql import SQL, Identifier

from domain.journal.database import SERVICE_ROLE, Database
from domain.journal.migrations import migrate
from tests.ledgers import open_accounts, running

pytestmark = pytest.mark.integration

SIGN = "INSERT INTO checkpoints (size, root, note) VALUES (%s, %s, '')"
ROOT, OTHER_ROOT = bytes(32), bytes([1]) * 32


@pytest.fixture
def service(database: Database) -> Iterator[psycopg.Connection[Any]]:
    """A session an intruder controls: the service's role, with every setting."""
    with running(database) as ledger:
        open_accounts(ledger, "alice")
    with database.connect("tallystick test") as connection:
        connection.execute(SIGN, (5, ROOT))
        yield connection


def let_make_temporary_tables(owner: psycopg.Connection[Any]) -> None:
    """As in another operator's database, where the revocation was not possible."""
    name = Identifier(owner.info.dbname)
    owner.execute(SQL("GRANT TEMPORARY ON DATABASE {} TO PUBLIC").format(name))


@pytest.mark.parametrize("search_path", [None, "pg_temp, {schema}", "{schema}"])
def test_a_temporary_table_is_not_taken_for_what_was_signed(
    database: Database,
    owner: psycopg.Connection[Any],
    service: psycopg.Connection[Any],
    search_path: str | None,
) -> None:
    let_make_temporary_tables(owner)
    service.execute(
        SQL("CREATE TEMPORARY TABLE checkpoints (LIKE {}.checkpoints)").format(Identifier(database.schema))
    )
    if search_path:
        service.execute(f"SET search_path = {search_path.format(schema=database.schema)}".encode())
    contradicting = SIGN.replace("checkpoints", f"{database.schema}.checkpoints")
    with pytest.raises(errors.RestrictViolation, match="contradicts"):
        service.execute(contradicting, (5, OTHER_ROOT))
    with pytest.raises(errors.RestrictViolation, match="contradicts"):
        service.execute(contradicting, (4, ROOT))


def test_a_function_of_a_closer_type_is_not_called_for_whoever_reads_the_journal(
    owner: psycopg.Connection[Any], service: psycopg.Connection[Any]
) -> None:
    """The service may create functions in its schema, and the owner reads the view `journal` with all of the owner's
    rights.
    """
    service.execute(
        "CREATE FUNCTION convert_from(bytea, text) RETURNS text LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE 'called with the rights of %', current_user; END $$"
    )
    assert owner.execute("SELECT count(payload) FROM journal").fetchone() == (3,)


def test_an_operator_of_its_own_is_not_asked_whether_the_head_moves_back(
    database: Database, service: psycopg.Connection[Any]
) -> None:
    for left, right in (("bigint", "bigint"), ("text", "text")):
        service.execute(
            f"CREATE FUNCTION always({left}, {right}) RETURNS boolean LANGUAGE sql AS 'SELECT true';"
            f" CREATE OPERATOR >= (LEFTARG = {left}, RIGHTARG = {right}, FUNCTION = always)"
        )
    service.execute(f"SET search_path = {database.schema}, pg_catalog".encode())
    with pytest.raises(errors.RestrictViolation, match="never moves back"):
        service.execute("UPDATE head SET position = 0")


def test_the_service_may_make_no_temporary_table(service: psycopg.Connection[Any]) -> None:
    with pytest.raises(errors.InsufficientPrivilege, match="temporary"):
        service.execute("CREATE TEMPORARY TABLE checkpoints ()")


def test_migrating_takes_the_right_away_where_the_login_owns_the_database(
    database: Database, owner: psycopg.Connection[Any]
) -> None:
    let_make_temporary_tables(owner)
    query = "SELECT has_database_privilege(%s, current_database(), 'TEMPORARY')"
    assert owner.execute(query, (SERVICE_ROLE,)).fetchone() == (True,)
    assert migrate(database) == []
    assert owner.execute(query, (SERVICE_ROLE,)).fetchone() == (False,)


def test_every_function_says_where_it_looks(database: Database, owner: psycopg.Connection[Any]) -> None:
    """It finds tables first in no temporary schema, and any other name first in pg_catalog.

    A function with a parsed body has looked its names up when it was made, and looks nowhere when it is called.
    """
    rows = owner.execute(
        "SELECT proname, setting FROM pg_proc LEFT JOIN LATERAL unnest(proconfig) AS setting"
        " ON starts_with(setting, 'search_path=')"
        " WHERE pronamespace = %s::regnamespace AND prosqlbody IS NULL",
        (database.schema,),
    ).fetchall()
    assert len(rows) >= 8
    for name, setting in rows:
        path = (setting or "").removeprefix("search_path=").split(", ")
        assert path[0] == "pg_catalog" and path[-1] == "pg_temp", (name, setting)


def test_no_view_works_with_the_rights_of_another_than_its_reader_expects(
    database: Database, owner: psycopg.Connection[Any]
) -> None:
    """No function has its owner's rights: none is SECURITY DEFINER, which would lend them to a caller."""
    query = "SELECT proname FROM pg_proc WHERE pronamespace = %s::regnamespace AND prosecdef"
    assert owner.execute(query, (database.schema,)).fetchall() == []


@pytest.mark.parametrize(
    "statement",
    [
        "SET session_replication_role = replica",
        "ALTER TABLE checkpoints DISABLE TRIGGER ALL",
        "ALTER TABLE head DISABLE TRIGGER head_never_moves_back",
        "ALTER FUNCTION refuse_to_contradict() RESET ALL",
        "ALTER FUNCTION refuse_to_contradict() SET search_path = pg_temp",
        "ALTER SEQUENCE checkpoints_number_seq RESTART WITH 1",
        "SELECT setval('checkpoints_number_seq', 1)",
        "INSERT INTO checkpoints (number, size, root, note) OVERRIDING SYSTEM VALUE VALUES (-1, 1, '', '')",
        "TRUNCATE checkpoints",
        "TRUNCATE api_keys",
        "DELETE FROM api_keys",
        "CREATE SCHEMA mine",
        "CREATE TABLE public.checkpoints ()",
        "CREATE ROLE mine",
        "COPY stored_events TO PROGRAM 'true'",
        "COPY stored_events FROM '/etc/passwd'",
        "SELECT pg_read_file('/etc/passwd')",
        "CREATE EXTENSION dblink",
        "ALTER SYSTEM SET fsync = off",
        "SECURITY LABEL ON TABLE stored_events IS ''",
    ],
)
def test_the_service_is_refused(service: psycopg.Connection[Any], statement: str) -> None:
    with pytest.raises(psycopg.Error) as raised:
        service.execute(statement.encode())
    expected = errors.InsufficientPrivilege | errors.CheckViolation | errors.RestrictViolation
    assert isinstance(raised.value, expected | errors.InvalidParameterValue), raised.value
