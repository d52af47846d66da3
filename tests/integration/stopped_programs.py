"""Programs that stop themselves with SIGSTOP, as a machine that hangs would stop them."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep

import psutil

from tests.lifeline import ends_with_the_tests
from tests.projecting import PATIENCE_SECONDS

ROOT = Path(__file__).parents[2]


@contextmanager
def stopped(program: str, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """A program that stops itself, once it has done its part."""
    command = [sys.executable, "-c", program, *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    ends_with_the_tests(process.pid)
    try:
        give_up_at = monotonic() + PATIENCE_SECONDS
        while psutil.Process(process.pid).status() != psutil.STATUS_STOPPED:
            assert process.poll() is None and monotonic() < give_up_at
            sleep(0.02)
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
