"""A real Prometheus watches a real service: an alert comes and goes, and every query of the dashboard has an answer."""

import copy
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import psycopg
import pytest

from domain.journal.database import Database
from scripts.monitoring.dashboard import queries
from scripts.tallystick import application
from tests.commands import invoke
from tests.databases import Databases
from tests.integration.monitoring.prometheus import (
    Prometheus,
    alert_rules,
    needs_prometheus,
    rule_groups,
    watching,
)
from tests.projecting import eventually
from tests.receiver import Receiver, receiving
from tests.service import ROOT, Service, post_account, post_ledger, start, transfer_body
from tests.simulating import free_port, settings_of, simulating

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300), needs_prometheus]


class Watched(NamedTuple):
    """A service without projector and publisher, its database, a receiver of webhooks, and who watches it."""

    service: Service
    database: Database
    receiver: Receiver
    prometheus: Prometheus


def impatient() -> dict[str, Any]:
    """The rules, but two of them do not wait for minutes."""
    groups = copy.deepcopy(rule_groups())
    rules = {rule["alert"]: rule for group in groups for rule in group["rules"]}
    rules["TallystickNotReady"]["for"] = "1s"
    lagging = rules["TallystickProjectionLagging"]
    lagging["for"] = "1s"
    assert "lag_seconds) > 60" in lagging["expr"]
    lagging["expr"] = lagging["expr"].replace("lag_seconds) > 60", "lag_seconds) > 1")
    return {"groups": groups}


@pytest.fixture(scope="module")
def watched(databases: Databases, module_path: Path) -> Iterator[Watched]:
    """The service pays by a simulator, and may tell a receiver on loopback."""
    provider_port = free_port()
    with (
        databases.installed() as database,
        receiving() as receiver,
        pytest.MonkeyPatch.context() as environment,
    ):
        environment.setenv("TALLYSTICK_PROVIDERS", settings_of(provider_port))
        environment.setenv("TALLYSTICK_WEBHOOK_ALLOW_PRIVATE", "true")
        environment.setenv("TALLYSTICK_WEBHOOK_ALLOW_HTTP", "true")
        service = start(module_path / "data", "--no-projector", *_options(database))
        try:
            with (
                simulating(provider_port, service.url),
                watching(module_path, service.url, impatient()) as prometheus,
            ):
                yield Watched(service, database, receiver, prometheus)
        finally:
            service.stop()


def _options(database: Database) -> list[str]:
    return ["--database-url", database.url, "--schema", database.schema]


@contextmanager
def running(command: str, database: Database) -> Iterator[None]:
    """A part of the service that runs meanwhile as a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "scripts.tallystick", command, *_options(database)],
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.terminate()
        assert process.wait(60) == 0


def test_an_alert_comes_when_no_projector_runs_and_goes_with_the_step_of_the_runbook(
    watched: Watched,
) -> None:
    with watched.service.client() as client:
        post_ledger(client)
    eventually(lambda: watched.prometheus.fires("TallystickProjectionLagging"))
    with running("project", watched.database):
        eventually(lambda: watched.prometheus.is_quiet("TallystickProjectionLagging"))


def test_an_alert_comes_when_a_session_blocks_the_writer_and_goes_with_the_statement_that_is_shown(
    watched: Watched,
) -> None:
    with (
        watched.database.connect_as_owner("stranger") as stranger,
        watched.database.connect_as_owner("operator") as operator,
        stranger.transaction(force_rollback=True),
    ):
        stranger.execute("SELECT FROM head FOR UPDATE")
        eventually(lambda: watched.prometheus.fires("TallystickNotReady"))
        shown = invoke(
            application(["stuck"]), ["stuck", "--session-seconds", "0", *_options(watched.database)]
        )
        statement = re.search(r"SELECT pg_terminate_backend\(\d+\);", shown.stdout)
        assert statement, shown.stdout
        operator.execute(statement[0])
        eventually(lambda: watched.prometheus.is_quiet("TallystickNotReady"))
        with pytest.raises(psycopg.OperationalError):
            stranger.execute("SELECT")


class Load:
    """Requests of every kind that the dashboard shows."""

    def __init__(self, client: httpx2.Client, receiver: Receiver) -> None:
        self._client = client
        self._numbers = count()
        post_ledger(client)
        for address in ("a", "b"):
            post_account(client, address)
        hook = {"url": receiver.url, "ledgers": ["main"], "types": ["*"]}
        assert client.post("/v1/webhooks", json=hook).status_code == 201

    def more(self) -> None:
        """Move money, pay some out, read one's own write, and be refused."""
        key = f"load-{next(self._numbers)}"
        moved = self._post("transactions", transfer_body("a", "b", 100), key)
        assert moved.status_code == 201, moved.text
        payout = {"account": "b", "amount": 1, "provider": "simulator", "destination": {"iban": "X"}}
        paid = self._post("payouts", payout, f"{key}-out")
        assert paid.status_code == 202, paid.text
        position = paid.headers["ledger-position"]
        self._client.get(f"/v1/ledgers/main/accounts/b/entries?min_position={position}")
        assert self._client.get("/v1/ledgers", headers={"Authorization": "Bearer tk_none"}).status_code == 401

    def _post(self, path: str, body: dict[str, Any], key: str) -> httpx2.Response:
        return self._client.post(f"/v1/ledgers/main/{path}", json=body, headers={"Idempotency-Key": key})


def test_every_query_of_the_dashboard_and_every_metric_of_a_rule_has_an_answer(watched: Watched) -> None:
    prometheus = watched.prometheus
    asked = [query.replace("$__rate_interval", "1m") for query in queries()]
    rules = "".join(rule["expr"] for rule in alert_rules().values())
    asked += sorted(set(re.findall(r"\btallystick_\w+", rules)))

    with (
        running("project", watched.database),
        running("publish", watched.database),
        watched.service.client() as client,
    ):
        load = Load(client, watched.receiver)

        def is_complete() -> bool:
            load.more()
            asked[:] = [query for query in asked if not is_answered(prometheus.query(query))]
            return not asked

        try:
            eventually(is_complete)
        except AssertionError as error:
            raise AssertionError(asked) from error


def is_answered(samples: list[dict[str, Any]]) -> bool:
    """Whether there is a sample that is a number."""
    return any(sample["value"][1] != "NaN" for sample in samples)
