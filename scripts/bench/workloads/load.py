"""The HTTP load: `python -m scripts.bench.workloads.load` takes a plan as JSON and prints the figures.

It is a separate process and does as little as possible, because on a small machine the client competes with the server.
So it is not the project's own client (`api/client`), which takes sixty times as much of a processor for a request: 1.1
ms where this takes 19 µs. At 64 connections that client would be what is measured.

Requests are encoded before the clock starts, and only status, length and number of items of an answer are checked.
HTTP/1.1, keep-alive, one request at a time on each connection.
"""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from time import perf_counter, process_time
from typing import Any, cast

from scripts.bench.report.figures import BenchFailed, Measurement
from scripts.bench.workloads.processes import environment
from scripts.bench.workloads.requests import Expected, Plan, expected, requests

TIMEOUT_SECONDS = 60.0
_HEAD_END = b"\r\n\r\n"
_LENGTH = b"content-length: "


class UnexpectedAnswer(Exception):
    """An answer is not the one requested."""


def run_load(plan: Plan) -> Measurement:
    """Run a plan in its own process. Raises `BenchFailed` if any request got a wrong answer."""
    command = [sys.executable, "-m", "scripts.bench.workloads.load"]
    with subprocess.Popen(
        command,
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        # Not in the terminal's process group: Ctrl-C goes to the benchmark, which ends this process.
        start_new_session=True,
    ) as process:
        try:
            answer, _ = process.communicate(json.dumps(plan._asdict()), timeout=TIMEOUT_SECONDS + 30)
        except subprocess.TimeoutExpired as error:
            raise BenchFailed("the HTTP load did not end in time") from error
        finally:
            process.kill()
    if process.returncode != 0:
        raise BenchFailed(f"the HTTP load ended with status {process.returncode}")
    measured: dict[str, Any] = json.loads(answer)
    if "error" in measured:
        raise BenchFailed(f"the HTTP load failed: {measured['error']}")
    return Measurement(measured.pop("answers") * plan.units, measured.pop("seconds"), measured)


def main() -> None:
    """Run the plan on standard input."""
    import uvloop

    plan = Plan(**json.load(sys.stdin))
    try:
        run = uvloop.run(asyncio.wait_for(_drive(plan), TIMEOUT_SECONDS))
    except TimeoutError:
        measured: dict[str, Any] = {"error": f"not done after {TIMEOUT_SECONDS:g} seconds"}
    except (UnexpectedAnswer, OSError) as error:
        measured = {"error": str(error)}
    else:
        measured = run.measured()
    json.dump(measured, sys.stdout)


def percentiles(latencies_seconds: Sequence[float]) -> dict[str, float]:
    """Return the latencies within which 50, 95, 99 and 100 percent of requests were answered, in milliseconds."""
    ordered = sorted(latencies_seconds)
    last = len(ordered) - 1
    return {f"p{share}_milliseconds": ordered[last * share // 100] * 1000 for share in (50, 95, 99, 100)}


async def _drive(plan: Plan) -> "Run":
    loop = asyncio.get_running_loop()
    run = Run(list(islice(requests(plan), plan.requests)), expected(plan), loop.create_future())
    clients = [
        (await loop.create_connection(lambda: Client(run), "127.0.0.1", plan.port))[1]
        for _ in range(min(plan.connections, plan.requests))
    ]
    run.begin()
    for client in clients:
        client.send()
    await run.done
    run.end()
    for client in clients:
        client.close()
    return run


class Run:
    """What all connections share: the remaining requests, the expected answer, the latencies so far, and the end."""

    def __init__(
        self, asked: Sequence[Sequence[bytes]], wanted: Expected, done: "asyncio.Future[None]"
    ) -> None:
        self.requests = iter(asked)
        self.count = sum(map(len, asked))
        self.wanted = wanted
        self.latencies: list[float] = []
        self.done = done
        self._seconds = 0.0
        self._processor_seconds = 0.0

    def begin(self) -> None:
        """Start the clocks."""
        self._seconds, self._processor_seconds = -perf_counter(), -process_time()

    def end(self) -> None:
        """Stop the clocks."""
        self._seconds += perf_counter()
        self._processor_seconds += process_time()

    def measured(self) -> dict[str, float]:
        """Return the number of answers, the seconds they took, the client's own share of a processor, and the
        latencies.
        """
        return {
            "answers": self.count,
            "seconds": self._seconds,
            "client_processor_seconds": self._processor_seconds,
            **percentiles(self.latencies),
        }

    def answered(self, latency_seconds: float) -> None:
        """Count an answer."""
        self.latencies.append(latency_seconds)
        if len(self.latencies) == self.count:
            self.done.set_result(None)

    def fail(self, reason: str) -> None:
        """End the run, because its figures would mean nothing."""
        if not self.done.done():
            self.done.set_exception(UnexpectedAnswer(reason))


class Client(asyncio.Protocol):
    """One connection: sends a request, waits for its answer, sends the next."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._together: Iterator[bytes] = iter(())
        self._received = b""
        self._sent_at = 0.0
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        # uvloop's transports inherit from none of asyncio's classes.
        self._transport = cast(asyncio.Transport, transport)

    def send(self) -> None:
        """Send the next request, if there is one."""
        following = next(self._together, None)
        if following is None:
            self._together = iter(next(self._run.requests, ()))
            following = next(self._together, None)
        if following is not None:
            self._sent_at = perf_counter()
            self._transport.write(following)

    def data_received(self, data: bytes) -> None:
        """Take an answer, whole or in parts."""
        received = self._received + data if self._received else data
        try:
            size = answer_size(received, self._run.wanted.status)
        except UnexpectedAnswer as error:
            self._run.fail(str(error))
            return
        if size is None or len(received) < size:
            self._received = received
            return
        self._received = b""
        latency_seconds = perf_counter() - self._sent_at
        if self._run.wanted.are_in(received):
            self._run.answered(latency_seconds)
            self.send()
        else:
            self._run.fail(f"not every item is as wanted: {received[:1000].decode(errors='replace')}")

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail the run unless it is over."""
        self._run.fail(f"the server closed a connection: {exc or 'end of file'}")

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()


def answer_size(received: bytes, status: bytes) -> int | None:
    """Return the size of the answer that begins here, in bytes. None while its head is not complete.

    Raises `UnexpectedAnswer` if the status is wrong or no length is stated.
    """
    end = received.find(_HEAD_END)
    if end < 0:
        return None
    at = received.find(_LENGTH, 0, end)
    if received[9:12] != status or at < 0:
        raise UnexpectedAnswer(f"unexpected answer: {received[:1000].decode(errors='replace')}")
    stop = received.find(b"\r\n", at)
    return end + len(_HEAD_END) + int(received[at + len(_LENGTH) : stop])


if __name__ == "__main__":
    main()
