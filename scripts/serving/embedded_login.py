"""The roles of the embedded PostgreSQL: its superuser makes them at each start, and is used for nothing else.

The service logs in as `tallystick`, which owns its schemas and nothing besides, so that what breaks into a session of
the service cannot run programs, read files or undo the protection of another. A data directory of an older release, in
which the superuser owned everything, is brought over.
"""

import psycopg

from domain.journal.queries import load

SUPERUSER = "postgres"
LOGIN = "tallystick"
DATABASE = "postgres"
"""The one that `initdb` makes: in older releases installations are there, and releases run side by side."""

_SQL = load(__name__)


def provide(superuser_url: str) -> None:
    """See that the login is there and owns the installations, on a server that can be written; again changes nothing.

    Raises `psycopg.Error`.
    """
    with psycopg.connect(superuser_url) as connection:
        if connection.execute(_SQL["is_standby"]).fetchone() == (True,):
            return
        connection.execute("SET search_path = pg_catalog, pg_temp")
        connection.execute(_SQL["make_roles"])
        connection.execute(_SQL["hand_over"])
