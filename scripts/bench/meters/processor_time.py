"""The processor time that a run takes, by role. It holds where rates are noisy: others on the machine make a process
wait, and hardly change what it uses itself.

The roles of PostgreSQL's processes come from the names that connections give themselves. Nothing is known of a server
on another machine.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import psutil
from psycopg import Connection

from domain.journal.database import Database
from domain.journal.queries import load

API, PROJECTOR, SUPERVISOR = "api", "projector", "supervisor"
LEDGER, BARE_ROUTE, CLIENT = "ledger", "bare-route", "client"
WRITER, PROJECTIONS, OTHERS = "postgres-writer", "postgres-projections", "postgres-others"
READ_SIDE = (PROJECTOR, PROJECTIONS)
"""The roles that keep read models up to date."""

BENCH = "tallystick bench"
"""The name of the benchmark's own connections. Their time is not counted."""

_NAMED: Mapping[str, str] = {
    **dict.fromkeys(("tallystick writer", "tallystick reader ahead", "tallystick snapshots"), WRITER),
    **dict.fromkeys(("tallystick arrivals", "tallystick sealer", "tallystick rebuilds"), PROJECTIONS),
}
_PROJECTION = "tallystick projection"
_PROCESSES = "scripts.serving.processes"
_SQL = load(__name__)


class ProcessTime(NamedTuple):
    """The role of a process, None if it is not counted, and the processor time it has used so far."""

    role: str | None
    seconds: float


class ProcessTimes(NamedTuple):
    """The times of processes that run, by process id: those of the service, and those of the database server.
    `ended_seconds` is the time of all processes of the server that have ended.
    """

    service: Mapping[int, ProcessTime]
    server: Mapping[int, ProcessTime] = {}
    ended_seconds: float = 0.0


def used_seconds(before: ProcessTimes, after: ProcessTimes) -> dict[str, float]:
    """Return the processor time used between two readings, by role."""
    used: defaultdict[str | None, float] = defaultdict(float)
    for earlier, later in ((before.service, after.service), (before.server, after.server)):
        for process_id, (role, seconds) in later.items():
            used[role] += seconds - (earlier[process_id].seconds if process_id in earlier else 0.0)
    if after.server:
        ended = sum(time.seconds for one, time in before.server.items() if one not in after.server)
        used[OTHERS] += max(0.0, after.ended_seconds - before.ended_seconds - ended)
    return {role: seconds for role, seconds in used.items() if role}


class ProcessorMeter:
    """Reads the times of a process, of those that it started, and of the server of their database."""

    def __init__(self, process_id: int, role: str, connection: Connection[Any] | None = None) -> None:
        """`role` is that of the process itself. Without a connection there is no database to read the times of."""
        self._process = psutil.Process(process_id)
        self._role = role
        self._connection = connection
        self._postmaster = _postmaster(connection) if connection else None

    def read(self) -> ProcessTimes:
        """Return the times so far."""
        service = dict(self._of_service())
        if self._connection is None or self._postmaster is None:
            return ProcessTimes(service)
        server = {}
        for process_id, name in _SQL["processes"].rows(self._connection):
            with suppress(psutil.NoSuchProcess):
                server[process_id] = ProcessTime(_role_of(name), _seconds(psutil.Process(process_id)))
        times = self._postmaster.cpu_times()
        # Not every system tells of processes that have ended.
        ended = getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
        return ProcessTimes(service, server, ended)

    def _of_service(self) -> Iterator[tuple[int, ProcessTime]]:
        yield self._process.pid, ProcessTime(self._role, _seconds(self._process))
        for child in self._process.children(recursive=True):
            with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                _, called, arguments = " ".join(child.cmdline()).partition(f"{_PROCESSES} ")
                if called:
                    yield child.pid, ProcessTime(arguments.split()[0], _seconds(child))


@contextmanager
def metering(database: Database, process_id: int, role: str = SUPERVISOR) -> Iterator[ProcessorMeter]:
    """The meter of a process that works on a database."""
    with database.connect(BENCH) as connection:
        yield ProcessorMeter(process_id, role, connection)


def _postmaster(connection: Connection[Any]) -> psutil.Process | None:
    """Return the database server's first process. None if the server is on another machine."""
    try:
        backend = psutil.Process(connection.info.backend_pid)
        return backend.parent() if backend.name().startswith("postgres") else None
    except psutil.NoSuchProcess:
        return None


def _role_of(name: str) -> str | None:
    if name == BENCH:
        return None
    return PROJECTIONS if name.startswith(_PROJECTION) else _NAMED.get(name, OTHERS)


def _seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
