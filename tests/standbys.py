"""A standby of an embedded PostgreSQL."""

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import psycopg

from domain.journal.database import Database

if TYPE_CHECKING:
    from scripts.serving.embedded_postgres import EmbeddedPostgres

TOPOLOGY = "TALLYSTICK_TEST_TOPOLOGY"
"""The variable that says what the tests of the contract speak to: with `replica`, to a replica that passes on to the
primary what it may not answer. With `placement`, the service is one, and the tests' ledgers are spread over two
installations. With `placement,replica` both. Without it, to the primary of one installation."""

STANDBY_URL = "TALLYSTICK_TEST_STANDBY_URL"
"""The variable that names the standby of the run's server, if the topology has one."""


def is_of_replica() -> bool:
    """Whether the tests of the contract speak to a replica."""
    return "replica" in _topology()


def is_of_placement() -> bool:
    """Whether the tests of the contract speak to a placement."""
    return "placement" in _topology()


def _topology() -> list[str]:
    return os.environ.get(TOPOLOGY, "").split(",")


def copy_of(database: Database) -> Database:
    """The same database on the standby of the run's server."""
    name = urlsplit(database.url).path
    return database._replace(url=urlsplit(os.environ[STANDBY_URL])._replace(path=name).geturl())


def commit_at_standbys(primary: "EmbeddedPostgres") -> None:
    """Have every commit applied by a standby before it is acknowledged, so that a copy shows what was acknowledged."""
    with psycopg.connect(primary.superuser_url, autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
        connection.execute("ALTER SYSTEM SET synchronous_commit = 'remote_apply'")
        connection.execute("SELECT pg_reload_conf()")


def home(data_dir: Path) -> Path:
    """The folder of a server's socket and files."""
    return data_dir / "postgres"


def base_backup(primary: Path, standby: Path) -> None:
    """Copy a running server as its standby, with the rights of the user it runs as."""
    from scripts.serving.embedded_postgres import binaries

    owner = home(primary).stat()
    standby.mkdir()
    home(standby).mkdir(mode=0o700)
    os.chown(home(standby), owner.st_uid, owner.st_gid)
    subprocess.run(
        [
            str(binaries() / "pg_basebackup"),
            *(
                "--host",
                str(home(primary)),
                "--username",
                "postgres",
                "--pgdata",
                str(home(standby) / "data"),
            ),
            *("--write-recovery-conf", "--checkpoint", "fast"),
        ],
        user=owner.st_uid,
        group=owner.st_gid,
        cwd="/",
        check=True,
        capture_output=True,
    )
