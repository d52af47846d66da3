"""Thousands of requests generated from the OpenAPI document cause no fault and no undocumented answer.

`TALLYSTICK_GENERATED=500 scripts/test tests/contract/test_schemathesis.py` makes more of each operation.
"""

import os
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from scripts.simulator.faults import Script
from tests.contract.books import Book
from tests.contract.serving import KEY, Served, serving
from tests.databases import Databases
from tests.projecting import append, eventually

ROOT = Path(__file__).parent.parent.parent
CONFIGURATION = Path(__file__).parent / "schemathesis.toml"
GENERATED = os.environ.get("TALLYSTICK_GENERATED", "20")
SEED = os.environ.get("TALLYSTICK_SEED", "1")


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_every_answer_to_generated_requests_is_documented(databases: Databases, tmp_path: Path) -> None:
    # A separate service, because no other test could work with what is done here.
    with serving(databases) as served:
        with served.client() as client:
            spare_key_id = prepare(client)
            pay_out(served, client)
            pause_rebuilds(client)
            named = {
                "TALLYSTICK_SPARE_KEY_ID": spare_key_id,
                "TALLYSTICK_CHECKPOINT_SIZE": checkpoint_size(client),
                **deliver(client),
                **poison(served, client),
            }
        done = subprocess.run(
            [
                *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIGURATION)),
                *("run", f"{served.url}/openapi.json"),
                *("--max-examples", GENERATED, "--seed", SEED, "--no-color"),
            ],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), "TALLYSTICK_KEY": KEY, **named},
            capture_output=True,
            text=True,
        )
        with served.client() as client:
            served_well = answered_well(client)
    assert done.returncode == 0, done.stdout + done.stderr
    documented = {
        (method.upper(), path)
        for path, operations in served.checked.document["paths"].items()
        for method in operations
    }
    assert served_well == documented  # otherwise it would prove little


def prepare(client: httpx2.Client) -> str:
    """Make what `schemathesis.toml` names. Return the id of a key that may be lost."""
    assert client.post("/v1/ledgers", json={"name": "main"}).status_code == 201
    book = Book(client, "main")
    book.open("bank:cash", normal_side="debit")
    for address in ("users:alice:wallet", "users:bob:wallet", "spare:1", "spare:2"):
        book.open(address)
    for key in ("payment-1", "hold-1", "hold-2", "hold-3"):
        pending = key != "payment-1"
        made = book.transfer("bank:cash", "users:alice:wallet", 5_000, key, pending=pending)
        assert made.status_code == 201
    made = client.post("/v1/keys", json={"name": "spare", "roles": ["client"], "ledgers": ["main"]})
    spare_key_id: str = made.json()["id"]
    return spare_key_id


def checkpoint_size(client: httpx2.Client) -> str:
    """Return the size of a signed checkpoint."""

    def sizes() -> list[int]:
        return [of["size"] for of in client.get("/v1/audit/checkpoints").json()["data"]]

    eventually(lambda: bool(sizes()))
    return str(sizes()[0])


def deliver(client: httpx2.Client) -> dict[str, str]:
    """Make two deliveries that nobody acknowledges. Return the ids of their webhook and of both."""
    wanted = {"url": "https://93.184.216.34/ledger", "ledgers": ["main"], "types": ["account.opened"]}
    hook = client.post("/v1/webhooks", json=wanted).json()["id"]
    for address in ("told:1", "told:2"):
        Book(client, "main").open(address)
    path = f"/v1/webhooks/{hook}/deliveries"
    eventually(lambda: len(client.get(path).json()["data"]) == 2)
    retried, discarded = (delivery["id"] for delivery in client.get(path).json()["data"])
    return {
        "TALLYSTICK_WEBHOOK_ID": hook,
        "TALLYSTICK_DELIVERY_ID": retried,
        "TALLYSTICK_DISCARDED_DELIVERY_ID": discarded,
    }


def pause_rebuilds(client: httpx2.Client) -> None:
    """Leave one rebuild that can be paused and one that can be resumed, each of another projection."""
    for name in ("payouts", "outbox"):
        path = f"/v1/projections/{name}/rebuild"

        def is_paused(path: str = path) -> bool:
            """Whether it was paused before it ended. A rebuild takes at least a moment."""
            assert client.post(path, json={}).status_code == 202
            return client.post(f"{path}/pause", json={}).status_code == 200

        eventually(is_paused)


def pay_out(served: Served, client: httpx2.Client) -> None:
    """Make the payouts that `schemathesis.toml` names."""
    served.simulator.faults.follow(Script(amount=7, wrong_amount=True))
    book = Book(client, "main")
    for key, amount, state in (("payout-1", 5, "completed"), ("payout-2", 7, "stuck")):
        made = book.pay_out(amount, key, "users:alice:wallet")
        book.await_payout(made.json()["id"], state)


def poison(served: Served, client: httpx2.Client) -> dict[str, str]:
    """Make dead letters. Return the ids of one that may be retried and one that may be discarded."""
    with served.database.connect_as_owner("test owner") as owner:
        (recorded_at,) = owner.execute("SELECT recorded_at FROM head").fetchone() or ("",)
        # The time is readable, because accounts are looked up by it.
        state = f'{{"class_version":2,"recorded_at":"{recorded_at}","data":{{}}}}'.encode()
        for number in range(2):
            append(owner, f"main/transactions/poison-{number}", 1, "transaction.posted", state)

    def ids() -> list[str]:
        letters = client.get("/v1/dead-letters?projection=entries").json()["data"]
        return [letter["id"] for letter in letters]

    eventually(lambda: len(ids()) == 2)
    return dict(zip(("TALLYSTICK_RETRIED_ID", "TALLYSTICK_DISCARDED_ID"), ids(), strict=True))


def answered_well(client: httpx2.Client) -> set[tuple[str, str]]:
    """The methods and paths that succeeded at least once, by the service's own metrics."""
    return {
        (sample.labels["method"], sample.labels["route"])
        for family in text_string_to_metric_families(client.get("/metrics").text)
        for sample in family.samples
        if sample.name == "tallystick_http_request_seconds_count" and sample.labels["status"].startswith("2")
    }
