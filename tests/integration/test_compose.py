"""The script in `compose.yaml` makes exactly the roles the service needs: it runs on a real server."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
import yaml  # type: ignore[import-untyped]  # its stubs are a package of their own, for one test

from scripts.serving.embedded_postgres import EmbeddedPostgres, binaries
from tests.service import ROOT, post_ledger, serving

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

PASSWORD = 'it\'s $ecret "quoted"'


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    written: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
    return written


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    """A server as the image's entry point leaves it for scripts: a superuser and an empty database."""
    server = EmbeddedPostgres(tmp_path / "data")
    server.start()
    with psycopg.connect(server.superuser_url, autocommit=True) as superuser:
        superuser.execute(
            "REVOKE ALL ON DATABASE postgres FROM tallystick; REVOKE pg_monitor FROM tallystick"
        )
        superuser.execute("DROP ROLE tallystick; DROP ROLE tallystick_service")
        superuser.execute("CREATE DATABASE tallystick")
    yield server
    server.stop()


def test_the_service_runs_under_the_roles_that_are_made(
    compose: dict[str, Any], postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    home = tmp_path / "data/postgres"
    script = compose["configs"]["roles"]["content"].replace("$$", "$")
    environment = {
        **os.environ,
        "PATH": f"{binaries()}:{os.environ['PATH']}",
        "PGHOST": str(home),
        "POSTGRES_USER": compose["services"]["postgres"]["environment"]["POSTGRES_USER"],
        "TALLYSTICK_PASSWORD": PASSWORD,
    }
    ran = subprocess.run(["sh"], input=script, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    url = f"postgresql://tallystick:{quote(PASSWORD, safe='')}@/tallystick?host={quote(str(home), safe='')}"
    with serving(tmp_path / "service", "--database-url", url) as service, service.client() as client:
        post_ledger(client)
    with psycopg.connect(postgres.superuser_url) as superuser:
        query = "SELECT rolsuper OR rolcreaterole OR rolcreatedb FROM pg_roles WHERE rolname = 'tallystick'"
        assert superuser.execute(query).fetchone() == (False,)


def test_nobody_logs_in_as_the_superuser_and_images_can_be_named_by_digest(compose: dict[str, Any]) -> None:
    superuser = compose["services"]["postgres"]["environment"]["POSTGRES_USER"]
    for name, service in compose["services"].items():
        if name != "postgres":
            assert service["environment"]["TALLYSTICK_DATABASE_URL"].startswith("postgresql://tallystick:")
            assert service["build"]["args"]["PYTHON_IMAGE"].startswith("${PYTHON_IMAGE")
    assert superuser != "tallystick"
    assert compose["services"]["postgres"]["image"].startswith("${POSTGRES_IMAGE")
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert {line.split()[1] for line in dockerfile.splitlines() if line.startswith("FROM")} == {
        "${PYTHON_IMAGE}"
    }
