"""kill -9 of rebuilding processes while money moves and is read: every rebuild ends, reads never stop and are never
stale.

Every run does a short round. `TALLYSTICK_KILLS=10` makes ten, each at a random moment of a rebuild of everything.
"""

import os
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import httpx2
import psutil
import pytest

from domain.journal.database import Database
from projections.audit import differences
from projections.rebuilding.division import SHORT_EVENTS
from projections.registry import PROJECTIONS
from scripts.serving.embedded_postgres import EmbeddedPostgres
from tests.ledgers import open_accounts, outcomes, running, transfer
from tests.service import Service, serving, transfer_body

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(1800)]

KILLS = int(os.environ.get("TALLYSTICK_KILLS", "3"))
ADDRESSES = [f"users:{number}" for number in range(50)]
POST_EVERY_SECONDS = 0.05
PATIENCE_SECONDS = 120.0
# Longer than a projector takes to restart, so that a read at a named position is answered.
WAIT = {"Prefer": "wait=30"}


def post_many(database: Database) -> None:
    """Write a journal long enough to be filled by several processes."""
    chance = random.Random(11)
    with running(database) as ledger:
        open_accounts(ledger, *ADDRESSES)
        while ledger.head() <= SHORT_EVENTS:
            pairs = [chance.sample(ADDRESSES, 2) for _ in range(1000)]
            commands = [transfer(debited, credited, chance.randint(1, 99)) for debited, credited in pairs]
            outcomes(ledger.execute(*commands).result())


class Customers:
    """Customers who move money at a moderate rate and read each movement at its position."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._stop = threading.Event()
        self.read = 0
        self.faults: list[str] = []

    @contextmanager
    def busy(self, count: int = 2) -> Iterator[None]:
        """Keep them busy for as long as this lasts."""
        threads = [threading.Thread(target=self._run, args=(number,)) for number in range(count)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in threads:
                thread.join(PATIENCE_SECONDS)
            assert not any(thread.is_alive() for thread in threads)

    def _run(self, number: int) -> None:
        chance = random.Random(number)
        with self._service.client(60.0) as client:
            while not self._stop.wait(POST_EVERY_SECONDS):
                try:
                    debited, credited = chance.sample(ADDRESSES, 2)
                    self._move_and_read(client, debited, credited, f"{number}-{chance.random()}")
                except (httpx2.TransportError, AssertionError) as fault:
                    self.faults.append(repr(fault))

    def _move_and_read(self, client: httpx2.Client, debited: str, credited: str, key: str) -> None:
        body = transfer_body(debited, credited, 5)
        moved = client.post("/v1/ledgers/main/transactions", json=body, headers={"Idempotency-Key": key})
        assert moved.status_code == 201, moved.text
        position = int(moved.headers["Ledger-Position"])
        at = {"min_position": position}
        entries = self._read(
            client, f"accounts/{debited}/entries", {**at, "order": "desc", "page_size": 1}, position
        )
        # Others may have moved money since, but later entries have higher positions.
        assert entries["data"][0]["position"] >= position, entries
        account = self._read(client, f"accounts/{debited}", {**at, "consistency": "eventual"}, position)
        assert account["position"] >= position - 2, account
        listed = self._read(client, "transactions", {**at, "order": "desc", "page_size": 1}, position)
        assert listed["data"][0]["position"] >= position, listed
        self.read += 1

    def _read(self, client: httpx2.Client, path: str, query: dict[str, Any], position: int) -> Any:
        answer = client.get(f"/v1/ledgers/main/{path}", params=query, headers=WAIT)
        assert answer.status_code == 200, answer.text
        assert int(answer.headers["Ledger-Position"]) >= position, answer.headers
        return answer.json()


def shown(client: httpx2.Client) -> dict[str, Any]:
    found = client.get("/v1/projections").json()["data"]
    return {projection["name"]: projection for projection in found}


def await_rebuilt(client: httpx2.Client, former: dict[str, Any]) -> dict[str, Any]:
    """Wait until every projection has a new version. Until then no read may be refused."""
    give_up_at = monotonic() + PATIENCE_SECONDS
    while True:
        seen = shown(client)
        for name, projection in seen.items():
            rebuild = projection["rebuild"]
            assert rebuild is None or rebuild["state"] not in ("differing", "failed"), rebuild
            assert projection["state"] == "running", projection
            assert (rebuild is None) == (projection["version"] != former[name]["version"]), projection
        if all(projection["rebuild"] is None for projection in seen.values()):
            return seen
        assert monotonic() < give_up_at, seen
        sleep(0.1)


def victims(service: Service) -> list[psutil.Process]:
    """The rebuilding processes: the projector and its part processes."""
    return service.processes("scripts.serving.processes", "projector") + service.processes(
        "projections.rebuilding.part"
    )


def test_whoever_rebuilds_may_be_killed(tmp_path: Path) -> None:
    chance = random.Random()
    killed: list[str] = []
    with serving(tmp_path / "data") as service:
        database = Database(EmbeddedPostgres(tmp_path / "data").url)
        post_many(database)
        customers = Customers(service)
        with service.client(60.0) as client, customers.busy():
            seen = shown(client)
            while len(killed) < KILLS:
                former = seen
                for name in PROJECTIONS:
                    asked = client.post(f"/v1/projections/{name}/rebuild", json={"reason": "chaos"})
                    assert asked.status_code == 202, asked.text
                    assert asked.json()["rebuild"]["reason"] == "chaos"
                sleep(chance.uniform(0.2, 4.0))
                victim = chance.choice(victims(service))
                killed.append(" ".join(victim.cmdline()[-2:]))
                victim.kill()
                seen = await_rebuilt(client, former)
        assert not customers.faults, (customers.faults, killed)
        assert customers.read > 0
        with database.connect("test audit") as connection:
            assert differences(connection) == [], killed
        # The part processes of the killed projector have ended with it.
        assert not service.processes("projections.rebuilding.part")
        assert service.stop() == 0
