"""Prometheus and its tool, Debian's. Without them, tests are skipped on a developer's machine and fail in CI."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from pathlib import Path
from time import sleep
from typing import Any, NamedTuple

import httpx2
import pytest
import yaml  # type: ignore[import-untyped]  # its stubs are a package of their own, for tests alone

from tests.lifeline import ends_with_the_tests
from tests.projecting import eventually
from tests.service import KEY, ROOT
from tests.simulating import free_port

MONITORING = ROOT / "scripts/monitoring"

needs_prometheus = pytest.mark.skipif(
    shutil.which("promtool") is None and "CI" not in os.environ,
    reason="needs Debian's package prometheus, which CI installs",
)


def rule_groups() -> list[dict[str, Any]]:
    """The groups of alert rules, as they are written."""
    written = yaml.safe_load((MONITORING / "alerts.yaml").read_text(encoding="utf-8"))
    groups: list[dict[str, Any]] = written["groups"]
    return groups


def alert_rules() -> dict[str, dict[str, Any]]:
    """Every alert rule, by name."""
    return {rule["alert"]: rule for group in rule_groups() for rule in group["rules"]}


class Alert(NamedTuple):
    """An alert that fires: its name without `Tallystick`, and the read model, kind of thing or disk it is about."""

    name: str
    about: str = ""


class Prometheus(NamedTuple):
    """A running Prometheus, by a client of its own."""

    client: httpx2.Client

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The samples that an expression gives now. Fails if it is not well-formed."""
        answer = self.client.get("/api/v1/query", params={"query": expression})
        assert answer.status_code == 200, (expression, answer.text)
        found: list[dict[str, Any]] = answer.json()["data"]["result"]
        return found

    def alerts(self, state: str = "firing") -> set[Alert]:
        """The alerts that are in a state now, `firing` or `pending`."""
        found = [sample["metric"] for sample in self.query(f'ALERTS{{alertstate="{state}"}}')]
        return {
            Alert(
                of["alertname"].removeprefix("Tallystick"),
                next((of[label] for label in ("projection", "kind", "mountpoint") if label in of), ""),
            )
            for of in found
        }

    def await_alerts(self, expected: Set[Alert], meanwhile: Callable[[], None] = lambda: None) -> None:
        """Wait until exactly these fire. `meanwhile` is called again and again."""
        found: set[Alert] = set()

        def it_is_so() -> bool:
            nonlocal found
            meanwhile()
            sleep(0.1)  # Prometheus looks only now and then
            found = self.alerts()
            return found == expected

        try:
            eventually(it_is_so)
        except AssertionError:
            raise AssertionError({"fire": found - expected, "do not": expected - found}) from None


@contextmanager
def watching(folder: Path, rules: dict[str, Any], **targets: str) -> Iterator[Prometheus]:
    """A Prometheus under these rules, configured as `prometheus.yaml` says, but hasty. It has scraped each target.

    `targets` are the URLs of jobs, by their names in that file. Other jobs are left out.
    """
    address = f"127.0.0.1:{free_port()}"
    (folder / "rules.yaml").write_text(json.dumps(rules), encoding="utf-8")  # JSON is YAML
    config = yaml.safe_load((MONITORING / "prometheus.yaml").read_text(encoding="utf-8"))
    # A service in trouble needs two seconds for a page: it waits so long for the database, and then leaves figures out.
    config["global"] = {"scrape_interval": "3s", "evaluation_interval": "500ms"}
    config["rule_files"] = ["rules.yaml"]
    config["scrape_configs"] = [job for job in config["scrape_configs"] if job["job_name"] in targets]
    for job in config["scrape_configs"]:
        if "authorization" in job:
            job["authorization"] = {"credentials": KEY}
        job["static_configs"] = [{"targets": [targets[job["job_name"]].removeprefix("http://")]}]
    (folder / "prometheus.yaml").write_text(json.dumps(config), encoding="utf-8")
    options = [f"--config.file={folder}/prometheus.yaml", f"--storage.tsdb.path={folder}/data"]
    with (folder / "log").open("w", encoding="utf-8") as log:
        command = ["prometheus", *options, f"--web.listen-address={address}"]
        process = subprocess.Popen(command, stdout=log, stderr=log)
    ends_with_the_tests(process.pid)
    # It speaks no TLS, and reading the system's certificates takes long.
    client = httpx2.Client(base_url=f"http://{address}", trust_env=False, verify=False)
    prometheus = Prometheus(client)
    try:
        eventually(lambda: process.poll() is not None or _has_scraped(prometheus, len(targets)))
        assert process.poll() is None, (folder / "log").read_text(encoding="utf-8")
        yield prometheus
    finally:
        client.close()
        process.terminate()
        process.wait(30)


def _has_scraped(prometheus: Prometheus, targets: int) -> bool:
    try:
        return len(prometheus.query("up == 1")) == targets
    except httpx2.TransportError:
        return False
    except AssertionError:  # it answers 503 while it starts
        return False
