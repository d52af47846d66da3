"""A real installation under watch: its parts as processes that a test stops and starts, and its runbook."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil
import psycopg
import pytest
from typer.testing import Result

from domain.journal.database import Database
from scripts.tallystick import application
from tests.commands import invoke
from tests.databases import Databases
from tests.integration.monitoring.hasty_rules import hasty_rules
from tests.integration.monitoring.hour_old_journal import Owed, Receivers, write
from tests.integration.monitoring.prometheus import Prometheus, watching
from tests.lifeline import ends_with_the_tests
from tests.nats_server import NatsServer, serving_nats
from tests.projecting import eventually
from tests.receiver import receiving
from tests.runbook import row_of
from tests.service import ROOT, Service, start, transfer_body
from tests.simulating import free_port, provider_at, simulating

PROVIDERS = "TALLYSTICK_PROVIDERS"
CLIENTS = 3


class Installation:
    """An installation of which only the API runs. Its journal is an hour old.

    `providers` are those that the API knows, by name; it does not know the provider `bank`.
    """

    def __init__(
        self, database: Database, folder: Path, receivers: Receivers, providers: dict[str, dict[str, Any]]
    ) -> None:
        self.database = database
        self.receivers = receivers
        self.providers = providers
        self.owed: Owed = write(database, receivers)
        self.owner: psycopg.Connection[Any] = database.connect_as_owner("test owner")
        self.stranger: psycopg.Connection[Any] = database.connect_as_owner("nightly report")
        self._folder = folder
        self._port = free_port()
        self._parts: list[subprocess.Popen[bytes]] = []
        self._clients = ThreadPoolExecutor(CLIENTS)
        self._writes: list[Future[None]] = []
        self.serve()

    def serve(self) -> None:
        """Start the API, always on the same port."""
        os.environ[PROVIDERS] = json.dumps(self.providers)
        options = ["--no-projector", "--port", str(self._port)]
        self.service: Service = start(self._folder / "data", *options, *self.options)

    @property
    def options(self) -> list[str]:
        """What every command is told of the database."""
        return ["--database-url", self.database.url, "--schema", self.database.schema]

    def start_part(self, command: str) -> None:
        """Start `tallystick project` or `publish`, as a process of its own."""
        program = [sys.executable, "-m", "scripts.tallystick", command, *self.options]
        part = subprocess.Popen(program, cwd=ROOT, stderr=subprocess.DEVNULL)
        ends_with_the_tests(part.pid)
        self._parts.append(part)

    def write(self) -> None:
        """Let every client that has its answer ask for another transaction."""
        answered = [asked for asked in self._writes if asked.done()]
        for asked in answered:
            asked.result()
        self._writes = [asked for asked in self._writes if asked not in answered]
        self._writes += [self._clients.submit(self._write) for _ in range(CLIENTS - len(self._writes))]

    def _write(self) -> None:
        body = transfer_body("alice", "bob", 1)
        with self.service.client(timeout_seconds=60.0) as client:
            key = {"Idempotency-Key": uuid4().hex}
            answer = client.post("/v1/ledgers/main/transactions", json=body, headers=key)
        assert answer.status_code in (201, 503), answer.text

    def lock(self, statement: str) -> None:
        """Let a session of a stranger lock something, and forget its transaction."""
        self.stranger.close()
        self.stranger = self.database.connect_as_owner("nightly report")
        self.stranger.execute(f"BEGIN; {statement}")

    def tallystick(self, command: str) -> Result:
        """Run a command on the database."""
        _, name, *arguments = shlex.split(command)
        return invoke(application([name]), [name, *arguments, *self.options])

    def follow(self, alert: str, command: str, more: str = "", **words: str) -> str:
        """Run a command that the runbook's row of an alert has, its words in capitals replaced; return its output."""
        assert f"`{command}`" in row_of(f"Tallystick{alert}"), (alert, command)
        done = self.tallystick(" ".join(words.get(word, word) for word in [*command.split(), more]))
        assert done.exit_code in (0, 1) or "doctor" in command, done.output
        return done.stdout

    def close(self) -> None:
        """Stop everything."""
        self.stranger.close()
        self._clients.shutdown()
        for part in self._parts:
            part.terminate()
        ended = [part.wait(60) for part in self._parts]
        self.service.stop()
        self.owner.close()
        assert not any(ended), ended


class Watched(Installation):
    """An installation, the Prometheus that watches it, the NATS server beside it, and the provider that hangs."""

    prometheus: Prometheus
    broker: NatsServer
    slow: psutil.Process


@contextmanager
def watched_installation(databases: Databases, folder: Path) -> Iterator[Watched]:
    """The installation, and Prometheus under the hasty rules."""
    ports = free_port(), free_port()
    with (
        databases.installed() as database,
        receiving() as choosy,
        receiving() as gone,
        receiving() as broken,
        serving_nats(folder / "nats") as broker,
        pytest.MonkeyPatch.context() as environment,
    ):
        environment.setenv(PROVIDERS, "")
        environment.setenv("TALLYSTICK_NATS_URL", broker.url)
        environment.setenv("TALLYSTICK_WEBHOOK_ALLOW_PRIVATE", "true")
        environment.setenv("TALLYSTICK_WEBHOOK_ALLOW_HTTP", "true")
        # All attempts of a delivery are made within seconds, unless the receiver asks to wait.
        environment.setenv("TALLYSTICK_WEBHOOK_FIRST_WAIT_SECONDS", "0.0001")
        providers = {"simulator": provider_at(ports[0]), "slow": provider_at(ports[1], timeout_seconds=1.0)}
        watched = Watched(database, folder, Receivers(choosy, gone, broken), providers)
        watched.broker = broker
        try:
            with (
                simulating(ports[0], watched.service.url),
                simulating(ports[1], watched.service.url),
                hanging(ports[1]) as watched.slow,
                watching(folder, hasty_rules(), tallystick=watched.service.url) as watched.prometheus,
            ):
                try:
                    yield watched
                finally:
                    watched.stranger.close()  # or whoever stops now would wait for it
        finally:
            watched.close()


@contextmanager
def hanging(port: int) -> Iterator[psutil.Process]:
    """The simulator at a port, stopped like a machine that hangs. It goes on at the end, if not before.

    If the tests are killed meanwhile, it ends (tests/lifeline.py).
    """
    (process,) = (
        child for child in psutil.Process().children() if f"--port {port}" in " ".join(child.cmdline())
    )
    process.suspend()
    # A signal takes effect a moment after it is sent.
    eventually(lambda: process.status() == psutil.STATUS_STOPPED)
    try:
        yield process
    finally:
        process.resume()
