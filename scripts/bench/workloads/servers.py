"""The servers measured over HTTP, each in its own process: the complete service, and the bare route.

`python -m scripts.bench.workloads.servers serve …` is `tallystick serve …`, and `… bare-route FD` is the yardstick.
Both end when the benchmark ends, even by kill -9, because they hold a lifeline like the service's own processes.
"""

import os
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import IO, NamedTuple

import psutil

from domain.journal.database import Database
from projections.running.shares import Share
from scripts.bench.report.figures import BenchFailed
from scripts.bench.workloads.processes import environment
from scripts.serving.processes import BACKLOG, KEEP_ALIVE_SECONDS, hold_lifeline
from scripts.serving.surroundings import LIFELINE

READY_TIMEOUT_SECONDS = 30.0
STOP_TIMEOUT_SECONDS = 30.0
_PEAK = re.compile(r"^VmHWM:\s*(\d+) kB$", re.MULTILINE)
_READY = re.compile(r"Tallystick is ready on http://.*:(\d+)\n")
_TOLD_OF_LOG_CHARACTERS = 4_000
_MAX_LOG_BYTES = 1_000_000


class Server(NamedTuple):
    """The service or the bare route: its port, and the id of its process, the parent of the service's others."""

    port: int
    process_id: int

    def peak_resident_megabytes(self) -> float:
        """Return the peak resident memory of the API process in MB, or its current memory if the system has no peak."""
        api = self._child("api")
        status = Path(f"/proc/{api.pid}/status")
        found = _PEAK.search(status.read_text()) if status.exists() else None
        return int(found[1]) / 1024 if found else api.memory_info().rss / 1024**2

    def projector(self, share: Share) -> int:
        """Return the id of the process that has a share of the projections."""
        return self._child(f"projector {share.number} {share.of}").pid

    def _child(self, called: str) -> psutil.Process:
        """Return the process of the service that was started with arguments that begin like this."""
        command = f"scripts.serving.processes {called}"
        children = psutil.Process(self.process_id).children(recursive=True)
        (child,) = (child for child in children if command in " ".join(child.cmdline()))
        return child


@contextmanager
def service(database: Database, key: str, projectors: int = 1, workers: int = 1) -> Iterator[Server]:
    """`tallystick serve` on an ephemeral port with this many workers and projectors, once it is ready."""
    settings = {
        "TALLYSTICK_DATABASE_URL": database.url,
        "TALLYSTICK_SCHEMA": database.schema,
        "TALLYSTICK_BOOTSTRAP_KEY": key,
        "TALLYSTICK_WORKERS": str(workers),
        "TALLYSTICK_PROJECTORS": str(projectors),
    }
    with _process(["serve", "--host", "127.0.0.1", "--port", "0"], settings) as (process_id, log):
        yield Server(_announced_port(log), process_id)


@contextmanager
def bare_route() -> Iterator[Server]:
    """The bare route, on an ephemeral port."""
    with socket.create_server(("127.0.0.1", 0), backlog=BACKLOG) as listening:
        descriptor = listening.fileno()
        # Connections made before the server is up wait in the socket's backlog.
        with _process(["bare-route", str(descriptor)], {}, [descriptor]) as (process_id, _):
            yield Server(listening.getsockname()[1], process_id)


@contextmanager
def _process(
    arguments: Sequence[str], settings: Mapping[str, str], descriptors: Sequence[int] = ()
) -> Iterator[tuple[int, IO[bytes]]]:
    """A server's process: its id and its log file. If the benchmark fails, the end of the log is shown."""
    reading, writing = os.pipe()
    try:
        with (
            tempfile.TemporaryFile() as log,
            subprocess.Popen(
                [sys.executable, "-m", "scripts.bench.workloads.servers", *arguments],
                env=environment(**settings, **{LIFELINE: str(reading)}),
                pass_fds=[reading, *descriptors],
                stdout=log,
                stderr=log,
                # Not in the terminal's process group: Ctrl-C goes to the benchmark, which stops this process.
                start_new_session=True,
            ) as process,
        ):
            try:
                yield process.pid, log
            except BenchFailed as error:
                raise BenchFailed(f"{error}\n{_written(log)[-_TOLD_OF_LOG_CHARACTERS:]}") from error
            finally:
                _stop(process)
    finally:
        os.close(reading)
        os.close(writing)


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()


def _written(log: IO[bytes]) -> str:
    # At an explicit offset, because the file's own offset is where the server writes.
    return os.pread(log.fileno(), _MAX_LOG_BYTES, 0).decode(errors="replace")


def _announced_port(log: IO[bytes]) -> int:
    """Return the port in the line that says the service is ready."""
    deadline = monotonic() + READY_TIMEOUT_SECONDS
    while monotonic() < deadline:
        if found := _READY.search(_written(log)):
            return int(found[1])
        sleep(0.05)
    raise BenchFailed(f"the service was not ready after {READY_TIMEOUT_SECONDS:g} seconds")


def main() -> None:
    """Run the server named on the command line."""
    hold_lifeline()
    if sys.argv[1] == "bare-route":
        _run_bare_route(int(sys.argv[2]))
        return
    from scripts.tallystick import main as tallystick

    tallystick()


def _run_bare_route(listening: int) -> None:
    import uvicorn

    from scripts.bench.yardsticks.bare_route import create_bare_app

    # The same settings as in scripts/serving/processes.py.
    config = uvicorn.Config(
        create_bare_app(),
        loop="uvloop",
        http="httptools",
        log_level="warning",
        access_log=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
    )
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=listening)])


if __name__ == "__main__":
    main()
