"""A real Prometheus watches a real service: every query of the dashboard and every metric of a rule has an answer."""

import re
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import pytest

from scripts.monitoring.dashboard import queries
from tests.databases import Databases
from tests.integration.monitoring.prometheus import Prometheus, alert_rules, needs_prometheus, watching
from tests.projecting import eventually
from tests.receiver import Receiver, receiving
from tests.service import Service, post_account, post_ledger, start, transfer_body
from tests.simulating import free_port, settings_of, simulating

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300), needs_prometheus]


class Watched(NamedTuple):
    """A service, a receiver of webhooks, and who watches it."""

    service: Service
    receiver: Receiver
    prometheus: Prometheus


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
        service = start(module_path / "data", "--database-url", database.url, "--schema", database.schema)
        try:
            with (
                simulating(provider_port, service.url),
                watching(module_path, {"groups": []}, tallystick=service.url) as prometheus,
            ):
                yield Watched(service, receiver, prometheus)
        finally:
            service.stop()


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


OF_WITNESSES = {"tallystick_witness_age_seconds", "tallystick_witness_disputed"}
"""They are about two installations, and here is one (tests/integration/test_witnesses.py)."""


def test_every_query_of_the_dashboard_and_every_metric_of_a_rule_has_an_answer(watched: Watched) -> None:
    prometheus = watched.prometheus
    asked = [query.replace("$__rate_interval", "1m") for query in queries()]
    rules = "".join(rule["expr"] for rule in alert_rules().values())
    asked += sorted(set(re.findall(r"\btallystick_\w+", rules)) - OF_WITNESSES)

    with watched.service.client() as client:
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
