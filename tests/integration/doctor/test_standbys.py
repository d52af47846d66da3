"""What the doctor finds of standbys: whether what is acknowledged is on one of them."""

from pathlib import Path

import psycopg
import pytest

from domain.journal.database import Database
from scripts.doctor import standbys
from scripts.serving.embedded_postgres import EmbeddedPostgres
from tests.integration.doctor.examining import codes, found_by
from tests.projecting import eventually
from tests.standbys import base_backup

pytestmark = pytest.mark.integration


def change(server: EmbeddedPostgres, **settings: str) -> None:
    with psycopg.connect(server.superuser_url, autocommit=True) as connection:
        connection.execute("SET synchronous_commit = local")
        for name, setting in settings.items():
            connection.execute(f"ALTER SYSTEM SET {name} = '{setting}'".encode())
        connection.execute("SELECT pg_reload_conf()")


def test_a_standby_that_commits_do_not_wait_for_is_found(tmp_path: Path) -> None:
    server, standby = EmbeddedPostgres(tmp_path / "primary"), EmbeddedPostgres(tmp_path / "standby")
    database = Database(server.superuser_url)
    server.start()
    try:
        assert codes(database, standbys.acknowledged) == []
        base_backup(tmp_path / "primary", tmp_path / "standby")
        standby.start()
        eventually(lambda: codes(database, standbys.acknowledged) == ["standby_asynchronous"])
        assert found_by(database, standbys.acknowledged)[0].kind.severity == "warning"
        assert codes(Database(standby.superuser_url), standbys.acknowledged) == []

        change(server, synchronous_standby_names="*")
        eventually(lambda: codes(database, standbys.acknowledged) == [])
        change(server, synchronous_commit="local")
        eventually(lambda: codes(database, standbys.acknowledged) == ["commits_local"])
        change(server, synchronous_commit="remote_apply")
        eventually(lambda: codes(database, standbys.acknowledged) == [])
        standby.stop()
        eventually(lambda: codes(database, standbys.acknowledged) == ["standby_absent"])
    finally:
        standby.stop()
        server.stop()
