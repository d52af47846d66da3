"""The contract holds at a replica that passes on to the primary what it may not answer: a short part of its tests."""

import os
import subprocess
import sys

import pytest

from tests.service import ROOT
from tests.standbys import TOPOLOGY

pytestmark = [pytest.mark.integration, pytest.mark.long, pytest.mark.timeout(300)]

CHOSEN = ("test_projection_reads.py", "test_audit.py", "test_traces.py", "test_time_travel.py")
OF_THIS_RUN = ("TALLYSTICK_TEST_", "PYTEST_")


def test_a_part_of_the_contract_holds_at_a_replica() -> None:
    given = {name: value for name, value in os.environ.items() if not name.startswith(OF_THIS_RUN)}
    chosen = [f"tests/contract/{name}" for name in CHOSEN]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", *chosen],
        cwd=ROOT,
        env=given | {TOPOLOGY: "replica"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
