"""Says what is wrong with a database, in one sentence with the statement that mends it; and whether it may pass."""

import re
from typing import NamedTuple

import psycopg
from psycopg import Connection, errors
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import TupleRow
from psycopg.sql import Identifier

from domain.journal.database import ENCODING, SERVICE_ROLE, Database, UnfitDatabase
from domain.journal.queries import load

OLDEST_SERVER = 160_000
"""PostgreSQL 16, in the form in which the server reports its version."""

# What libpq and the server say if a connection cannot be made. Such errors have no code. In another language nothing
# here matches, and the error is taken for one that may pass.
_PASSING = re.compile(
    r"starting up|shutting down|recovery mode|not yet accepting|too many clients|remaining connection slots"
    r"|too many connections|Connection refused|No such file or directory|timeout expired|timed out"
    r"|server closed the connection|Network is unreachable|No route to host"
    r"|Connection reset|terminating connection|could not connect|session is (?:not )?read-only"
    r"|server is (?:not )?in hot standby"
)
_NO_DATABASE = re.compile(r'FATAL:\s+database "(.*?)" does not exist')
_NO_ROLE = re.compile(r'FATAL:\s+role "(.*?)" (does not exist|is not permitted to log in)')
_NO_CONNECT = re.compile(r'permission denied for database "(.*?)"')
_NO_HOST = re.compile(r"translate host name|resolve host")
_REFUSED = re.compile(
    r"FATAL:|definition of service|translate host name|resolve host|password|invalid (?:port|sslmode|connection option)"
    r"|certificate|does not support SSL|(?:private )?key file"
)

_OF_PROJECTION = re.compile(r'_v\d+"')

_SQL = load("domain.journal.rights")


class Trouble(NamedTuple):
    """What is wrong, in one sentence, and whether it may pass by itself."""

    words: str
    may_pass: bool = False


class Rights(NamedTuple):
    """What a login may do in a database, and whether the installation's schema exists."""

    login: str
    database: str
    may_make_schema: bool
    has_schema: bool
    may_use: bool
    may_create: bool
    owner: str | None
    is_standby: bool


def rights_of(connection: Connection[TupleRow], schema: str) -> Rights:
    """Return what the role of a connection may do with a schema."""
    row = _SQL["rights"].only(connection, {"schema": schema})
    return Rights(*row)


def require_migratable(connection: Connection[TupleRow], schema: str) -> None:
    """Raise `UnfitDatabase` unless the server is new enough, no standby, and the role may do what migrations do."""
    if connection.info.server_version < OLDEST_SERVER:
        version = connection.info.server_version // 10_000
        raise UnfitDatabase(
            f"the server is PostgreSQL {version}: it must be {OLDEST_SERVER // 10_000} or newer"
        )
    rights = rights_of(connection, schema)
    if rights.is_standby:
        raise UnfitDatabase(
            "the server is a standby, which can only be read: name the primary,"
            " as by host=a,b and target_session_attrs=primary in the URL; `tallystick serve --read-only` reads it"
        )
    login, named = _quoted(rights.login), _quoted(schema)
    if not rights.has_schema and not rights.may_make_schema:
        database = _quoted(rights.database)
        raise UnfitDatabase(
            f"the login {login} may not make the schema {named}: GRANT CREATE ON DATABASE {database} TO {login},"
            f" or CREATE SCHEMA {named} AUTHORIZATION {login}"
        )
    if rights.has_schema and not (rights.may_use and rights.may_create):
        raise UnfitDatabase(
            f"the login {login} may not change the schema {named}, which is owned by {rights.owner}:"
            f" migrate as its owner, or GRANT USAGE, CREATE ON SCHEMA {named} TO {login}"
        )


def unmigratable(
    connection: Connection[TupleRow], schema: str, error: errors.InsufficientPrivilege
) -> UnfitDatabase:
    """Return the error for a role that lacked a right while migrating, because another role owns the tables."""
    rights = rights_of(connection, schema)
    return UnfitDatabase(
        f"the login {_quoted(rights.login)} may not migrate the schema {_quoted(schema)}"
        f" ({error.diag.message_primary}): migrate as the owner of its tables, or run as a superuser"
        f" GRANT {_quoted(rights.owner or '…')} TO {_quoted(rights.login)}"
    )


def trouble_of(error: Exception, database: Database) -> Trouble:
    """Return the trouble that an error shows: with connecting to the database, with its rights, or with its tables."""
    if isinstance(error, UnfitDatabase):
        return Trouble(str(error))
    if isinstance(error, errors.ReadOnlySqlTransaction):
        return Trouble(
            "the server takes no writes now: it is a standby, or is kept from writing; name the primary"
        )
    if isinstance(error, errors.InsufficientPrivilege):
        return Trouble(_lacking(error, database))
    if isinstance(error, errors.UndefinedTable | errors.UndefinedColumn) and _OF_PROJECTION.search(
        str(error)
    ):
        first = str(error).partition("\n")[0]
        return Trouble(f"a table of a projection is missing ({first}): see `tallystick doctor`")
    if isinstance(error, errors.UndefinedTable | errors.UndefinedColumn | errors.InvalidSchemaName):
        return Trouble(_invisible(_rights_in(database), database))
    if isinstance(error, psycopg.OperationalError) and error.sqlstate is None:
        return _unconnected(error, database)
    first = str(error).strip().partition("\n")[0]
    may_pass = isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    return Trouble(f"the database {'is out of reach' if may_pass else 'refuses'}: {first}", may_pass)


def _unconnected(error: psycopg.OperationalError, database: Database) -> Trouble:
    """Classify an error without a code by its words. Mostly it means that no connection can be made."""
    text = str(error).strip()
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    words = f"the database is out of reach: {lines[-1] if len(lines) == 1 else '; '.join(lines[:3])}"
    # A host name that is unknown now will be unknown in ten seconds too, whatever the resolver says.
    if not _NO_HOST.search(text) and (_PASSING.search(text) or not _REFUSED.search(text)):
        return Trouble(words, may_pass=True)
    login = _quoted(str(conninfo_to_dict(database.url).get("user") or "…"))
    if found := _NO_DATABASE.search(text):
        name = _quoted(found[1])
        return Trouble(
            f"the database {name} does not exist:"
            f" CREATE DATABASE {name} OWNER {login} ENCODING '{ENCODING}' TEMPLATE template0"
        )
    if found := _NO_ROLE.search(text):
        name = _quoted(found[1])
        does = "does not exist: CREATE" if found[2] == "does not exist" else "may not log in: ALTER"
        return Trouble(f"the login {name} {does} ROLE {name} LOGIN PASSWORD '…'")
    if found := _NO_CONNECT.search(text):
        return Trouble(
            f"the login {login} may not connect: GRANT CONNECT ON DATABASE {_quoted(found[1])} TO {login}"
        )
    return Trouble(words)


def _lacking(error: errors.InsufficientPrivilege, database: Database) -> str:
    rights = _rights_in(database)
    if rights is None or not rights.has_schema or not rights.may_use:
        return _invisible(rights, database)
    login = _quoted(rights.login)
    return (
        f"the login {login} lacks a right ({error.diag.message_primary}): run as the owner of the schema"
        f" {_quoted(database.schema)} GRANT {SERVICE_ROLE} TO {login} WITH SET TRUE"
    )


def _invisible(rights: Rights | None, database: Database) -> str:
    """Distinguish a schema that is missing or incomplete from one that the login may not see."""
    if rights is None or not rights.has_schema or rights.may_use:
        return f"the schema {_quoted(database.schema)} was not migrated: run `tallystick migrate` first"
    login = _quoted(rights.login)
    return (
        f"the login {login} may not use the schema {_quoted(database.schema)}, which is owned by {rights.owner}:"
        f" GRANT {SERVICE_ROLE} TO {login} WITH SET TRUE"
    )


def _rights_in(database: Database) -> Rights | None:
    """Return the rights that the service has, with the name of its login; None if the database is out of reach."""
    try:
        with database.connect("tallystick rights") as connection:
            rights = rights_of(connection, database.schema)
            return rights._replace(login=connection.info.user)
    except psycopg.Error:
        return None


def _quoted(name: str) -> str:
    return name if name == "…" else Identifier(name).as_string()
