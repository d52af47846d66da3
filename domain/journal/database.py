"""The address of the database, and how the service connects to it.

On every connection the service exchanges its login's own rights for those of the role `tallystick_service`, which can
add to the journal but not change it (0001_journal.sql). Only migrations keep the login's rights.

Every connection sets the session parameters listed in `SESSION` itself, whatever the role, the database, the URL or the
environment sets.
"""

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import psycopg
from psycopg import Connection
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import tuple_row
from psycopg.sql import SQL, Identifier, Literal

import domain.journal.arrays  # noqa: F401  a connection uses only the dumpers registered before it is made
from domain.journal.session import Session

SERVICE_ROLE = "tallystick_service"
CONNECT_TIMEOUT_SECONDS = 5
ENCODING = "UTF8"

SESSION: Mapping[str, str] = {
    # How values are read and written.
    "client_encoding": ENCODING,
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "xmlbinary": "base64",
    # What statements mean.
    "standard_conforming_strings": "on",
    "backslash_quote": "safe_encoding",
    "array_nulls": "on",
    "transform_null_equals": "off",
    "quote_all_identifiers": "off",
    "row_security": "on",
    # Defaults of transactions. A transaction that needs something else sets it.
    "default_transaction_isolation": "read committed",
    "default_transaction_read_only": "off",
    "default_transaction_deferrable": "off",
    # When the server ends a statement or a session. Code that wants a bound sets one.
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
    "exit_on_error": "off",
    # A commit whose wait for a standby was cancelled succeeds with a warning (session.py).
    "client_min_messages": "notice",
    # How plans are made. Statements are short, and compiling them costs more than it saves.
    "plan_cache_mode": "auto",
    "jit": "off",
    "geqo": "on",
    **dict.fromkeys(
        (
            *("enable_seqscan", "enable_indexscan", "enable_indexonlyscan", "enable_bitmapscan"),
            *("enable_tidscan", "enable_nestloop", "enable_hashjoin", "enable_mergejoin", "enable_hashagg"),
            *("enable_sort", "enable_incremental_sort", "enable_material", "enable_memoize"),
        ),
        "on",
    ),
}
"""The parameters of every session of the service. The search path is set as well: always the installation's schema."""

_SAID_LATER: Mapping[str, str] = {
    # Not known to every server, or not every login may set them: so they are set only where their value differs.
    "transaction_timeout": "0",
    "restrict_nonsystem_relation_kind": "",
    "session_replication_role": "origin",
}

_TAKE_ROLE = SQL(
    "SELECT pg_has_role(session_user, oid, 'SET'),"
    " CASE WHEN pg_has_role(session_user, oid, 'SET') THEN pg_catalog.set_config('role', rolname, false) END"
    # A login whose sessions begin in another role is a member all the same. A superuser is a member of every role, so
    # for a superuser only the current role counts.
    " FROM pg_catalog.pg_roles WHERE rolname = {} AND (pg_has_role(oid, 'MEMBER')"
    " OR pg_has_role(session_user, oid, 'MEMBER')"
    " AND NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = session_user))"
)


class UnfitDatabase(psycopg.OperationalError):
    """The database or the login cannot serve as it is. The message says why, and which statement mends it."""


class Database(NamedTuple):
    """A PostgreSQL database, by its URL, and the schema in it that holds one installation."""

    url: str
    schema: str = "tallystick"

    @property
    def session(self) -> Mapping[str, str]:
        """The parameters of every session."""
        return SESSION

    @property
    def journal_channel(self) -> str:
        """The notification channel on which writers announce the head of the journal."""
        return f"{self.schema}_journal"

    @property
    def search_path(self) -> str:
        """Where names are looked up. Temporary tables come last, because any login may make one of any name."""
        return f"{self.schema}, pg_temp"

    def conninfo(self, application_name: str) -> str:
        """Return the connection string of the service, with the settings of `session` and the schema's search path."""
        given = conninfo_to_dict(self.url)
        pinned = {"search_path": self.search_path, **self.session}
        before = given.get("options") or os.environ.get("PGOPTIONS") or ""
        options = [str(before), *(f"-c {name}={_escaped(setting)}" for name, setting in pinned.items())]
        return make_conninfo(
            self.url,
            options=" ".join(options).strip(),
            application_name=application_name,
            client_encoding=ENCODING,
            connect_timeout=given.get("connect_timeout") or CONNECT_TIMEOUT_SECONDS,
            keepalives_idle=given.get("keepalives_idle") or 10,
            # A server that vanished, or accepts no more data, is found lost within about ten seconds (silence.py).
            keepalives_interval=given.get("keepalives_interval") or 2,
            keepalives_count=given.get("keepalives_count") or 3,
            tcp_user_timeout=given.get("tcp_user_timeout") or 10_000,
        )

    def connect(self, application_name: str, *, autocommit: bool = True) -> Session:
        """Return a connection with the rights of the service; raises `psycopg.OperationalError`.

        It raises the subclass `UnfitDatabase` if waiting will not help.
        """
        connection = self.connect_as_owner(application_name)
        try:
            take_service_role(connection)
            connection.autocommit = autocommit
        except BaseException:
            connection.close()
            raise
        return connection

    def connect_as_owner(self, application_name: str) -> Session:
        """Return a connection with the rights of the login, for migrations. Raises what `connect` raises."""
        connection = Session.connect(self.conninfo(application_name), autocommit=True)
        try:
            _require_encoding(connection)
            _pin(connection, self)
        except BaseException:
            connection.close()
            raise
        return connection


class ReadOnlyDatabase(Database):
    """A database that is only read: no session of it can write, whatever its login may do and its server is."""

    @property
    def session(self) -> Mapping[str, str]:
        """The parameters of every session."""
        return {**SESSION, "default_transaction_read_only": "on"}


def take_service_role(connection: Connection[Any]) -> None:
    """Exchange the login's rights for those of the service, if the login may.

    A login that could not make the role when it migrated keeps its own rights; the triggers protect the journal from
    it. Raises `UnfitDatabase` for a member of the role who may not become it.
    """
    with connection.cursor(row_factory=tuple_row) as cursor:
        row = cursor.execute(_TAKE_ROLE.format(Literal(SERVICE_ROLE))).fetchone()
    if row is not None and not row[0]:
        login = Identifier(connection.info.user).as_string()
        raise UnfitDatabase(
            f"the login {login} has the role {SERVICE_ROLE} and may not take it on:"
            f" GRANT {SERVICE_ROLE} TO {login} WITH SET TRUE"
        )


def _require_encoding(connection: Connection[Any]) -> None:
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != ENCODING:
        name = Identifier(connection.info.dbname).as_string()
        raise UnfitDatabase(
            f"the database {name} has the encoding {encoding}, and a journal needs {ENCODING}:"
            f" CREATE DATABASE … ENCODING '{ENCODING}' TEMPLATE template0, and use that one"
        )


def _pin(connection: Connection[Any], database: Database) -> None:
    """Set the parameters that startup options did not: values from PGTZ and PGDATESTYLE, and options a pooler dropped.

    With synchronous_commit `off`, acknowledged writes could be lost, so it is set to `on`. Its other values are the
    operator's choice.
    """
    names, settings = zip(*{**database.session, **_SAID_LATER}.items(), strict=True)
    pin = SQL(
        "SET search_path = {}; "
        "SELECT pg_catalog.set_config(name, setting, false)"
        " FROM unnest({}::text[], {}::text[]) AS pinned(name, setting)"
        " WHERE pg_catalog.current_setting(name, true) <> setting;"
        "SELECT pg_catalog.set_config('synchronous_commit', 'on', false)"
        " WHERE pg_catalog.current_setting('synchronous_commit') = 'off'"
    )
    path = SQL(", ").join(Identifier(part) for part in database.search_path.split(", "))
    connection.execute(pin.format(path, Literal(list(names)), Literal(list(settings))))


def _escaped(setting: str) -> str:
    return setting.replace("\\", "\\\\").replace(" ", "\\ ")
