"""A service without providers pays out through its own simulator, so that payouts can be tried."""

from pathlib import Path

import pytest

from tests.projecting import eventually
from tests.service import Service, post_account, post_ledger, serving

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]


def pays_out(service: Service, key: str) -> None:
    """Request a payout and see it completed."""
    body = {
        "account": "users:alice:wallet",
        "amount": 5,
        "provider": "simulator",
        "destination": {"iban": "X"},
    }
    with service.client() as client:
        asked = client.post("/v1/ledgers/main/payouts", json=body, headers={"Idempotency-Key": key})
        assert asked.status_code == 202, asked.text
        eventually(lambda: client.get(asked.headers["location"]).json()["state"] == "completed")


def test_it_pays_out_also_when_its_simulator_was_killed(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as service:
        with service.client() as client:
            post_ledger(client)
            post_account(client, "users:alice:wallet")
        pays_out(service, "payout-1")
        (simulator,) = service.processes("scripts.serving.processes", "simulator")
        simulator.kill()
        simulator.wait(10)
        pays_out(service, "payout-2")
        children = service.processes("scripts.serving.processes", "simulator")
        assert service.stop() == 0
        assert not any(child.is_running() for child in children)


def test_who_configures_providers_gets_no_simulator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "TALLYSTICK_PROVIDERS", '{"bank": {"url": "http://127.0.0.1:9", "secret": "whsec_%s"}}' % ("A" * 32)
    )
    with serving(tmp_path / "data") as service:
        assert service.processes("scripts.serving.processes", "simulator") == []
