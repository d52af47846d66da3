"""The primary dies under load and its standby is promoted: nothing acknowledged is lost and nothing needs a restart.

Before that, the standby answers reads.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from urllib.parse import quote

import psycopg
import pytest

from api.client import Policy, credit, debit, expect_done
from api.client.synchronous import Tallystick
from scripts.serving.embedded_postgres import EmbeddedPostgres
from tests.projecting import eventually
from tests.service import KEY, ROOT, Service, serving
from tests.standbys import base_backup, home

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300)]

PAYERS = 4
PATIENT = Policy(deadline_seconds=120, last_deadline_seconds=120, attempt_seconds=5, max_attempts=1_000)
ACKNOWLEDGED_BEFORE = 50
ACKNOWLEDGED_AFTER = 50


@pytest.fixture
def primary(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(tmp_path / "a")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def standby(primary: EmbeddedPostgres, tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    """A standby that has every commit before the commit is acknowledged."""
    base_backup(tmp_path / "a", tmp_path / "b")
    server = EmbeddedPostgres(tmp_path / "b")
    server.start()
    with psycopg.connect(primary.superuser_url, autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
        connection.execute("SELECT pg_reload_conf()")
    yield server
    server.stop()


@pytest.fixture
def both(primary: EmbeddedPostgres, standby: EmbeddedPostgres, tmp_path: Path) -> str:
    """The URL that reaches whichever server is the primary."""
    hosts = ",".join(quote(str(home(tmp_path / name)), safe="") for name in "ab")
    return f"postgresql://tallystick@/postgres?host={hosts}&target_session_attrs=primary"


def pay(url: str, acknowledged: list[str], enough: int) -> None:
    with Tallystick(url, KEY, PATIENT) as tally:
        ledger = tally.ledger("main")
        while len(acknowledged) < enough:
            acknowledged.append(expect_done(ledger.post(debit("alice", 1), credit("bob", 1))).id)


def paid(url: str, enough: int, acknowledged: list[str]) -> list[Thread]:
    """Pay until this many payments in all are acknowledged."""
    payers = [Thread(target=pay, args=(url, acknowledged, enough)) for _ in range(PAYERS)]
    for payer in payers:
        payer.start()
    return payers


def only_reads(standby: EmbeddedPostgres, *command: str, may_warn: bool = False) -> str:
    """Run a read-only command on the standby and return its output."""
    done = subprocess.run(
        [sys.executable, "-m", "scripts.tallystick", *command, "--database-url", standby.url],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode <= may_warn, done.stdout + done.stderr
    return done.stdout


def test_a_standby_that_is_promoted_goes_on_with_all_that_was_acknowledged(
    both: str, primary: EmbeddedPostgres, standby: EmbeddedPostgres, tmp_path: Path
) -> None:
    acknowledged: list[str] = []
    with serving(tmp_path / "service", "--database-url", both) as service:
        with Tallystick(service.url, KEY) as tally:
            ledger = tally.open_ledger("main")
            for address in ("alice", "bob"):
                ledger.accounts.open(address, "USD/2", "credit")
        for payer in paid(service.url, ACKNOWLEDGED_BEFORE, acknowledged):
            payer.join()
        assert "Nothing is stuck" in only_reads(standby, "stuck")
        eventually(lambda: all_is_sealed(standby))
        only_reads(standby, "verify", "--live")
        only_reads(standby, "export", str(tmp_path / "exported.jsonl"))
        assert "bob" in only_reads(standby, "report", "trial-balance", "--ledger", "main")
        assert acknowledged[0] in only_reads(standby, "trace", acknowledged[0])
        assert "errors: 0" in only_reads(standby, "doctor", may_warn=True)

        payers = paid(service.url, len(acknowledged) + ACKNOWLEDGED_AFTER, acknowledged)
        assert primary.pid is not None
        os.kill(primary.pid, signal.SIGKILL)
        with psycopg.connect(standby.superuser_url, autocommit=True) as connection:
            connection.execute("SELECT pg_promote()")
        for payer in payers:
            payer.join()
        assert service.process.poll() is None

        with Tallystick(service.url, KEY) as tally:
            assert tally.ledger("main").accounts.get("bob").balance == len(acknowledged)
        assert projected_balance(service, "bob") == len(acknowledged)
        assert service.stop() == 0
    recorded = transactions(standby)
    assert len(recorded) == len(acknowledged)
    assert recorded == set(acknowledged)


def projected_balance(service: Service, address: str) -> object:
    """The projected balance of an account, once the projection has caught up with the account's confirmation read."""
    path = f"/v1/ledgers/main/accounts/{address}"
    with service.client() as client:
        head = client.get(path).headers["Ledger-Position"]
        projected = client.get(path, params={"consistency": "eventual", "min_position": head})
        assert projected.status_code == 200, projected.text
        return projected.json()["balance"]


def all_is_sealed(server: EmbeddedPostgres) -> bool:
    with psycopg.connect(server.url, options="-c search_path=tallystick") as connection:
        query = "SELECT max(size) = (SELECT position FROM head) FROM checkpoints"
        return connection.execute(query).fetchone() == (True,)


def transactions(server: EmbeddedPostgres) -> set[str]:
    with psycopg.connect(server.url) as connection:
        query = "SELECT split_part(originator_id, '/', 3) FROM tallystick.events WHERE topic = 'transaction.posted'"
        return {id for (id,) in connection.execute(query)}
