"""`tallystick publish`: webhooks and NATS from one process, which ends when asked to."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from psycopg import Connection

from domain.journal.database import Database
from projections.read_models.outbox import PROJECTION
from projections.running.positions import progress
from tests.ledgers import open_accounts, outcomes, running, transfer
from tests.nats_server import serving_nats
from tests.outboxes import await_acknowledged, register
from tests.projecting import eventually, projecting
from tests.receiver import receiving
from tests.service import ROOT

pytestmark = pytest.mark.integration


def test_it_tells_receivers_and_the_broker_until_it_is_stopped(
    database: Database, owner: Connection[Any], tmp_path: Path
) -> None:
    with (
        serving_nats(tmp_path) as broker,
        receiving() as receiver,
        projecting(database, [PROJECTION]),
        running(database) as ledger,
        database.connect("test") as connection,
    ):
        hook = register(connection, receiver.url)
        settings = {"WEBHOOK_ALLOW_PRIVATE": "true", "WEBHOOK_ALLOW_HTTP": "true", "NATS_URL": broker.url}
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "scripts.tallystick", "publish"),
                *("--database-url", database.url, "--schema", database.schema),
            ],
            cwd=ROOT,
            env={**os.environ, **{f"TALLYSTICK_{name}": value for name, value in settings.items()}},
        )
        try:
            open_accounts(ledger, "a", "b")
            outcomes(ledger.execute(transfer("a", "b", 1)).result())
            head = ledger.head()
            await_acknowledged(connection, hook.id, head)
            # The command makes the first key of the installation, which is also an event.
            eventually(lambda: progress(owner, "nats").position >= head)
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
        finally:
            process.kill()
            process.wait()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PUBLIC_URL", "ledger.example"),
        ("WEBHOOK_TIMEOUT_SECONDS", "-7"),
        ("WEBHOOK_ALLOW_PRIVATE", "perhaps"),
        ("NATS_STREAM", "a.b"),
        ("NATS_SUBJECT", "a..b"),
    ],
)
def test_a_setting_that_makes_no_sense_is_named(name: str, value: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "scripts.tallystick", "publish", "--database-url", "postgresql://nowhere"],
        cwd=ROOT,
        env={**os.environ, f"TALLYSTICK_{name}": value},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 2
    assert f"TALLYSTICK_{name}" in ran.stderr and value not in ran.stderr
