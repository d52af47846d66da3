"""A steady load: a fixed number of transfers per second, each sent at its time even if earlier ones are unanswered.

Clients that wait for each answer would send less to a slow server and so hide its slowness. The project's own client
would take half of a processor at these rates, from a projector that is to be measured (load.py).
"""

import asyncio
import re
from collections.abc import Callable, Coroutine
from itertools import islice
from random import Random
from time import perf_counter
from typing import Any

from scripts.bench.report.figures import BenchFailed
from scripts.bench.workloads.load import UnexpectedAnswer, answer_size
from scripts.bench.workloads.requests import Plan, own_write, transfer_requests
from scripts.bench.workloads.transfers import Transfer, transfers

TIMEOUT_SECONDS = 60.0
_POSITION = re.compile(rb"^ledger-position: (\d+)\r$", re.MULTILINE | re.IGNORECASE)

Transferring = Callable[["Connections", Transfer], Coroutine[Any, Any, float]]
"""Makes a transfer over some connections. Returns how long the measured part took, in seconds."""


class Connections:
    """Open connections to the service, as many as there are requests at one time."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def ask(self, request: bytes, status: bytes) -> tuple[bytes, bytes]:
        """Send a request and return head and body of its answer.

        Raises `UnexpectedAnswer` if the status is wrong.
        """
        reader, writer = (
            self._idle.pop()
            if self._idle
            else await asyncio.open_connection("127.0.0.1", self.plan.port, limit=2**20)
        )
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        size = answer_size(head, status)
        assert size is not None
        body = await reader.readexactly(size - len(head))
        self._idle.append((reader, writer))
        return head, body

    def close(self) -> None:
        """Close all idle connections."""
        for _, writer in self._idle:
            writer.close()


async def transferred(connections: Connections, transfer: Transfer) -> float:
    """Make a transfer. Return how long it took, in seconds."""
    began = perf_counter()
    for request in transfer_requests(connections.plan, transfer):
        await connections.ask(request, b"201")
    return perf_counter() - began


async def waited_for(connections: Connections, transfer: Transfer) -> float:
    """Make a transfer and read it in an account's statement. Return how long the read took, in seconds.

    Raises `UnexpectedAnswer` if the statement lacks it.
    """
    plan = connections.plan
    (request,) = transfer_requests(plan, transfer)
    head, _ = await connections.ask(request, b"201")
    found = _POSITION.search(head)
    if found is None:
        raise UnexpectedAnswer("an answer to a transfer does not say its position")
    position = int(found[1])
    began = perf_counter()
    _, body = await connections.ask(own_write(plan, transfer, position), b"200")
    waited_seconds = perf_counter() - began
    if b'"position":%d,' % position not in body:
        raise UnexpectedAnswer(f"the statement lacks what was written at {position}: {body[:1000]!r}")
    return waited_seconds


def run_steadily(plan: Plan, rate_per_second: float, work: Transferring) -> tuple[float, list[float]]:
    """Make the transfers of a plan. Return the seconds this took and what was measured of each transfer.

    Raises `BenchFailed` if any was answered wrongly or too late.
    """
    import uvloop

    try:
        return uvloop.run(asyncio.wait_for(_run(plan, rate_per_second, work), TIMEOUT_SECONDS))
    except TimeoutError as error:
        raise BenchFailed(f"the steady load was not done after {TIMEOUT_SECONDS:g} seconds") from error
    except (UnexpectedAnswer, OSError, EOFError, asyncio.LimitOverrunError) as error:
        raise BenchFailed(f"the steady load failed: {error}") from error


async def _run(plan: Plan, rate_per_second: float, work: Transferring) -> tuple[float, list[float]]:
    connections = Connections(plan)
    wanted = islice(transfers(plan.accounts, Random(plan.seed)), plan.requests)
    began = perf_counter()
    try:
        under_way = []
        for number, transfer in enumerate(wanted):
            await asyncio.sleep(max(0.0, began + number / rate_per_second - perf_counter()))
            under_way.append(asyncio.create_task(work(connections, transfer)))
        measured = await asyncio.gather(*under_way)
        return perf_counter() - began, measured
    finally:
        connections.close()
