"""Nothing that tests have started outlives tests that were killed, whether it runs or was stopped."""

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.projecting import eventually
from tests.service import ROOT

pytestmark = pytest.mark.integration

STOPPED = """
import sys
from tests.integration.monitoring.installation import hanging
from tests.simulating import free_port, simulating

port = free_port()
with simulating(port, "http://127.0.0.1:1"), hanging(port) as process:
    assert process.status() == "stopped"
    print(process.pid, flush=True)
    sys.stdin.read()
"""
SERVED = """
import sys
from pathlib import Path
from tests.service import serving

with serving(Path(sys.argv[1])) as service:
    print(service.process.pid, *(process.pid for process in service.processes()), flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize(
    ("program", "number"),
    [(STOPPED, signal.SIGKILL), (STOPPED, signal.SIGTERM), (SERVED, signal.SIGKILL)],
    ids=["a stopped simulator", "a stopped simulator, after SIGTERM", "a service"],
)
def test_what_was_started_ends_with_the_tests_that_were_killed(
    tmp_path: Path, program: str, number: signal.Signals
) -> None:
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", program, str(tmp_path / "data")]
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as tests:
        assert tests.stdout is not None
        started = [psutil.Process(int(word)) for word in tests.stdout.readline().split()]
        assert started
        tests.send_signal(number)
        assert tests.wait() == -number
    eventually(lambda: not any(map(still_runs, started)))


def still_runs(process: psutil.Process) -> bool:
    """Whoever is dead may be a zombie for as long as nobody asks how it ended."""
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
