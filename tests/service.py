"""The whole service as a user runs it: `tallystick serve` in a separate process, on a free port."""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import psutil

from tests.lifeline import ends_with_the_tests

ROOT = Path(__file__).parent.parent
KEY = "tk_key_of_the_tests_and_of_no_one_else"
READY_TIMEOUT_SECONDS = 100


class Service:
    """A running service: its address, and its processes, which a test may kill."""

    def __init__(
        self, process: "subprocess.Popen[str]", url: str, output: list[str], reading: threading.Thread
    ) -> None:
        self.process = process
        self.url = url
        self.output = output
        self._reading = reading

    def client(self, timeout_seconds: float = 20.0) -> httpx2.Client:
        """A client with the bootstrap key and its own connection pool."""
        return httpx2.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {KEY}"},
            timeout=timeout_seconds,
            trust_env=False,
            verify=False,  # it speaks no TLS, and reading the system's certificates takes 20 ms a client
        )

    def processes(self, *words: str) -> list[psutil.Process]:
        """The descendants whose command line has all these words."""
        found = []
        for child in psutil.Process(self.process.pid).children(recursive=True):
            try:
                if all(word in " ".join(child.cmdline()) for word in words):
                    found.append(child)
            except psutil.Error:
                continue
        return found

    @property
    def tracebacks(self) -> list[str]:
        """The lines of its log that tell of an error nobody expected."""
        return [line for line in self.output if '"exception": ' in line]

    def stop(self) -> int:
        """Stop it as an operator does. Return its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(40)
        self._reading.join(10)
        return status


@contextmanager
def serving(
    data_dir: Path,
    *options: str,
    key: str | None = KEY,
    root: Path = ROOT,
    settings: Mapping[str, str] | None = None,
) -> Iterator[Service]:
    """The service, ready, on a data directory. It is stopped at the end if it still runs.

    `root` is the folder of the release that is started, `settings` what its environment has besides.
    """
    service = start(data_dir, *options, key=key, root=root, settings=settings)
    try:
        yield service
    finally:
        if service.process.poll() is None:
            service.stop()


def start(
    data_dir: Path,
    *options: str,
    key: str | None = KEY,
    root: Path = ROOT,
    settings: Mapping[str, str] | None = None,
) -> Service:
    """Start the service and return once it says that it is ready. Without a key it makes one."""
    command = [
        sys.executable,
        "-m",
        "scripts.tallystick",
        "serve",
        "--port",
        "0",
        "--data-dir",
        str(data_dir),
    ]
    process = subprocess.Popen(
        [*command, *options],
        cwd=root,
        env={
            **os.environ,
            "PYTHONPATH": str(root),
            **({"TALLYSTICK_BOOTSTRAP_KEY": key} if key else {}),
            **(settings or {}),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    ends_with_the_tests(process.pid)
    output: list[str] = []
    ready = threading.Event()
    reading = threading.Thread(target=_read, args=(process, output, ready), daemon=True)
    reading.start()
    ready.wait(READY_TIMEOUT_SECONDS)
    found = next((match for line in output if (match := re.search(r"ready on (http://\S+)", line))), None)
    if found is None or process.poll() is not None:
        process.kill()
        process.wait()
        raise AssertionError("the service does not become ready:\n" + "".join(output))
    return Service(process, found[1], output, reading)


def _read(process: "subprocess.Popen[str]", output: list[str], ready: threading.Event) -> None:
    assert process.stdout is not None
    with process.stdout:
        for line in process.stdout:
            output.append(line)
            if "ready on http" in line:
                ready.set()
    ready.set()


def post_ledger(client: httpx2.Client, name: str = "main") -> None:
    """Open a ledger."""
    assert client.post("/v1/ledgers", json={"name": name}).status_code in (200, 201)


def post_account(client: httpx2.Client, address: str, **attributes: Any) -> None:
    """Open an account in the ledger `main`."""
    body = {"address": address, "asset": "USD/2", "normal_side": "credit", **attributes}
    answer = client.post("/v1/ledgers/main/accounts", json=body)
    assert answer.status_code in (200, 201), answer.text


def transfer_body(debited: str, credited: str, amount: int) -> dict[str, Any]:
    """The body of a transaction that moves an amount from one account to another."""
    return {
        "entries": [
            {"account": debited, "direction": "debit", "amount": amount},
            {"account": credited, "direction": "credit", "amount": amount},
        ]
    }
