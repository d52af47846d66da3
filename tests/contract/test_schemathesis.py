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

from tests.contract.everything import prepare
from tests.contract.serving import KEY, serving
from tests.databases import Databases

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
            named = {f"TALLYSTICK_{name.upper()}": value for name, value in prepare(served, client).items()}
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


def answered_well(client: httpx2.Client) -> set[tuple[str, str]]:
    """The methods and paths that succeeded at least once, by the service's own metrics."""
    return {
        (sample.labels["method"], sample.labels["route"])
        for family in text_string_to_metric_families(client.get("/metrics").text)
        for sample in family.samples
        if sample.name == "tallystick_http_request_seconds_count" and sample.labels["status"].startswith("2")
    }
