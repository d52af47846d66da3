"""The roles of the embedded PostgreSQL. Its superuser creates them at each start and is used for nothing else.

The service logs in as `tallystick`, which owns only its schemas. An intruder in one of its sessions can therefore not
run programs, read files or undo the protection of another schema. In a data directory of an older release the superuser
owned everything; its objects are handed over to the login.
"""

import psycopg

from domain.journal.queries import load

SUPERUSER = "postgres"
LOGIN = "tallystick"
DATABASE = "postgres"
"""The database `initdb` makes. Installations of older releases are in it, and releases run side by side."""

_SQL = load(__name__)


def provide(superuser_url: str) -> None:
    """Make the login and hand it the installations, if the server can be written. Idempotent.

    Raises `psycopg.Error`.
    """
    with psycopg.connect(superuser_url, autocommit=True) as connection:
        # A transaction that began while the server was recovering is read-only, even if recovery ends within it.
        if _SQL["is_standby"].row(connection) == (True,):
            return
        with connection.transaction():
            connection.execute("SET LOCAL search_path = pg_catalog, pg_temp")
            _SQL["make_roles"].run(connection)
            _SQL["hand_over"].run(connection)
