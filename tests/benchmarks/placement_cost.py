"""What a transfer costs in processor time in one, two or four installations.

`python -m tests.benchmarks.placement_cost [--connections 64] [--requests 8000] [--size 0] [--rate R] [N …]`

Without a rate, the same callers are spread over the installations. All of them are on this machine, so each has a part
of the load, and callers who would have shared a commit no longer do. With a rate, each installation gets as many
requests, and so many a second, whatever the others get: what it has on a machine of its own.

Each N is a service with one API process, and a PostgreSQL, a projector and a publisher for each installation. All are
driven in turns. Ratios within one run hold on a busy machine too; absolute figures do not. While one is driven, its
servers are sampled: whether a session waited for a lock, and which files the processes of two servers had open.
"""

import argparse
import asyncio
import json
import random
import tempfile
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep
from typing import NamedTuple
from uuid import uuid4

import psutil
import psycopg
import typer

from domain.journal.database import Database
from scripts.bench.workloads.catching_up import seconds_to_catch_up
from scripts.serving.embedded_postgres import EmbeddedPostgres
from tests.service import KEY, Service, serving

ACCOUNTS = 300
IDLE_SECONDS = 15.0

_WAITING = """
    SELECT coalesce(c.relname, l.locktype)
    FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid) LEFT JOIN pg_class AS c ON c.oid = l.relation
    WHERE a.backend_type = 'client backend' AND NOT l.granted
"""


class Placed:
    """A running service over installations, each with a ledger and a PostgreSQL of its own."""

    def __init__(self, service: Service, servers: Sequence[EmbeddedPostgres]) -> None:
        self.service = service
        self.servers = servers
        self.files: defaultdict[str, set[int]] = defaultdict(set)
        """The numbers of the servers that had a file open, for each file."""
        self.waits: Counter[str] = Counter()
        self.used: defaultdict[str, float] = defaultdict(float)
        self.transfers = 0
        self.seconds = 0.0

    @property
    def installations(self) -> int:
        """How many there are."""
        return len(self.servers)

    def processor_seconds(self) -> dict[tuple[str, int], float]:
        """The processor time that each process of the service and of its servers has used."""
        found = {}
        processes = psutil.Process(self.service.process.pid).children(recursive=True)
        for process in [*processes, *(process for server in self.servers for process in _processes(server))]:
            try:
                line, times = " ".join(process.cmdline()), process.cpu_times()
            except psutil.Error:
                continue
            role = "postgres" if line.startswith("postgres") else line.partition("serving.processes ")[2]
            found[role.partition(" ")[0], process.pid] = times.user + times.system
        return found

    @contextmanager
    def measured(self) -> Iterator[defaultdict[str, float]]:
        """The processor time used within, by role."""
        before: dict[tuple[str, int], float] = self.processor_seconds()
        used: defaultdict[str, float] = defaultdict(float)
        yield used
        for named, seconds in self.processor_seconds().items():
            used[named[0]] += seconds - before.get(named, 0.0)

    def watch(self, stop: threading.Event) -> None:
        """Note what sessions wait for, and which files each server has open."""
        with ExitStack() as stack:
            sessions = [
                stack.enter_context(psycopg.connect(server.superuser_url, autocommit=True))
                for server in self.servers
            ]
            while not stop.wait(0.05):
                for session in sessions:
                    self.waits.update(what for (what,) in session.execute(_WAITING).fetchall())
        for number, server in enumerate(self.servers):
            for process in _processes(server):
                with suppress(psutil.Error):
                    for file in process.open_files():
                        self.files[file.path].add(number)

    def catch_up(self) -> None:
        """Wait until the projections of every installation have reached the head of its journal."""
        for server in self.servers:
            seconds_to_catch_up(Database(server.superuser_url))


def _processes(server: EmbeddedPostgres) -> list[psutil.Process]:
    postmaster = psutil.Process(server.pid)
    return [postmaster, *postmaster.children()]


class Load(NamedTuple):
    """What a round sends."""

    connections: int
    requests: int
    size: int
    """So many transfers are a batch; at 0 each is a request of its own."""
    rate: float | None
    """So many requests a second go to each installation; at None, as many as are answered."""

    def requests_to(self, placed: Placed) -> int:
        """How many requests a round has, for all installations."""
        return self.requests * (1 if self.rate is None else placed.installations)


def open_books(placed: Placed) -> None:
    """Open a ledger in each installation, with accounts that may go below zero."""
    with placed.service.client(60.0) as client:
        for number in range(placed.installations):
            made = {"name": f"book{number}", "installation": f"part{number}"}
            assert client.post("/v1/ledgers", json=made).status_code in (200, 201)
            for n in range(ACCOUNTS):
                account = {"address": f"a{n}", "asset": "USD/2", "normal_side": "credit", "min_balance": None}
                assert client.post(f"/v1/ledgers/book{number}/accounts", json=account).status_code == 201


def request_for(placed: Placed, number: int, size: int) -> bytes:
    """A request to a ledger: a transfer, or a batch of so many."""

    def entries() -> list[dict[str, object]]:
        debited, credited = random.sample(range(ACCOUNTS), 2)
        return [
            {"account": f"a{debited}", "direction": "debit", "amount": 1},
            {"account": f"a{credited}", "direction": "credit", "amount": 1},
        ]

    path = f"/v1/ledgers/book{number % placed.installations}/transactions"
    if size:
        items = [{"idempotency_key": str(uuid4()), "entries": entries()} for _ in range(size)]
        body, path = json.dumps({"mode": "independent", "transactions": items}), f"{path}/batch"
    else:
        body = json.dumps({"entries": entries()})
    head = (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nIdempotency-Key: {uuid4()}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return (head + body).encode()


async def drive(placed: Placed, load: Load) -> None:
    """Send requests over some connections, one at a time on each."""
    made = [request_for(placed, number, load.size) for number in range(load.requests_to(placed))]
    if load.rate is None:
        random.shuffle(made)
    pause_seconds = 1 / (load.rate * placed.installations) if load.rate else 0.0
    began_at = monotonic()
    left = iter(enumerate(made))
    port = int(placed.service.url.rpartition(":")[2])

    async def send() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for number, request in left:
            await asyncio.sleep(began_at + number * pause_seconds - monotonic())
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            status = int(head[9:12])
            assert status in (200, 201), head
            await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].split(b"\r")[0]))
        writer.close()

    await asyncio.gather(*(send() for _ in range(load.connections)))


def run_round(placed: Placed, load: Load) -> None:
    """Drive a service once, and add up what it used until its projections had caught up."""
    stop = threading.Event()
    watching = threading.Thread(target=placed.watch, args=(stop,))
    with placed.measured() as used:
        watching.start()
        began = monotonic()
        asyncio.run(drive(placed, load))
        placed.seconds += monotonic() - began
        placed.catch_up()
        stop.set()
        watching.join()
    for role, seconds in used.items():
        placed.used[role] += seconds
    placed.transfers += load.requests_to(placed) * (load.size or 1)


@contextmanager
def placed_over(folder: Path, installations: int) -> Iterator[Placed]:
    """A service over so many installations."""
    with ExitStack() as stack:
        servers = [EmbeddedPostgres(folder / f"{installations}-{number}") for number in range(installations)]
        for server in servers:
            server.start()
            stack.callback(server.stop)
        named = {f"part{number}": {"database_url": server.url} for number, server in enumerate(servers)}
        settings = {"TALLYSTICK_INSTALLATIONS": json.dumps(named)}
        service = stack.enter_context(
            serving(folder / str(installations), "--projectors", "1", settings=settings)
        )
        yield Placed(service, servers)


def report(placed: Placed, per_transfer_of_one: float) -> float:
    """Print what a transfer cost; return it in microseconds."""
    each = {role: seconds / placed.transfers * 1e6 for role, seconds in placed.used.items()}
    total = sum(each.values())
    roles = ", ".join(f"{role} {cost:.1f}" for role, cost in sorted(each.items(), key=lambda of: -of[1]))
    ratio = total / (per_transfer_of_one or total)
    rate = placed.transfers / placed.seconds
    typer.echo(
        f"{placed.installations} installations: {total:.1f} µs a transfer ({ratio:.3f}): {roles}; {rate:,.0f}/s"
    )
    shared = [file for file, servers in placed.files.items() if len(servers) > 1]
    typer.echo(
        f"  {len(placed.files)} files open; in several servers: {shared}; waits seen: {dict(placed.waits)}"
    )
    return total


def main() -> None:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--requests", type=int, default=8_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", type=int, default=0)
    parser.add_argument("--rate", type=float)
    parser.add_argument("installations", type=int, nargs="*", default=[1, 2, 4])
    given = parser.parse_args()
    load = Load(given.connections, given.requests, given.size, given.rate)
    with tempfile.TemporaryDirectory(prefix="placement-cost-") as folder, ExitStack() as stack:
        services = [
            stack.enter_context(placed_over(Path(folder), installations))
            for installations in given.installations
        ]
        for placed in services:
            open_books(placed)
            asyncio.run(drive(placed, load._replace(requests=given.requests // 4)))
        for _ in range(given.rounds):
            for placed in random.sample(services, len(services)):
                run_round(placed, load)
        for placed in services:
            with placed.measured() as used:
                sleep(IDLE_SECONDS)
            idle = {role: f"{seconds / IDLE_SECONDS:.2%}" for role, seconds in used.items()}
            typer.echo(f"{placed.installations} installations idle: {idle} of a processor")
        of_one = 0.0
        for placed in services:
            of_one = report(placed, of_one) if not of_one else (report(placed, of_one), of_one)[1]


if __name__ == "__main__":
    main()
