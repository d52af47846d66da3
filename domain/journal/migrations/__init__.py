"""Migrations: the only place where the journal's schema is made or changed.

Numbered SQL files are applied in order, each once, in one transaction under a lock. So any number of processes may
start at once on an empty database.
"""

from importlib.resources import files

from psycopg import Connection, errors
from psycopg.rows import TupleRow
from psycopg.sql import SQL, Identifier

from domain.journal.database import SERVICE_ROLE, Database
from domain.journal.queries import load
from domain.journal.trouble import require_migratable, unmigratable

# Any number will do that no other program uses for an advisory lock in this database.
_LOCK = 7_425_109_116_001

_SQL = load("domain.journal.rights")


def migrate(database: Database) -> list[str]:
    """Bring the schema up to date and return the names of the migrations applied now.

    Migrations of a newer release are left alone, so that a release can be rolled back. If nothing is to be done, the
    login needs no right to change anything. Raises `psycopg.OperationalError` if the database is out of reach, and its
    subclass `UnfitDatabase` if the login may not do what must be done.
    """
    with database.connect_as_owner("tallystick migrate") as connection:
        applied = _migrate(connection, database.schema) if _is_behind(database, connection) else []
        _keep_temporary_tables_out(connection)
        return applied


def _migrate(connection: Connection[TupleRow], schema: str) -> list[str]:
    require_migratable(connection, schema)
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        try:
            return _apply_pending(connection, schema)
        except errors.InsufficientPrivilege as error:
            raise unmigratable(connection, schema, error) from error


def _apply_pending(connection: Connection[TupleRow], schema: str) -> list[str]:
    with connection.transaction():
        service = _ensure_service_role(connection)
        _ensure_schema(connection, schema, service)
        pending = _pending(connection)
        for name, text in pending:
            _apply(connection, name, text, schema, service)
        _pin_search_paths(connection, schema)
        return [name for name, _ in pending]


def _is_behind(database: Database, connection: Connection[TupleRow]) -> bool:
    """Tell whether migrations are pending, or neither the login nor the service can see whether they are."""
    invisible = (errors.UndefinedTable, errors.InvalidSchemaName, errors.InsufficientPrivilege)
    try:
        return bool(_pending(connection))
    except invisible:
        pass
    try:  # the login may have rights only as the service
        with database.connect("tallystick migrate") as service:
            return bool(_pending(service))
    except invisible:
        return True


def _keep_temporary_tables_out(connection: Connection[TupleRow]) -> None:
    """Revoke everybody's right to make temporary tables in this database, if the login owns it.

    Guards look names up only in their own schema. That nobody can make a temporary table of such a name is a second
    protection. A copied or restored database has lost the first revocation, so this is checked each time.
    """
    if not _is_true(connection, "temporary_tables_are_open"):
        return
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        if _is_true(connection, "temporary_tables_are_open"):
            name = Identifier(connection.info.dbname)
            connection.execute(SQL("REVOKE TEMPORARY ON DATABASE {} FROM PUBLIC").format(name))


def _is_true(connection: Connection[TupleRow], query: str) -> bool:
    return _SQL[query].row(connection) == (True,)


def _pin_search_paths(connection: Connection[TupleRow], schema: str) -> None:
    """Give each function a fixed search path, whoever calls it (0013_search_paths.sql)."""
    pin = SQL("ALTER ROUTINE {} SET search_path = pg_catalog, {}, pg_temp")
    for (routine,) in _SQL["unpinned_routines"].rows(connection):
        connection.execute(pin.format(SQL(routine), Identifier(schema)))


def is_up_to_date(connection: Connection[TupleRow]) -> bool:
    """Tell whether no migration of this release is pending. Needs the rights of the service."""
    return not _pending(connection)


def names() -> list[str]:
    """Return the names of the migrations that this release knows, in order."""
    return [name for name, _ in _known()]


def latest() -> str:
    """Return the name of the last migration that this release knows."""
    return names()[-1]


def _known() -> list[tuple[str, str]]:
    folder = files(__package__)
    names = sorted(item.name for item in folder.iterdir() if item.name.endswith(".sql"))
    return [(name.removesuffix(".sql"), folder.joinpath(name).read_text(encoding="utf-8")) for name in names]


def _pending(connection: Connection[TupleRow]) -> list[tuple[str, str]]:
    applied = {name for (name,) in connection.execute("SELECT name FROM migrations").fetchall()}
    return [(name, text) for name, text in _known() if name not in applied]


def _apply(connection: Connection[TupleRow], name: str, text: str, schema: str, service: str) -> None:
    quoted = {":service": Identifier(service).as_string(), ":schema": Identifier(schema).as_string()}
    for placeholder, identifier in quoted.items():
        text = text.replace(placeholder, identifier)
    connection.execute(text.encode())
    connection.execute("INSERT INTO migrations (name) VALUES (%s)", (name,))


def _ensure_schema(connection: Connection[TupleRow], schema: str, service: str) -> None:
    connection.execute(SQL("CREATE SCHEMA IF NOT EXISTS {}").format(Identifier(schema)))
    connection.execute(
        "CREATE TABLE IF NOT EXISTS migrations"
        " (name text PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())"
    )
    grant = "GRANT USAGE ON SCHEMA {} TO {}; GRANT SELECT ON migrations TO {}"
    connection.execute(SQL(grant).format(Identifier(schema), Identifier(service), Identifier(service)))


def _ensure_service_role(connection: Connection[TupleRow]) -> str:
    """Return the role that gets the service's rights: the service's own, or the login if it may not make that.

    Roles belong to the whole cluster, so another database may be making the same role now; that is no error. A role
    that an administrator has made and granted to the login is used as it is.
    """
    role = Identifier(SERVICE_ROLE)
    if _SQL["is_member"].row(connection, {"role": SERVICE_ROLE}):
        return SERVICE_ROLE
    try:
        with connection.transaction():
            connection.execute(SQL("CREATE ROLE {} NOLOGIN; GRANT {} TO CURRENT_USER").format(role, role))
    except (errors.DuplicateObject, errors.UniqueViolation):
        pass
    except errors.InsufficientPrivilege:
        row = connection.execute("SELECT current_user").fetchone()
        assert row is not None
        return str(row[0])
    return SERVICE_ROLE
