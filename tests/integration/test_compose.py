"""The script in `compose.yaml` makes exactly the roles the service needs: it runs on a real server."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
import yaml  # type: ignore[import-untyped]  # its stubs are a package of their own, for one test

from scripts.serving.embedded_postgres import EmbeddedPostgres, binaries
from tests.cluster.members import environment
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
    for service in compose["services"].values():
        if "dockerfile_inline" in service.get("build", {}):
            assert service["build"]["dockerfile_inline"].startswith("FROM ${POSTGRES_IMAGE:-postgres:18}\n")
        elif "build" in service:
            assert service["environment"]["TALLYSTICK_DATABASE_URL"].startswith("postgresql://tallystick:")
            assert service["build"]["args"]["PYTHON_IMAGE"].startswith("${PYTHON_IMAGE")
        else:
            assert re.match(r"\$\{[A-Z_]+_IMAGE:-", service["image"])
    assert superuser != "tallystick"
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert {line.split()[1] for line in dockerfile.splitlines() if line.startswith("FROM")} == {
        "${PYTHON_IMAGE}"
    }


def test_only_those_who_ask_get_what_watches_the_service_and_it_finds_its_files(
    compose: dict[str, Any],
) -> None:
    services = compose["services"]
    watching = {name for name, service in services.items() if service.get("profiles") == ["monitoring"]}
    assert watching == {"prometheus", "node-exporter", "grafana"}
    scraped = yaml.safe_load((ROOT / "scripts/monitoring/prometheus.yaml").read_text(encoding="utf-8"))
    jobs = {job["job_name"]: job for job in scraped["scrape_configs"]}
    assert jobs["tallystick"]["authorization"]["credentials_file"] == "/run/secrets/metrics_key"
    for job in jobs.values():
        for target in job["static_configs"][0]["targets"]:
            assert target.split(":")[0] in services
    for name in watching:
        for port in services[name].get("ports", []):
            assert port.startswith("127.0.0.1:")
        for volume in services[name].get("volumes", []):
            if volume.startswith("./"):
                assert (ROOT / volume.split(":")[0]).is_file()
    for config in ("grafana_source", "grafana_dashboards"):
        assert yaml.safe_load(compose["configs"][config]["content"])["apiVersion"] == 1


def test_the_cluster_is_three_members_that_differ_in_nothing_but_their_names(compose: dict[str, Any]) -> None:
    services = compose["services"]
    cluster = {name: service for name, service in services.items() if service.get("profiles") == ["cluster"]}
    members = [f"member-{number}" for number in (1, 2, 3)]
    etcds = [f"etcd-{number}" for number in (1, 2, 3)]
    assert cluster.keys() == {*members, *etcds, "roles"}
    for names in (members, etcds):
        assert len({re.sub(r"(etcd|member)-\d", "NAME", yaml.dump(cluster[name])) for name in names}) == 1
    for name in members:
        assert "./scripts/patroni.yaml:/etc/patroni.yaml:ro" in cluster[name]["volumes"]
        assert cluster[name]["environment"].keys() == environment(name, name, "", Path()).keys()
    hosts = services["roles"]["environment"]["PGHOST"].split(",")
    assert hosts == members
    assert (ROOT / "scripts/patroni.yaml").is_file()
