"""What the doctor finds of the write-ahead log: whether it leaves the machine, and whether it arrives."""

import os
import subprocess
from pathlib import Path
from unittest.mock import patch

import psycopg
import pytest

from domain.journal.database import Database
from scripts.doctor import backups
from scripts.serving.embedded_postgres import SETTINGS, EmbeddedPostgres, attached, binaries
from tests.integration.doctor.examining import codes, found_by
from tests.projecting import eventually
from tests.standbys import base_backup

pytestmark = pytest.mark.integration

OF_SOMEBODY = {"tallystick.embedded": "off", "archive_mode": "on"}
"""Settings of a server that is not the embedded one, and whose archiver has no command yet."""


def execute(server: EmbeddedPostgres, *statements: str) -> None:
    with psycopg.connect(server.superuser_url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def archive_by(server: EmbeddedPostgres, command: str) -> None:
    """Set the archiver's command, and end a segment of the log, so that there is something to archive."""
    execute(
        server,
        f"ALTER SYSTEM SET archive_command = '{command}'",
        "SELECT pg_reload_conf()",
        "SELECT pg_logical_emit_message(false, 'test', 'something to archive')",
        "SELECT pg_switch_wal()",
    )


def test_a_log_that_stays_on_the_machine_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server, standby = EmbeddedPostgres(tmp_path / "primary"), EmbeddedPostgres(tmp_path / "standby")
    database = Database(server.superuser_url)
    with patch.dict(SETTINGS, OF_SOMEBODY):
        server.start()
    try:
        (finding,) = found_by(database, backups.archive)
        assert (finding.code, finding.kind.severity) == ("archive_absent", "warning")
        assert "without archive_command" in finding.found and "a standby" not in finding.found
        base_backup(tmp_path / "primary", tmp_path / "standby")
        standby.start()
        eventually(lambda: "; a standby follows" in found_by(database, backups.archive)[0].found)
        assert codes(Database(standby.superuser_url), backups.archive) == []
        standby.stop()
        monkeypatch.setenv("TALLYSTICK_BACKED_UP_BY", "the provider's snapshots")
        assert codes(database, backups.archive) == []
        monkeypatch.delenv("TALLYSTICK_BACKED_UP_BY")

        receiver = receive_log(server, tmp_path)
        try:
            eventually(lambda: codes(database, backups.archive) == [])
        finally:
            receiver.terminate()
            receiver.wait(30)
        eventually(lambda: codes(database, backups.archive) == ["archive_absent"])

        archive_by(server, "false")
        eventually(lambda: codes(database, backups.archive) == ["archive_failing"])
        assert "none has ever arrived" in found_by(database, backups.archive)[0].found
        archive_by(server, "true")
        eventually(lambda: codes(database, backups.archive) == [])
    finally:
        standby.stop()
        server.stop()

    with attached(tmp_path / "primary"):
        (finding,) = found_by(database, backups.archive)
        assert (finding.code, finding.kind.severity) == ("embedded_unarchived", "info")


def receive_log(server: EmbeddedPostgres, folder: Path) -> "subprocess.Popen[bytes]":
    """A `pg_receivewal` that runs until it is ended."""
    received = folder / "received"
    received.mkdir()
    where = {"PGHOST": str(server.data_dir / "postgres"), "PGUSER": "postgres"}
    return subprocess.Popen(
        [str(binaries() / "pg_receivewal"), "--directory", str(received)], env={**os.environ, **where}
    )
