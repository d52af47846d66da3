"""The supervisor with a test's own small children: restarted, given up on, stopped, never left behind."""

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep

import psutil
import pytest

from tests.service import ROOT

pytestmark = pytest.mark.integration

PROGRAM = """
import os, sys
from scripts.serving.supervisor import Child, ChildrenKeepFailing, Supervisor

folder, stop_timeout_seconds, *codes = sys.argv[1:]
children = [
    Child(
        f"child {n}",
        [sys.executable, "-c", code, folder, str(n)],
        dict(os.environ),
        stop_timeout_seconds=float(stop_timeout_seconds),
    )
    for n, code in enumerate(codes)
]
try:
    Supervisor(children, on_ready=lambda: print("ready", flush=True)).run()
except ChildrenKeepFailing as error:
    sys.exit(str(error))
"""

CHILD = """
import os, signal, sys, time
from scripts.serving.processes import hold_lifeline
hold_lifeline()
folder, name = sys.argv[1:]
open(f"{folder}/{name}.pids", "a").write(f"{os.getpid()}\\n")
def stop(*_):
    open(f"{folder}/stopped", "a").write(f"{name}\\n")
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
while True: time.sleep(0.05)
"""

STUBBORN = CHILD.replace(
    "signal.signal(signal.SIGTERM, stop)", "signal.signal(signal.SIGTERM, signal.SIG_IGN)"
)


def supervise(folder: Path, *children: str, stop_timeout_seconds: float = 2.0) -> "subprocess.Popen[str]":
    program = textwrap.dedent(PROGRAM)
    command = [sys.executable, "-c", program, str(folder), str(stop_timeout_seconds), *children]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> None:
    give_up_at = monotonic() + seconds
    while not condition():
        assert monotonic() < give_up_at
        sleep(0.01)


def pids(folder: Path, child: int = 0) -> list[int]:
    path = folder / f"{child}.pids"
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def end(parent: "subprocess.Popen[str]") -> tuple[int, str]:
    _, errors = parent.communicate(timeout=30)
    return parent.returncode, errors


def test_children_are_stopped_in_order_and_it_exits_0(tmp_path: Path) -> None:
    parent = supervise(tmp_path, CHILD, CHILD)
    wait_until(lambda: bool(pids(tmp_path, 0) and pids(tmp_path, 1)))
    parent.send_signal(signal.SIGTERM)
    assert end(parent)[0] == 0
    assert (tmp_path / "stopped").read_text().split() == ["0", "1"]


def test_a_child_that_is_killed_is_started_again_however_often(tmp_path: Path) -> None:
    parent = supervise(tmp_path, CHILD)
    for deaths in range(9):
        wait_until(lambda: len(pids(tmp_path)) == deaths + 1)  # noqa: B023  called before the loop goes on
        os.kill(pids(tmp_path)[-1], signal.SIGKILL)
    wait_until(lambda: len(pids(tmp_path)) == 10)
    parent.send_signal(signal.SIGTERM)
    assert end(parent)[0] == 0


def test_a_child_that_keeps_failing_is_given_up_on_and_the_others_are_stopped(tmp_path: Path) -> None:
    parent = supervise(tmp_path, CHILD, "raise SystemExit(3)")
    code, errors = end(parent)
    assert code == 1 and "child 1 keeps failing, last with status 3" in errors
    assert not any(alive(pid) for pid in pids(tmp_path))


def test_no_child_outlives_a_parent_that_is_killed(tmp_path: Path) -> None:
    parent = supervise(tmp_path, CHILD, STUBBORN)
    wait_until(lambda: bool(pids(tmp_path, 0) and pids(tmp_path, 1)))
    parent.kill()
    end(parent)
    wait_until(lambda: not any(alive(pid) for pid in [*pids(tmp_path, 0), *pids(tmp_path, 1)]))


def test_a_child_that_does_not_stop_is_killed(tmp_path: Path) -> None:
    parent = supervise(tmp_path, STUBBORN)
    wait_until(lambda: bool(pids(tmp_path)))
    parent.send_signal(signal.SIGTERM)
    assert end(parent)[0] == 0
    assert not alive(pids(tmp_path)[0])


def test_a_second_signal_hurries(tmp_path: Path) -> None:
    deaf = CHILD.replace("    sys.exit(0)\n", "")
    parent = supervise(tmp_path, deaf, STUBBORN, stop_timeout_seconds=600.0)
    wait_until(lambda: bool(pids(tmp_path, 0) and pids(tmp_path, 1)))
    parent.send_signal(signal.SIGTERM)
    wait_until((tmp_path / "stopped").exists)
    parent.send_signal(signal.SIGTERM)
    assert end(parent)[0] == 0
    assert not alive(pids(tmp_path, 0)[0]) and not alive(pids(tmp_path, 1)[0])
