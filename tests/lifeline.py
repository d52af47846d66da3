"""Ends what tests have started when the tests end, however they end: nothing outlives a run that was killed.

A process that a test has stopped cannot notice that its parent is gone. So another watches, in a session of its own:
it reads a pipe until its end, and only the process that runs the tests holds the other side.
"""

import atexit
import subprocess
import sys
from functools import cache

_WATCHING = """
import sys
import psutil

started = []
for line in sys.stdin:
    try:
        started.append(psutil.Process(int(line)))
    except psutil.NoSuchProcess:
        pass
for process in started:
    try:
        family = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        continue
    for one in family:
        try:
            one.kill()
        except psutil.NoSuchProcess:
            pass
"""


def ends_with_the_tests(process_id: int) -> None:
    """Have a process and its children killed at the end of the process that runs the tests, if they still run."""
    watching = _watcher()
    assert watching.stdin is not None
    watching.stdin.write(f"{process_id}\n")
    watching.stdin.flush()


@cache
def _watcher() -> "subprocess.Popen[str]":
    watching = subprocess.Popen(
        [sys.executable, "-c", _WATCHING],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    atexit.register(watching.communicate)
    return watching
