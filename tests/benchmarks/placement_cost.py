"""What a transfer costs in processor time if the same load is spread over one, two or four installations.

`python -m tests.benchmarks.placement_cost [--connections 64] [--requests 8000] [--rounds 3] [--size 0] [N …]`

Each N is a service of its own on a PostgreSQL of its own, with one API process and a projector and a publisher for each
installation. All are driven in turns. Ratios within one run hold on a busy machine too; absolute figures do not. While
it is driven, `pg_locks` is sampled: a session that held locks in two schemas, or waited for a lock, would be reported.
"""

import argparse
import asyncio
import json
import os
import random
import tempfile
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import monotonic, sleep
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

_LOCKED = """
    SELECT l.pid, l.granted, coalesce(c.relnamespace::regnamespace::text, l.locktype)
    FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid) LEFT JOIN pg_class AS c ON c.oid = l.relation
    WHERE a.backend_type = 'client backend' AND l.pid <> pg_backend_pid()
    AND (NOT l.granted OR c.relnamespace::regnamespace::text LIKE 'part%')
"""


class Placed:
    """A running service over so many installations, each with a ledger of its own."""

    def __init__(self, installations: int, service: Service, postgres: EmbeddedPostgres) -> None:
        self.installations = installations
        self.service = service
        self.postgres = postgres
        self.schemas: defaultdict[int, set[str]] = defaultdict(set)
        self.waits: Counter[str] = Counter()
        self.used: defaultdict[str, float] = defaultdict(float)
        self.transfers = 0
        self.seconds = 0.0

    def processor_seconds(self) -> dict[tuple[str, int], float]:
        """The processor time that each process of the service and of its PostgreSQL has used."""
        found = {}
        for process in psutil.Process(self.service.process.pid).children(recursive=True):
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
        """Note what each session locks, and whether it waits."""
        with psycopg.connect(self.postgres.superuser_url, autocommit=True) as connection:
            while not stop.wait(0.05):
                for pid, granted, what in connection.execute(_LOCKED).fetchall():
                    if granted:
                        self.schemas[pid].add(what)
                    else:
                        self.waits[what] += 1

    def catch_up(self) -> None:
        """Wait until the projections of every installation have reached the head of its journal."""
        for number in range(self.installations):
            seconds_to_catch_up(Database(self.postgres.superuser_url, f"part{number}"))


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


async def drive(placed: Placed, connections: int, requests: int, size: int) -> None:
    """Send requests over some connections, one at a time on each."""
    made = [request_for(placed, number, size) for number in range(requests)]
    random.shuffle(made)
    left = iter(made)
    port = int(placed.service.url.rpartition(":")[2])

    async def send() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for request in left:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            status = int(head[9:12])
            assert status in (200, 201), head
            await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].split(b"\r")[0]))
        writer.close()

    await asyncio.gather(*(send() for _ in range(connections)))


def run_round(placed: Placed, connections: int, requests: int, size: int) -> None:
    """Drive a service once, and add up what it used until its projections had caught up."""
    stop = threading.Event()
    watching = threading.Thread(target=placed.watch, args=(stop,))
    with placed.measured() as used:
        watching.start()
        began = monotonic()
        asyncio.run(drive(placed, connections, requests, size))
        placed.seconds += monotonic() - began
        placed.catch_up()
        stop.set()
        watching.join()
    for role, seconds in used.items():
        placed.used[role] += seconds
    placed.transfers += requests * (size or 1)


@contextmanager
def placed_over(folder: Path, installations: int) -> Iterator[Placed]:
    """A service over so many installations."""
    named = {f"part{number}": {"schema": f"part{number}"} for number in range(installations)}
    os.environ["TALLYSTICK_INSTALLATIONS"] = json.dumps(named)
    with serving(folder / str(installations), "--projectors", "1") as service:
        yield Placed(installations, service, EmbeddedPostgres(folder / str(installations)))


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
    shared = [sorted(schemas) for schemas in placed.schemas.values() if len(schemas) > 1]
    typer.echo(
        f"  {len(placed.schemas)} sessions held locks; in several schemas: {shared}; waits seen: {dict(placed.waits)}"
    )
    return total


def main() -> None:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--requests", type=int, default=8_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", type=int, default=0)
    parser.add_argument("installations", type=int, nargs="*", default=[1, 2, 4])
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="placement-cost-") as folder, ExitStack() as stack:
        services = [
            stack.enter_context(placed_over(Path(folder), installations))
            for installations in given.installations
        ]
        for placed in services:
            open_books(placed)
            asyncio.run(drive(placed, given.connections, given.requests // 4, given.size))
        for _ in range(given.rounds):
            for placed in random.sample(services, len(services)):
                run_round(placed, given.connections, given.requests, given.size)
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
