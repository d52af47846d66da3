"""kill -9 and cuts on either side of bridges: `python -m tests.chaos.bridging` does it for longer."""

import os
from pathlib import Path

import pytest

from tests.chaos.bridging import bridged

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(1800)]

TRANSFERS = int(os.environ.get("TALLYSTICK_BRIDGES", "60"))
KILLS = int(os.environ.get("TALLYSTICK_KILLS", "3"))


def test_each_amount_arrives_once_or_stays(tmp_path: Path) -> None:
    outcome = bridged(tmp_path, TRANSFERS, KILLS)
    assert sum(outcome.ends.values()) == TRANSFERS
    assert outcome.ends.keys() == {"completed", "failed"}
