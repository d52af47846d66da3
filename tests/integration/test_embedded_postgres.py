"""The embedded PostgreSQL: a kill at any moment leaves nothing that troubles the next start."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psutil
import psycopg
import pytest

from domain.journal.queries import Query
from scripts.serving import embedded_login
from scripts.serving.embedded_postgres import (
    MEGABYTE,
    AlreadyRunning,
    EmbeddedPostgres,
    EmbeddedPostgresError,
    attached,
    shared_buffers,
)
from tests.service import ROOT
from tests.standbys import base_backup

pytestmark = pytest.mark.integration


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(tmp_path / "data")
    yield server
    server.stop()


def execute(server: EmbeddedPostgres, statement: str) -> str:
    with psycopg.connect(server.superuser_url, autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        row = cursor.fetchone() if cursor.description else None
        return str(row[0]) if row else ""


def test_it_is_durable_and_keeps_what_it_was_told(postgres: EmbeddedPostgres) -> None:
    postgres.start()
    assert execute(postgres, "SHOW server_version").startswith("18")
    assert [
        execute(postgres, f"SHOW {name}")
        for name in ("fsync", "synchronous_commit", "full_page_writes", "data_checksums")
    ] == ["on"] * 4
    execute(postgres, "CREATE TABLE kept AS SELECT 42 AS answer")
    postgres.stop()
    assert not postgres.is_running
    postgres.start()
    assert execute(postgres, "SELECT answer FROM kept") == "42"


def test_the_login_is_made_although_recovery_ends_while_that_is_asked(
    postgres: EmbeddedPostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    postgres.start()
    tmp_path.chmod(0o711)
    base_backup(tmp_path / "data", tmp_path / "standby")
    standby = EmbeddedPostgres(tmp_path / "standby")
    standby.start()
    try:
        assert execute(standby, "SELECT pg_is_in_recovery()") == "True"
        monkeypatch.setitem(embedded_login._SQL, "is_standby", Query("SELECT NOT pg_promote()"))
        embedded_login.provide(standby.superuser_url)
        assert execute(standby, "SELECT pg_is_in_recovery()") == "False"
    finally:
        standby.stop()


@pytest.mark.parametrize(
    ("memory_megabytes", "megabytes"),
    [(256, 128), (1_024, 256), (2_048, 512), (8_192, 2_048), (65_536, 4_096)],
)
def test_it_takes_a_quarter_of_the_memory_within_bounds(memory_megabytes: int, megabytes: int) -> None:
    assert shared_buffers(memory_megabytes * MEGABYTE) == megabytes * MEGABYTE


def test_it_keeps_to_the_limit_of_its_container(
    postgres: EmbeddedPostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = tmp_path / "memory.max"
    monkeypatch.setattr("scripts.serving.embedded_postgres._CONTAINER_LIMIT", limit)
    for written, used in ((f"{800 * MEGABYTE}\n", "200MB"), ("max\n", None)):
        limit.write_text(written)
        postgres.start()
        whole = shared_buffers(psutil.virtual_memory().total)
        expected = used or f"{whole // MEGABYTE}MB"
        shown = execute(
            postgres,
            "SELECT setting::bigint * 8192 / 1024 ^ 2 || 'MB' FROM pg_settings WHERE name = 'shared_buffers'",
        )
        assert shown == expected
        postgres.stop()


def test_it_listens_where_only_its_user_can_connect(postgres: EmbeddedPostgres) -> None:
    postgres.start()
    assert execute(postgres, "SHOW listen_addresses") == ""
    directory = Path(execute(postgres, "SHOW unix_socket_directories"))
    assert directory.stat().st_mode & 0o777 == 0o700


def test_a_long_path_does_not_keep_it_from_listening(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / ("long" * 40))
    try:
        server.start()
        assert execute(server, "SELECT 1") == "1"
    finally:
        server.stop()


def test_a_data_directory_has_one_server_and_commands_attach_to_it(
    postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    postgres.start()
    second = EmbeddedPostgres(tmp_path / "data")
    with pytest.raises(AlreadyRunning):
        second.start()
    with attached(tmp_path / "data") as url:
        assert url == postgres.url
    assert execute(postgres, "SELECT 1") == "1"
    postgres.stop()
    with attached(tmp_path / "data") as url, psycopg.connect(url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    with pytest.raises(psycopg.OperationalError):
        execute(postgres, "SELECT 1")


def test_it_starts_again_after_it_was_killed(postgres: EmbeddedPostgres) -> None:
    postgres.start()
    execute(postgres, "CREATE TABLE kept AS SELECT 42 AS answer")
    assert postgres.pid
    psutil.Process(postgres.pid).kill()
    psutil.Process(postgres.pid).wait(10)
    assert not postgres.is_running
    postgres.start()
    assert execute(postgres, "SELECT answer FROM kept") == "42"


def test_a_number_that_is_another_process_s_by_now_is_not_trusted(
    postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    """The unrelated process runs as PostgreSQL's own user, so PostgreSQL itself would refuse to start."""
    postgres.start()
    data = tmp_path / "data/postgres/data"
    owner = data.stat()
    as_owner = {"user": owner.st_uid, "group": owner.st_gid} if os.geteuid() == 0 else {}
    postgres.stop()
    other = subprocess.Popen(["sleep", "60"], cwd="/", **as_owner)  # type: ignore[call-overload]
    try:
        (data / "postmaster.pid").write_text(
            f"{other.pid}\n{data}\n1700000000\n5432\n\n\n  5432001   1\nready\n"
        )
        postgres.start()
        assert execute(postgres, "SELECT 1") == "1"
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_an_orphan_of_a_parent_that_was_killed_is_stopped_first(
    postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    program = (
        "import sys, time; from pathlib import Path\n"
        "from scripts.serving import embedded_postgres as module\n"
        "module._die_with_parent = lambda: None\n"  # as on a system that does not notify children
        "server = module.EmbeddedPostgres(Path(sys.argv[1]))\n"
        "server.start(); print(server.pid, flush=True); time.sleep(60)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "data")], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout
    orphan = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert orphan.is_running()
    postgres.start()
    assert not orphan.is_running()
    assert execute(postgres, "SELECT 1") == "1"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent died")
def test_it_ends_with_its_parent(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path\n"
        "from scripts.serving.embedded_postgres import EmbeddedPostgres\n"
        "server = EmbeddedPostgres(Path(sys.argv[1]))\n"
        "server.start(); print(server.pid, flush=True); time.sleep(60)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "data")], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout
    server = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.wait()
    parent.stdout.close()
    server.wait(20)


def test_an_initialisation_that_was_killed_half_way_is_begun_anew(
    postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    unfinished = tmp_path / "data/postgres/data.unfinished"
    unfinished.mkdir(parents=True)
    (unfinished / "PG_VERSION").write_text("18\n")
    postgres.start()
    assert execute(postgres, "SELECT 1") == "1"


def test_what_keeps_it_from_starting_is_said(
    postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scripts.serving.embedded_postgres.RETRY_SECONDS", 0.1)
    monkeypatch.setitem(
        __import__("scripts.serving.embedded_postgres", fromlist=["SETTINGS"]).SETTINGS, "jit", "maybe"
    )
    with pytest.raises(EmbeddedPostgresError, match="jit"):
        postgres.start()


def test_a_stop_ends_sessions_in_the_middle_of_their_work(postgres: EmbeddedPostgres) -> None:
    postgres.start()
    with psycopg.connect(postgres.url) as connection:
        connection.execute("SELECT 1")
        postgres.stop()
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")


def test_a_damaged_data_directory_is_refused_and_left_as_it_is(
    postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    postgres.start()
    postgres.stop()
    data = tmp_path / "data/postgres/data"
    (data / "PG_VERSION").unlink()
    before = sorted(path.name for path in data.iterdir())
    with pytest.raises(EmbeddedPostgresError, match="not empty"):
        postgres.start()
    postgres.stop()
    assert sorted(path.name for path in data.iterdir()) == before


def test_a_link_in_place_of_the_socket_directory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary, elsewhere = tmp_path / "tmp", tmp_path / "elsewhere"
    temporary.mkdir()
    elsewhere.mkdir(mode=0o755)
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    postgres = EmbeddedPostgres(tmp_path / ("long" * 30))
    foreseen = Path(parse_qs(urlsplit(postgres.url).query)["host"][0])
    foreseen.symlink_to(elsewhere)
    before = elsewhere.stat()
    with pytest.raises(EmbeddedPostgresError, match="link"):
        postgres.start()
    postgres.stop()
    after = elsewhere.stat()
    assert (after.st_mode, after.st_uid) == (before.st_mode, before.st_uid)
