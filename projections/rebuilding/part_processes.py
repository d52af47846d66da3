"""The processes that fill portions of versions: started together, restarted if they are killed or hang, and ended."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from select import select
from time import monotonic, sleep

import structlog

from domain.journal.database import Database
from domain.release import ROOT
from projections.rebuilding.division import Portion
from projections.rebuilding.part import DONE

LOOK_SECONDS = 0.2
SILENT_SECONDS = 15.0
"""For how long a process may say nothing before another takes its place: it says something every second."""

STARTING_SECONDS = 30.0
"""For how long it may say nothing at first."""

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 5.0

_log = structlog.get_logger(__name__)


class PartProcess:
    """A process that fills one portion after the other. For each it is restarted until it succeeds."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._not_before = 0.0
        self._pause_seconds = FIRST_PAUSE_SECONDS
        self._silent_since = 0.0
        self._looked_at = 0.0

    def start(self) -> None:
        """Start the process, so that it is ready when there is something to fill."""
        if self._process is None:
            self._start()

    def fill(self, database: Database, portion: Portion, go_on: Callable[[], bool]) -> None:
        """Return once the portion is filled. Once `go_on` says no, the process is ended at the next look.

        If the process is killed, fails or hangs, another takes its place. What it committed stays, and the server
        undoes the rest: the next one continues from the positions. The pause grows with each restart.
        """
        asked = {"url": database.url, "schema": database.schema}
        line = json.dumps({**asked, "versions": portion.versions, "number": portion.number}).encode() + b"\n"
        is_asked = False
        while go_on():
            if self._process is None:
                if (pause_seconds := self._not_before - monotonic()) > 0:
                    sleep(min(LOOK_SECONDS, pause_seconds))
                    continue
                self._start()
                is_asked = False
            assert self._process is not None
            if not is_asked:
                _ask(self._process, line)
                is_asked = True
            if self._is_done(self._process):
                self._pause_seconds = FIRST_PAUSE_SECONDS
                return
        self.end()

    def _is_done(self, process: "subprocess.Popen[bytes]") -> bool:
        """Wait until the process says something, or for `LOOK_SECONDS`; tell whether it said that it is done.

        If it has ended or hangs, it is left, and the next one is to start after a pause.
        """
        assert process.stdout is not None
        select([process.stdout], [], [], LOOK_SECONDS)
        if (status := process.poll()) is not None:
            _log.warning("filling interrupted", status=status)
            self._end_and_pause()
            return False
        said = process.stdout.read()
        if self._hangs(said):
            _log.warning("filling hangs", process=process.pid)
            self._end_and_pause()
            return False
        return DONE in (said or b"")

    def _hangs(self, said: bytes | None) -> bool:
        """Tell whether nothing was heard of the process for too long, which is looked for several times a second."""
        now = monotonic()
        # Who was stopped itself, and looks for the first time since, knows nothing of the time between.
        if said or now - self._looked_at > SILENT_SECONDS:
            self._silent_since = now
        self._looked_at = now
        return now - self._silent_since > SILENT_SECONDS

    def _end_and_pause(self) -> None:
        self.end()
        self._not_before = monotonic() + self._pause_seconds
        self._pause_seconds = min(2 * self._pause_seconds, LONGEST_PAUSE_SECONDS)

    def _start(self) -> None:
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "projections.rebuilding.part"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            # The process needs no settings, and must not see the key that signs.
            env={
                **{name: value for name, value in os.environ.items() if not name.startswith("TALLYSTICK_")},
                "PYTHONPATH": path,
            },
        )
        self._looked_at = monotonic()
        self._silent_since = self._looked_at + STARTING_SECONDS - SILENT_SECONDS
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdout.fileno(), False)

    def end(self) -> None:
        """End the process, also one that was stopped. The server undoes what it was writing."""
        if self._process is not None:
            assert self._process.stdin is not None and self._process.stdout is not None
            self._process.kill()
            self._process.wait()
            self._process.stdin.close()
            self._process.stdout.close()
            self._process = None


def _ask(process: "subprocess.Popen[bytes]", line: bytes) -> None:
    """Say what to fill. By standard input: any user may read a command line."""
    assert process.stdin is not None
    with suppress(BrokenPipeError):  # the process has ended already; the next look finds that
        process.stdin.write(line)
