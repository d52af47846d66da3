"""The environment of the service's processes, and the roles they log in as."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from domain.journal.database import Database
from domain.journal.migrations import migrate
from scripts.serving import embedded_postgres
from scripts.serving.embedded_postgres import EmbeddedPostgres, EmbeddedPostgresError
from tests.ledgers import history, open_accounts, running
from tests.service import KEY, ROOT, post_ledger, serving

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

SIGNING_KEY = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
PROVIDERS = '{"bank": {"url": "http://127.0.0.1:1", "secret": "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3"}}'
SECRETS = {
    "TALLYSTICK_SIGNING_KEY": SIGNING_KEY,
    "TALLYSTICK_PROVIDERS": PROVIDERS,
    "TALLYSTICK_NATS_URL": "nats://user:secret@127.0.0.1:1",
    "AWS_SECRET_ACCESS_KEY": "of-somebody-else",
}
# None of them leads anywhere.
LIBPQ = {
    "PGSERVICE": "nosuch",
    "PGHOST": "no-such-host.invalid",
    "PGPORT": "1",
    "PGOPTIONS": "-c nonsense=1",
    "PGPASSFILE": "/nowhere",
    "PGSSLMODE": "verify-full",
    "PGDATA": "/nowhere",
    "PGTZ": "Nowhere/Land",
    "PGDATESTYLE": "nonsense",
    "PGCLIENTENCODING": "nonsense",
    "PGSYSCONFDIR": "/nowhere",
    "PGUSER": "nobody",
    "PGDATABASE": "none",
    "PGCONNECT_TIMEOUT": "nonsense",
}


def environment_of(process: psutil.Process) -> dict[str, str]:
    return dict(process.environ())


@pytest.fixture
def surrounded(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**SECRETS, **LIBPQ}.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("surrounded")
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_each_process_gets_what_it_needs_and_no_more(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as service:
        with service.client() as client:
            post_ledger(client)  # it works, whatever libpq is told
        found = {
            name: [environment_of(process) for process in service.processes(*words)]
            for name, words in {
                "api": ("scripts.serving.processes", "api"),
                "projector": ("scripts.serving.processes", "projector"),
                "publisher": ("scripts.serving.processes", "publisher"),
                "postgres": ("postgres",),
            }.items()
        }
    assert all(found.values())
    owners = {
        "TALLYSTICK_SIGNING_KEY": "projector",
        "TALLYSTICK_PROVIDERS": "api",
        "TALLYSTICK_NATS_URL": "publisher",
    }
    for name, environments in found.items():
        for environment in environments:
            assert KEY not in environment.values() and "AWS_SECRET_ACCESS_KEY" not in environment
            assert not [variable for variable in environment if variable.startswith("PG")]
            held = {variable for variable in owners if variable in environment}
            assert held == {variable for variable, owner in owners.items() if owner == name}
    for environment in found["postgres"]:
        assert not [variable for variable in environment if variable.startswith(("TALLYSTICK", "PYTHON"))]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_simulator_has_its_own_secret_alone(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as service:
        (simulator,) = map(environment_of, service.processes("scripts.serving.processes", "simulator"))
    of_project = {name for name in simulator if name.startswith("TALLYSTICK_")}
    assert of_project == {"TALLYSTICK_LIFELINE", "TALLYSTICK_SIMULATOR_SECRET"}


@pytest.mark.usefixtures("surrounded")
def test_a_command_on_the_embedded_database_follows_nothing_of_libpq(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "scripts.tallystick", "migrate", "--data-dir", str(tmp_path / "data")]
    ran = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr


def test_what_a_start_waits_for_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[dict[str, object]] = []

    class Log:
        def warning(self, event: str, **values: object) -> None:
            said.append({"event": event, **values})

    def refuse(*_: object, **__: object) -> None:
        if len(said) > 2:
            raise psycopg.ProgrammingError
        raise psycopg.OperationalError("the database system is starting up")

    monkeypatch.setattr(embedded_postgres, "_log", Log())
    monkeypatch.setattr(embedded_postgres, "SAY_SECONDS", 0.1)
    monkeypatch.setattr("psycopg.connect", refuse)
    server = EmbeddedPostgres(tmp_path / "data")
    with pytest.raises(psycopg.ProgrammingError):
        server.start()
    server.stop()
    for values in said:
        assert values["event"] == "waiting for PostgreSQL" and "starting up" in str(values["error"])


def test_the_ready_line_says_where_the_data_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    relative = os.path.relpath(tmp_path / "data", ROOT)
    with serving(Path(relative)) as service:
        (line,) = (line for line in service.output if "is ready on" in line)
    assert line.endswith(f" with its data in {(tmp_path / 'data').resolve()}\n")


@pytest.mark.parametrize(("host", "warns"), [("127.0.0.1", False), ("0.0.0.0", True)])
def test_listening_for_others_without_tls_is_warned_of(tmp_path: Path, host: str, *, warns: bool) -> None:
    with serving(tmp_path / "data", "--host", host) as service:
        assert any("unencrypted" in line for line in service.output) == warns


# The login.


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(tmp_path / "data")
    server.start()
    yield server
    server.stop()


def test_the_embedded_service_logs_in_as_a_role_that_owns_its_schema_alone(
    postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    migrate(Database(postgres.url))
    with psycopg.connect(postgres.superuser_url) as superuser:
        query = (
            "SELECT rolcanlogin, rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls"
            " FROM pg_roles WHERE rolname = 'tallystick'"
        )
        assert superuser.execute(query).fetchall() == [(True, False, False, False, False, False)]
        owned = (
            "SELECT DISTINCT classid::regclass::text FROM pg_shdepend WHERE refobjid = 'tallystick'::regrole"
            " AND deptype = 'o'"
        )
        assert {name for (name,) in superuser.execute(owned)} <= {"pg_class", "pg_namespace", "pg_proc"}
        schemas = "SELECT nspname FROM pg_namespace WHERE nspowner = 'tallystick'::regrole"
        assert superuser.execute(schemas).fetchall() == [("tallystick",)]
    with psycopg.connect(postgres.url) as login:
        for statement in (
            "COPY (SELECT 1) TO PROGRAM 'true'",
            "SELECT pg_read_file('/etc/passwd')",
            "CREATE ROLE x",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege), login.transaction():
                login.execute(statement.encode())


def test_a_data_directory_of_an_older_release_is_brought_over(postgres: EmbeddedPostgres) -> None:
    """There the superuser owned everything. Its data stays and is served by the plain login."""
    older = Database(postgres.superuser_url)
    with psycopg.connect(postgres.superuser_url, autocommit=True) as superuser:
        superuser.execute(
            "REVOKE ALL ON DATABASE postgres FROM tallystick; REVOKE pg_monitor FROM tallystick"
        )
        superuser.execute("DROP ROLE tallystick")
    migrate(older)
    with running(older) as ledger:
        open_accounts(ledger, "alice")
    before = history(older)
    postgres.stop()
    postgres.start()
    present = Database(postgres.url)
    assert migrate(present) == []
    with psycopg.connect(postgres.superuser_url) as superuser:
        query = (
            "SELECT relname FROM pg_class WHERE relnamespace = 'tallystick'::regnamespace"
            " AND pg_get_userbyid(relowner) = 'postgres' AND relkind IN ('r', 'v', 'S', 'i')"
        )
        assert superuser.execute(query).fetchall() == []
    with running(present) as ledger:
        open_accounts(ledger, "bob")
    assert history(present)[: len(before)] == before
    # After a roll-back, the older release finds everything it needs.
    with running(older) as ledger:
        open_accounts(ledger, "carol")
    assert len(history(older)) > len(before) + 1


def test_data_of_another_version_is_named(postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    postgres.stop()
    (tmp_path / "data/postgres/data/PG_VERSION").write_text("17\n")
    with pytest.raises(EmbeddedPostgresError, match=r"made by PostgreSQL 17, and this release brings 18"):
        postgres.start()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_data_of_another_user_is_named(postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    postgres.stop()
    os.chown(tmp_path / "data/postgres/data", 4_000_000, -1)
    again = EmbeddedPostgres(tmp_path / "data")
    with pytest.raises(EmbeddedPostgresError, match=r"was made by the user 4000000.*chown -R"):
        again.start()
    again.stop()
