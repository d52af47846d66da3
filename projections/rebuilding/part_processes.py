"""Filling several versions from the beginning of the journal: divided into parts, filled, united.

A process of its own fills each part, unless the journal is short. This module starts the processes, restarts those that
are killed or hang, measures their progress, and ends them.
"""

import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from time import monotonic, sleep
from typing import Any, NamedTuple

import structlog
from psycopg import Connection

from domain.journal.database import Database
from domain.journal.queries import load
from domain.release import ROOT
from projections.engine.projection import Projection
from projections.engine.rate import RATE_SECONDS, Rate
from projections.rebuilding.part import fill
from projections.rebuilding.requests import Rebuild, find_rebuild

SHORT_EVENTS = 20_000
"""A journal of up to this many events is filled in this process: starting others would take longer."""

LOOK_SECONDS = 0.2
SILENT_SECONDS = 15.0
"""For how long a process may say nothing before another takes its place: it says something every second."""

STARTING_SECONDS = 30.0
"""For how long it may say nothing at first."""

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 5.0

_SQL = load(__name__)
_log = structlog.get_logger(__name__)


class PartProcess:
    """A process that fills one part. It is restarted until it succeeds."""

    def __init__(self, number: int, asked: bytes) -> None:
        self._number = number
        self._asked = asked
        self._process: subprocess.Popen[bytes] | None = None
        self._not_before = 0.0
        self._pause_seconds = FIRST_PAUSE_SECONDS
        self._silent_since = 0.0
        self._looked_at = 0.0
        self.is_done = False

    def keep_running(self) -> None:
        """Start the process, or restart it after it was killed, failed or hung. The pause grows with each restart.

        What the former process committed stays, and the server undoes the rest: the next one continues from the
        positions.
        """
        if self._process is None:
            if not self.is_done and monotonic() >= self._not_before:
                self._start()
        elif (status := self._process.poll()) is not None:
            self.is_done = status == 0
            self._end_and_pause()
            if status:
                _log.warning("filling interrupted", part=self._number, status=status)
        elif self._hangs(self._process):
            _log.warning("filling hangs", part=self._number, process=self._process.pid)
            self._end_and_pause()

    def _hangs(self, process: "subprocess.Popen[bytes]") -> bool:
        """Tell whether nothing was heard of the process for too long, which is looked for several times a second."""
        now = monotonic()
        assert process.stdout is not None
        # Who was stopped itself, and looks for the first time since, knows nothing of the time between.
        if process.stdout.read() or now - self._looked_at > SILENT_SECONDS:
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
        assert self._process.stdin is not None and self._process.stdout is not None
        os.set_blocking(self._process.stdout.fileno(), False)
        # By standard input: any user may read a command line.
        with suppress(BrokenPipeError):  # the process has ended already; the next look finds that
            self._process.stdin.write(self._asked)

    def end(self) -> None:
        """End the process, also one that was stopped. The server undoes what it was writing."""
        if self._process is not None:
            assert self._process.stdin is not None and self._process.stdout is not None
            self._process.kill()
            self._process.wait()
            self._process.stdin.close()
            self._process.stdout.close()
            self._process = None


class PartProcesses:
    """The processes that fill versions divided into the same number of parts."""

    def __init__(self, database: Database, versions: Sequence[tuple[Projection, int]], parts: int) -> None:
        named = [(projection.name, version) for projection, version in versions]
        self._fillers = []
        for number in range(parts):
            asked = {"url": database.url, "schema": database.schema, "versions": named, "number": number}
            self._fillers.append(PartProcess(number, json.dumps(asked).encode() + b"\n"))

    def keep_running(self) -> bool:
        """Start every process that still has something to do; tell whether there is one."""
        for filler in self._fillers:
            filler.keep_running()
        return not all(filler.is_done for filler in self._fillers)

    def end(self) -> None:
        """End all processes."""
        for filler in self._fillers:
            filler.end()


class Division(NamedTuple):
    """How a version is divided: the number of parts, and the position up to which each is filled."""

    parts: int
    upto: int


def fill_together(
    database: Database,
    connection: Connection[Any],
    projections: Mapping[str, Projection],
    rebuilds: Sequence[Rebuild],
    workers: int,
    look: Callable[[], bool],
) -> None:
    """Fill versions up to the present positions of the live ones, reading the journal once; return when that is done.

    A version that was begun before keeps its division. `look` is called a few times a second, and tells whether to
    continue. A version that was not filled, because it was paused, failed or was told to stop, keeps its parts.
    """
    divided: dict[Division, list[Rebuild]] = defaultdict(list)
    for rebuild in rebuilds:
        parts = workers if projections[rebuild.name].by_stream else 1
        if division := _divide(connection, rebuild, parts):
            divided[division].append(rebuild)
    crews = []
    try:
        for division, together in divided.items():
            versions = [(projections[rebuild.name], rebuild.version) for rebuild in together]
            if division.upto <= SHORT_EVENTS:
                for number in range(division.parts):
                    fill(connection, versions, number, look)
            else:
                crews.append(PartProcesses(database, versions, division.parts))
        _watch(connection, crews, rebuilds, look)
    finally:
        for crew in crews:
            crew.end()
    for rebuild in rebuilds:
        _SQL["unite"].run(connection, _named(rebuild))


def _divide(connection: Connection[Any], rebuild: Rebuild, parts: int) -> Division | None:
    """Return how the version is divided, dividing it first if it is empty. None if it is already filled."""
    parts = parts if rebuild.target > SHORT_EVENTS else 1
    if rebuild.target:
        _SQL["divide"].run(connection, {**_named(rebuild), "parts": parts, "upto": rebuild.target})
    count, upto = _SQL["divided"].row(connection, _named(rebuild)) or (0, 0)
    return Division(count, upto) if count else None


def _watch(
    connection: Connection[Any],
    crews: Sequence[PartProcesses],
    rebuilds: Sequence[Rebuild],
    look: Callable[[], bool],
) -> None:
    """Keep the processes running until they are done, and measure how fast they fill."""
    last = {rebuild.name: rebuild.position for rebuild in rebuilds}
    rates = {rebuild.name: Rate(RATE_SECONDS) for rebuild in rebuilds}
    busy = list(crews)
    while look() and (busy := [crew for crew in busy if crew.keep_running()]):
        sleep(LOOK_SECONDS)
        for rebuild in rebuilds:
            position = find_rebuild(connection, rebuild.name, rebuild.version).position
            rate = rates[rebuild.name].measure(max(0, position - last[rebuild.name]))
            last[rebuild.name] = position
            _SQL["measured"].run(connection, {**_named(rebuild), "rate": rate})


def _named(rebuild: Rebuild) -> dict[str, Any]:
    return {"name": rebuild.name, "version": rebuild.version}
