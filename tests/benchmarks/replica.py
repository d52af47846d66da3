"""How long a caller waits for its own write in a list: at the primary and through a replica, in turns of one run.

`python -m tests.benchmarks.replica --transfers 200 --seconds 20` starts a primary, a standby and the services of both,
and prints milliseconds. Beside them is the replication lag alone: from the answer to a write until the standby shows
it.
"""

import argparse
import os
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from statistics import quantiles
from time import monotonic, perf_counter, sleep
from typing import Any
from uuid import uuid4

import httpx2
import psycopg

from scripts.serving.embedded_postgres import EmbeddedPostgres
from tests.integration.replicas.pairs import servers
from tests.service import post_account, post_ledger, serving, transfer_body

Probe = Callable[[int], None]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--transfers", type=int, default=200, help="transfers a second beside the measured ones"
    )
    parser.add_argument("--seconds", type=float, default=20.0, help="how long to measure")
    options = parser.parse_args()
    made = tempfile.TemporaryDirectory(prefix="tallystick-replica-")
    with made as folder, servers(Path(folder)) as (primary, standby):
        measure(Path(folder), primary, standby, options.transfers, options.seconds)


def measure(
    folder: Path, primary: EmbeddedPostgres, standby: EmbeddedPostgres, transfers: int, seconds: float
) -> None:
    """Measure the three in turns, while others write."""
    with serving(folder / "first", "--database-url", primary.superuser_url) as first:
        with first.client() as client:
            post_ledger(client)
            for address in ("a", "b"):
                post_account(client, address)
        os.environ |= {
            "TALLYSTICK_PRIMARY_URL": first.url,
            "TALLYSTICK_FORWARD": "true",
            "TALLYSTICK_READ_ONLY": "true",
        }
        with serving(folder / "second", "--database-url", standby.superuser_url) as second:
            copied = psycopg.connect(standby.superuser_url, autocommit=True)
            with second.client() as reader, first.client() as writer, copied as copy:
                stop = threading.Event()
                load = threading.Thread(target=write_on, args=(first.client(), transfers, stop))
                load.start()
                probes: dict[str, Probe] = {
                    "list at the primary": lambda position: read(writer, position),
                    "list through the replica": lambda position: read(reader, position),
                    "replication alone": lambda position: follow(copy, position),
                }
                report(in_turns(writer, probes, seconds))
                stop.set()
                load.join()


def in_turns(writer: httpx2.Client, probes: dict[str, Probe], seconds: float) -> dict[str, list[float]]:
    """Return the milliseconds of each probe, from the answer to a write until the probe has seen it."""
    found: dict[str, list[float]] = {name: [] for name in probes}
    until = monotonic() + seconds
    while monotonic() < until:
        for name, probe in probes.items():
            position = write(writer)
            began = perf_counter()
            probe(position)
            found[name].append((perf_counter() - began) * 1000)
    return found


def write(client: httpx2.Client) -> int:
    """Make a transfer; return its position."""
    path, headers = "/v1/ledgers/main/transactions", {"Idempotency-Key": uuid4().hex}
    answer = client.post(path, json=transfer_body("a", "b", 1), headers=headers)
    return int(answer.headers["Ledger-Position"])


def read(client: httpx2.Client, position: int) -> None:
    """Read a list that shows a position."""
    asked: dict[str, Any] = {"min_position": position, "page_size": 1, "order": "desc"}
    answer = client.get("/v1/ledgers/main/transactions", params=asked)
    assert answer.status_code == 200, answer.text


def follow(copy: psycopg.Connection[tuple[int]], position: int) -> None:
    """Wait until the standby's journal has a position."""
    while copy.execute("SELECT position FROM tallystick.head").fetchone() < (position,):  # type: ignore[operator]
        sleep(0.0005)


def write_on(client: httpx2.Client, transfers: int, stop: threading.Event) -> None:
    """Make transfers at a steady rate."""
    due = monotonic()
    with client:
        while transfers and not stop.is_set():
            write(client)
            due += 1 / transfers
            sleep(max(0.0, due - monotonic()))


def report(found: dict[str, list[float]]) -> None:
    """Print what was found."""
    for name, times in found.items():
        cuts = quantiles(times, n=100)
        print(f"{name:26} {len(times):5} times  p50 {cuts[49]:6.1f} ms  p99 {cuts[98]:6.1f} ms")  # noqa: T201


if __name__ == "__main__":
    main()
