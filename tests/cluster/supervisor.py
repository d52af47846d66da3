"""Runs a program again whenever it ends, as systemd does with `Restart=always`, and adopts what it leaves behind.

The program ends with it. What the program has started goes on without either.

python supervisor.py PROGRAM ARGUMENT…
"""

import ctypes
import os
import signal
import subprocess
import sys
from time import sleep

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
RESTART_SECONDS = 1.0


def main(command: list[str]) -> None:
    """Run the command for ever."""
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)
    while True:
        program = subprocess.Popen(command, preexec_fn=lambda: libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL))  # noqa: PLW1509
        while os.wait()[0] != program.pid:
            pass
        sleep(RESTART_SECONDS)


if __name__ == "__main__":
    main(sys.argv[1:])
