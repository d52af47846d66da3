"""Trouble with a database or login is reported in one sentence, at once, with the statement that mends it."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from domain.journal.database import Database
from domain.journal.migrations import migrate
from projections.registry import install
from scripts.serving.embedded_postgres import EmbeddedPostgres, binaries
from tests.commands import call
from tests.service import KEY, ROOT, serving

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

SERVE = ("serve", "--port", "0")
STARTING: Sequence[Sequence[str]] = (SERVE, ("migrate",), ("project",))
READING: Sequence[Sequence[str]] = (
    ("doctor", "--json"),
    ("export", "-"),
    ("report", "trial-balance", "--ledger", "main"),
    ("keys", "list"),
    ("replay", "entries"),
    ("stuck",),
    ("trace", "k"),
    ("dead-letters", "list"),
    ("projections", "list"),
    ("verify", "--live"),
)


@pytest.fixture(scope="module")
def postgres(module_path: Path) -> Iterator[EmbeddedPostgres]:
    """A separate server that asks one login for a password, with an installation in it."""
    server = EmbeddedPostgres(module_path / "data")
    server.start()
    database = Database(server.url)
    migrate(database)
    install(database)
    with psycopg.connect(server.superuser_url, autocommit=True) as superuser:
        for role in ("stranger", "guarded"):
            superuser.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'right'".encode())
        superuser.execute(
            "CREATE ROLE mute; CREATE ROLE bound LOGIN; GRANT tallystick_service TO bound WITH SET FALSE"
        )
        superuser.execute("CREATE DATABASE closed")
        superuser.execute("REVOKE CONNECT ON DATABASE closed FROM PUBLIC")
    rules = module_path / "data/postgres/data/pg_hba.conf"
    rules.write_text(f"local all guarded scram-sha-256\n{rules.read_text()}")
    with psycopg.connect(server.superuser_url, autocommit=True) as superuser:
        superuser.execute("SELECT pg_reload_conf()")
    try:
        yield server
    finally:
        server.stop()


def run(url: str, *command: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "scripts.tallystick", *command, "--database-url", url],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=90,
    )


Expect = Callable[[str, Sequence[str], str], None]


@pytest.fixture
def expect_sentence(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Expect:
    """Asserts that a command says one sentence with the remedy, at once (waiting would print another line), and ends
    with exit code 3.
    """
    monkeypatch.setenv("TALLYSTICK_BOOTSTRAP_KEY", KEY)

    def expect(url: str, command: Sequence[str], wanted: str) -> None:
        code = call([*command, "--database-url", url])
        output, errors = capfd.readouterr()
        said = errors + output if command[0] == "doctor" else errors
        assert code == 3, (command, said)
        assert "Traceback" not in said, (command, said)
        assert re.search(wanted, said.replace('\\"', '"')), (command, said)
        if command[0] != "doctor":
            assert len(said.strip().splitlines()) == 1 and not output, (command, output, said)

    return expect


def as_login(postgres: EmbeddedPostgres, login: str, **options: str) -> str:
    return make_conninfo(postgres.url, user=login, **options)


@pytest.mark.parametrize("command", [*STARTING, *READING], ids=lambda command: command[0])
@pytest.mark.parametrize(
    ("login", "options", "wanted"),
    [
        (
            "tallystick",
            {"dbname": "absent"},
            r'"absent" does not exist: CREATE DATABASE "absent" OWNER "tallystick"',
        ),
        ("nobody_here", {}, r'"nobody_here" does not exist: CREATE ROLE "nobody_here" LOGIN'),
        ("guarded", {"password": "wrong"}, r"password authentication failed"),
    ],
    ids=["no database", "no login", "wrong password"],
)
def test_what_cannot_be_connected_to(
    expect_sentence: Expect,
    postgres: EmbeddedPostgres,
    command: Sequence[str],
    login: str,
    options: dict[str, str],
    wanted: str,
) -> None:
    expect_sentence(as_login(postgres, login, **options), command, wanted)


@pytest.mark.parametrize(
    ("login", "options", "wanted"),
    [
        ("guarded", {}, r"password"),
        ("mute", {}, r'"mute" may not log in: ALTER ROLE "mute" LOGIN'),
        ("stranger", {"dbname": "closed"}, r'GRANT CONNECT ON DATABASE "closed" TO "stranger"'),
        ("tallystick", {"host": "no-such-host.invalid"}, r"no-such-host\.invalid"),
        ("bound", {}, r'GRANT tallystick_service TO "bound" WITH SET TRUE'),
        ("stranger", {}, r'GRANT (tallystick_service|USAGE, CREATE ON SCHEMA "tallystick") TO "stranger"'),
    ],
    ids=["no password", "no login", "may not connect", "no host", "may not become the service", "no rights"],
)
@pytest.mark.parametrize("command", [SERVE, ("stuck",)], ids=lambda command: command[0])
def test_a_login_that_lacks_something(
    expect_sentence: Expect,
    postgres: EmbeddedPostgres,
    command: Sequence[str],
    login: str,
    options: dict[str, str],
    wanted: str,
) -> None:
    expect_sentence(as_login(postgres, login, **options), command, wanted)


@pytest.mark.parametrize("command", STARTING, ids=lambda command: command[0])
def test_a_login_that_may_not_make_the_schema(
    expect_sentence: Expect, postgres: EmbeddedPostgres, command: Sequence[str]
) -> None:
    wanted = r'GRANT CREATE ON DATABASE "postgres" TO "stranger", or CREATE SCHEMA "other" AUTHORIZATION "stranger"'
    expect_sentence(as_login(postgres, "stranger"), [*command, "--schema", "other"], wanted)


@pytest.mark.parametrize("command", READING, ids=lambda command: command[0])
def test_a_schema_that_was_not_migrated(
    expect_sentence: Expect, postgres: EmbeddedPostgres, command: Sequence[str]
) -> None:
    wanted = (
        "schema_missing" if command[0] == "doctor" else r'"other" was not migrated: run `tallystick migrate`'
    )
    expect_sentence(postgres.url, [*command, "--schema", "other"], wanted)


def test_what_may_come_back_is_waited_for_aloud(tmp_path: Path) -> None:
    ran = run(f"postgresql://tallystick@/postgres?host={tmp_path}", "migrate")
    assert ran.returncode == 3
    *waiting, last = ran.stderr.strip().splitlines()
    assert 2 <= len(waiting) <= 8 and all("waiting for the database" in line for line in waiting)
    assert all(str(tmp_path) in line for line in ran.stderr.strip().splitlines())
    assert last.startswith("tallystick: the database is out of reach")


@pytest.mark.parametrize("inherits", ["INHERIT TRUE", "INHERIT FALSE"])
def test_a_login_that_only_has_the_services_role_serves_what_another_migrated(
    postgres: EmbeddedPostgres, tmp_path: Path, inherits: str
) -> None:
    with psycopg.connect(postgres.superuser_url, autocommit=True) as superuser:
        superuser.execute(
            f"CREATE ROLE server LOGIN; GRANT tallystick_service TO server WITH {inherits}".encode()
        )
    with (
        serving(tmp_path / "service", "--database-url", as_login(postgres, "server")) as service,
        service.client() as client,
    ):
        assert client.post("/v1/ledgers", json={"name": "main"}).status_code in (200, 201)
        with psycopg.connect(postgres.superuser_url) as superuser:
            query = "SELECT count(*) FROM pg_class WHERE pg_get_userbyid(relowner) = 'server'"
            assert superuser.execute(query).fetchone() == (0,)
            superuser.execute("DROP ROLE server")


def test_a_standby_is_not_served_from(
    expect_sentence: Expect, postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    primary = Path(postgres.data_dir) / "postgres"
    owner, standby = primary.stat(), tmp_path / "postgres"
    tmp_path.chmod(0o711)
    standby.mkdir(mode=0o700)
    os.chown(standby, owner.st_uid, owner.st_gid)
    copy = [str(binaries() / "pg_basebackup"), "--host", str(primary), "--username", "postgres"]
    subprocess.run(
        [*copy, "--pgdata", str(standby / "data"), "--write-recovery-conf", "--checkpoint", "fast"],
        user=owner.st_uid,
        group=owner.st_gid,
        cwd="/",
        check=True,
        capture_output=True,
    )
    server = EmbeddedPostgres(tmp_path)
    server.start()
    try:
        expect_sentence(server.url, SERVE, r"standby")
        expect_sentence(server.url, ("migrate", "--schema", "other"), r"standby, which can only be read")
        assert run(server.url, "stuck").returncode == 0
    finally:
        server.stop()
