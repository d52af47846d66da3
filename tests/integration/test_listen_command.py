"""`tallystick listen`: takes what the publisher sends, tells what is signed, and sends it again to a local receiver."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from domain.journal.database import Database
from scripts import endings
from tests.ledgers import open_accounts, running
from tests.outboxes import await_acknowledged, await_states, deliveries, publishing, register
from tests.projecting import eventually, projecting
from tests.receiver import receiving
from tests.service import ROOT
from tests.simulating import SECRET as OTHER_SECRET
from tests.simulating import free_port

pytestmark = pytest.mark.integration
COMMAND = [sys.executable, "-m", "scripts.tallystick", "listen"]


@contextmanager
def listening(port: int, output: Path, *options: str) -> Iterator[str]:
    """The command in a process, printing into a file. Yields its address once it receives."""
    with output.open("w") as printed:
        process = subprocess.Popen(
            [*COMMAND, "--port", str(port), *options],
            cwd=ROOT,
            stdout=printed,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None
        try:
            yield process.stderr.readline().split()[-1]
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                assert process.wait(30) == endings.DONE
            finally:
                process.kill()
                process.stderr.close()


def replay(file: Path, to: str, *options: str) -> "subprocess.CompletedProcess[str]":
    command = [*COMMAND, "--replay", str(file), "--to", to, *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_it_receives_verifies_and_sends_again(database: Database, tmp_path: Path) -> None:
    port, output = free_port(), tmp_path / "received.ndjson"
    with (
        running(database) as ledger,
        projecting(database),
        publishing(database),
        database.connect("test") as connection,
    ):
        hook = register(connection, f"http://127.0.0.1:{port}/hooks")
        with listening(port, output, "--json", "--secret", hook.secret):
            open_accounts(ledger, "a", "b")
            eventually(lambda: len(deliveries(connection, hook.id)) == 4)
            await_acknowledged(connection, hook.id)
    received = [json.loads(line) for line in output.read_text().splitlines()]
    assert all(each["is_verified"] is True and each["path"] == "/hooks" for each in received)
    bodies: list[dict[str, Any]] = [json.loads(each["body"]) for each in received]
    assert {body["type"] for body in bodies} == {"ledger.opened", "ledger.asset_registered", "account.opened"}
    with receiving() as receiver:
        again = replay(output, receiver.url, "--last", "2", "--secret", hook.secret)
        assert again.returncode == endings.DONE, again.stderr
        assert receiver.ids() == [each["headers"]["webhook-id"] for each in received[-2:]]
        assert [each.verified(hook.secret) for each in receiver.received] == bodies[-2:]
    # Nobody is there any more.
    nobody = replay(output, receiver.url)
    assert nobody.returncode == endings.ERRORS and "does not answer" in nobody.stderr
    output.write_text("no json\n")
    assert replay(output, receiver.url).returncode == endings.ERRORS


def test_it_answers_as_told_and_refuses_what_others_signed(database: Database, tmp_path: Path) -> None:
    port, output = free_port(), tmp_path / "received.txt"
    with (
        running(database) as ledger,
        projecting(database),
        publishing(database),
        database.connect("test") as connection,
    ):
        hook = register(connection, f"http://127.0.0.1:{port}/", types=("ledger.opened",))
        with listening(port, output, "--status", "410") as url:
            assert httpx2.post(url, content=b"\xff", trust_env=False).status_code == 410
            open_accounts(ledger, "a")
            await_states(connection, hook.id, "pending", count=1)
            eventually(lambda: "ledger.opened" in output.read_text())
        assert "not checked" in output.read_text()
        with listening(port, output, "--secret", OTHER_SECRET) as url:
            assert httpx2.post(url, content=b"{}", trust_env=False).status_code == 401
            assert httpx2.get(url, trust_env=False).status_code == 501
    assert "NOT VERIFIED" in output.read_text()
