"""Where the database is, and how the service connects to it.

Every connection of the service gives up its login's own rights for those of the role `tallystick_service`, which can
add to the journal but not change it (0001_journal.sql). Migrations alone keep the login's rights.
"""

from typing import Any, NamedTuple

import psycopg
from psycopg import Connection
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.sql import SQL, Identifier

import domain.journal.arrays  # noqa: F401  a connection sends those only that are known before it is made

SERVICE_ROLE = "tallystick_service"
CONNECT_TIMEOUT_SECONDS = 5


class Database(NamedTuple):
    """A PostgreSQL database by its URL, and the schema in it that holds one installation."""

    url: str
    schema: str = "tallystick"

    @property
    def journal_channel(self) -> str:
        """The notification channel on which each commit of the journal announces its head."""
        return f"{self.schema}_journal"

    def conninfo(self, application_name: str) -> str:
        """Return the connection string of the service: its schema first in the search path, times in UTC."""
        given = conninfo_to_dict(self.url)
        options = f"{given.get('options') or ''} -c search_path={self.schema} -c TimeZone=UTC"
        return make_conninfo(
            self.url,
            options=options.strip(),
            application_name=application_name,
            connect_timeout=given.get("connect_timeout") or CONNECT_TIMEOUT_SECONDS,
            keepalives_idle=given.get("keepalives_idle") or 10,
            # A server that vanished, or takes no word any more, is lost within some ten seconds (silence.py).
            keepalives_interval=given.get("keepalives_interval") or 2,
            keepalives_count=given.get("keepalives_count") or 3,
            tcp_user_timeout=given.get("tcp_user_timeout") or 10_000,
        )

    def connect(self, application_name: str, *, autocommit: bool = True) -> Connection[tuple[Any, ...]]:
        """Return a connection with the rights of the service; raises `psycopg.OperationalError`."""
        connection = psycopg.connect(self.conninfo(application_name), autocommit=True)
        try:
            take_service_role(connection)
            connection.autocommit = autocommit
        except BaseException:
            connection.close()
            raise
        return connection

    def connect_as_owner(self, application_name: str) -> Connection[tuple[Any, ...]]:
        """Return a connection with the rights of the login, for migrations."""
        return psycopg.connect(self.conninfo(application_name), autocommit=True)


def take_service_role(connection: Connection[Any]) -> None:
    """Give up the login's rights for those of the service, where the login may.

    A login that could not make the role when migrating is its own service; the triggers protect the journal from it.
    """
    member = SQL("SELECT pg_has_role(oid, 'MEMBER') FROM pg_roles WHERE rolname = {}").format(SERVICE_ROLE)
    row = connection.execute(member).fetchone()
    if row is not None and next(iter(row.values() if isinstance(row, dict) else row)):
        connection.execute(SQL("SET ROLE {}").format(Identifier(SERVICE_ROLE)))
