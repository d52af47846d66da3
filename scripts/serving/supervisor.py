"""The parent of a running service: it starts the processes, restarts those that die, and stops them in order.

A child ends when its parent dies, even by kill -9. It holds the read end of a pipe, its lifeline, and only the parent
has the write end (`scripts/serving/processes.py`).
"""

import itertools
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic, sleep

import structlog

from scripts.serving.embedded_postgres import EmbeddedPostgres, EmbeddedPostgresError
from scripts.serving.surroundings import LIFELINE

POLL_SECONDS = 0.05
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 5.0
# A child that lived this long was healthy. So was one that was killed from outside: it is restarted at once.
WELL_AFTER_SECONDS = 10.0
MAX_FAILURES_IN_A_ROW = 6

_log = structlog.get_logger(__name__)


class ChildrenKeepFailing(RuntimeError):
    """A process of the service keeps ending by itself soon after it is started."""


@dataclass
class Child:
    """A process to keep running. After `stop_timeout_seconds` without ending, it is killed.

    Neighbours in the list with the same `group` are stopped together. It is not started before it `may_start`.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    pass_fds: Sequence[int] = ()
    stop_timeout_seconds: float = 15.0
    group: str = ""
    may_start: Callable[[], bool] = lambda: True
    process: "subprocess.Popen[bytes] | None" = None
    started_at: float = 0.0
    not_before: float = 0.0
    failures_in_a_row: int = 0


@dataclass
class Supervisor:
    """Keeps the children, and the embedded PostgreSQL if there is one, running until told to stop.

    Children are stopped in the order listed, PostgreSQL last. `on_ready` is called once, when `is_ready` first returns
    true.
    """

    children: Sequence[Child]
    postgres: EmbeddedPostgres | None = None
    is_ready: Callable[[], bool] = lambda: True
    on_ready: Callable[[], None] = lambda: None
    _stopping: bool = False
    _hurry: bool = False
    _lifeline: tuple[int, int] = field(default=(-1, -1))

    def run(self) -> None:
        """Run until SIGTERM or SIGINT, then stop everything.

        Raises `ChildrenKeepFailing` and `EmbeddedPostgresError`, after everything is stopped.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        self._lifeline = os.pipe()
        ready = False
        try:
            while not self._stopping:
                self._keep_running()
                if not ready and self.is_ready():
                    ready = True
                    self.on_ready()
                sleep(POLL_SECONDS)
        except (ChildrenKeepFailing, EmbeddedPostgresError):
            # No request in flight can still succeed.
            self._hurry = True
            raise
        finally:
            self._stop()

    def _on_signal(self, _number: int, _frame: object) -> None:
        self._hurry = self._hurry or self._stopping
        self._stopping = True

    def _keep_running(self) -> None:
        if self.postgres and not self.postgres.is_running:
            _log.error("PostgreSQL died; starting it again")
            self.postgres.start()
        for child in self.children:
            if child.process is None:
                if monotonic() >= child.not_before and child.may_start():
                    self._start(child)
            elif (status := child.process.poll()) is not None:
                self._note_death(child, status)

    def _start(self, child: Child) -> None:
        reading = self._lifeline[0]
        child.process = subprocess.Popen(
            child.command,
            env={**child.environment, LIFELINE: str(reading)},
            pass_fds=[reading, *child.pass_fds],
            # Not in the terminal's process group: on Ctrl-C the parent stops the children in order.
            start_new_session=True,
        )
        child.started_at = monotonic()
        _log.info("started", process=child.name, pid=child.process.pid)

    def _note_death(self, child: Child, status: int) -> None:
        child.process = None
        killed = status < 0
        lived_well = monotonic() - child.started_at > WELL_AFTER_SECONDS
        child.failures_in_a_row = 0 if killed or lived_well else child.failures_in_a_row + 1
        _log.error("died", process=child.name, status=status, failures_in_a_row=child.failures_in_a_row)
        if child.failures_in_a_row > MAX_FAILURES_IN_A_ROW:
            raise ChildrenKeepFailing(f"{child.name} keeps failing, last with status {status}")
        pause = FIRST_PAUSE_SECONDS * 2**child.failures_in_a_row
        child.not_before = monotonic() + min(pause, LONGEST_PAUSE_SECONDS)

    def _stop(self) -> None:
        for _, together in itertools.groupby(self.children, lambda child: child.group or child.name):
            running = [child for child in together if child.process]
            for child in running:
                self._ask_to_stop(child)
            since = monotonic()
            for child in running:
                self._await_end(child, since + child.stop_timeout_seconds)
        try:
            if self.postgres:
                self.postgres.stop()
        except EmbeddedPostgresError as error:
            _log.error("PostgreSQL did not stop", error=str(error))
        os.close(self._lifeline[0])
        os.close(self._lifeline[1])

    def _ask_to_stop(self, child: Child) -> None:
        if child.process:
            child.process.terminate()

    def _await_end(self, child: Child, deadline: float) -> None:
        if child.process is None:
            return
        while child.process.poll() is None and monotonic() < deadline and not self._hurry:
            sleep(POLL_SECONDS)
        if child.process.poll() is None:
            _log.error("killed", process=child.name, pid=child.process.pid)
            child.process.kill()
        child.process.wait()
        _log.info("stopped", process=child.name)
