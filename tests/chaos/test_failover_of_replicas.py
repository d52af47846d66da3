"""The primary dies under load, its standby is promoted, and a replica that reads the standby goes on all the while.

Whoever wrote reads its own write there by its position, before, during and after.
"""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from urllib.parse import quote

import psycopg
import pytest

from api.client import Policy, credit, debit, expect_done
from api.client.synchronous import Tallystick
from scripts.serving.embedded_postgres import EmbeddedPostgres
from tests.service import KEY, Service, serving
from tests.standbys import base_backup, home

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300)]

WRITERS = 3
PATIENT = Policy(deadline_seconds=120, last_deadline_seconds=120, attempt_seconds=5, max_attempts=1_000)
READS_BEFORE = 30
READS_AFTER = 30


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[tuple[EmbeddedPostgres, EmbeddedPostgres]]:
    """A primary and a standby that has every commit before the commit is acknowledged."""
    primary, standby = EmbeddedPostgres(tmp_path / "a"), EmbeddedPostgres(tmp_path / "b")
    primary.start()
    try:
        base_backup(tmp_path / "a", tmp_path / "b")
        standby.start()
        with psycopg.connect(primary.superuser_url, autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            connection.execute("SELECT pg_reload_conf()")
        yield primary, standby
    finally:
        standby.stop()
        primary.stop()


def write_and_read(replica: Service, read: list[int], enough: int) -> None:
    """Write through a replica and read each write there, until this many were read in all."""
    with Tallystick(replica.url, KEY, PATIENT) as tally, replica.client(timeout_seconds=60.0) as client:
        ledger = tally.ledger("main")
        while len(read) < enough:
            posted = expect_done(ledger.post(debit("a", 1), credit("b", 1)))
            read.append(read_own(client, posted.id, posted.position))


def read_own(client: object, id: str, position: int) -> int:
    """Return the head that the list stated which showed a transaction, as soon as there is one that reflects it."""
    path, asked = "/v1/ledgers/main/transactions", {"min_position": position, "order": "desc"}
    while True:
        listed = client.get(path, params=asked, headers={"Prefer": "wait=5"})  # type: ignore[attr-defined]
        if listed.status_code == 200:
            assert id in [shown["id"] for shown in listed.json()["data"]]
            assert int(listed.headers["Ledger-Position"]) >= position
            return int(listed.headers["Ledger-Head"])
        assert listed.status_code == 503, listed.text


def started(replica: Service, read: list[int], enough: int) -> list[Thread]:
    writers = [Thread(target=write_and_read, args=(replica, read, enough)) for _ in range(WRITERS)]
    for writer in writers:
        writer.start()
    return writers


def test_a_replica_shows_each_its_own_writes_through_a_failover(
    servers: tuple[EmbeddedPostgres, EmbeddedPostgres], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    primary, standby = servers
    hosts = ",".join(quote(str(home(tmp_path / name)), safe="") for name in "ab")
    both = f"postgresql://tallystick@/postgres?host={hosts}&target_session_attrs=primary"
    read: list[int] = []
    with serving(tmp_path / "service", "--database-url", both) as service:
        with Tallystick(service.url, KEY) as tally:
            ledger = tally.open_ledger("main")
            for address in ("a", "b"):
                ledger.accounts.open(address, "USD/2", "credit")
        monkeypatch.setenv("TALLYSTICK_PRIMARY_URL", service.url)
        monkeypatch.setenv("TALLYSTICK_FORWARD", "true")
        with serving(tmp_path / "replica", "--database-url", standby.url, "--read-only") as replica:
            for writer in started(replica, read, READS_BEFORE):
                writer.join()
            writers = started(replica, read, len(read) + READS_AFTER)
            assert primary.pid is not None
            os.kill(primary.pid, signal.SIGKILL)
            with replica.client() as client:  # nobody is primary now
                assert client.get("/v1/ledgers/main/transactions").status_code == 200
            with psycopg.connect(standby.superuser_url, autocommit=True) as connection:
                connection.execute("SELECT pg_promote()")
            for writer in writers:
                writer.join()
            assert len(read) >= READS_BEFORE + READS_AFTER
            with Tallystick(replica.url, KEY) as tally:
                assert tally.ledger("main").accounts.get("b").balance == len(read)
            assert not [line for line in replica.output if "went back" in line]
            assert replica.stop() == 0
