"""The provider simulator as a user runs it: `tallystick simulate-provider` in a separate process."""

import base64
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.lifeline import ends_with_the_tests
from tests.service import ROOT

SECRET = "whsec_" + base64.b64encode(b"the secret of the simulator of the tests").decode()
STOP_SECONDS = 30.0


def free_port() -> int:
    """A loopback port that is free at this moment."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port: int = bound.getsockname()[1]
        return port


def settings_of(port: int, **more: float) -> str:
    """The setting that tells a service about the simulator at a port."""
    return json.dumps({"simulator": provider_at(port, **more)})


def provider_at(port: int, **more: float) -> dict[str, Any]:
    """What a service is told of a simulator at a port."""
    return {"url": f"http://127.0.0.1:{port}", "secret": SECRET, **more}


@contextmanager
def simulating(port: int, service_url: str, *options: str) -> Iterator[str]:
    """A simulator that sends its callbacks to a service. Yields its address once it answers."""
    callbacks = f"{service_url}/v1/providers/simulator/callbacks"
    command = [sys.executable, "-m", "scripts.tallystick", "simulate-provider", "--port", str(port)]
    process = subprocess.Popen(
        [*command, "--callback-url", callbacks, "--secret", SECRET, *options],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    ends_with_the_tests(process.pid)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert "ready on" in line, line
        yield line.rsplit(" ", 1)[1].strip()
    finally:
        process.terminate()
        assert process.wait(STOP_SECONDS) == 0
        process.stdout.close()
