"""The simulator beside a service that knows no provider, so that payouts can be tried at once.

It behaves well and pays nobody. Who configures providers gets those and no simulator.
"""

import base64
import json
import os
import secrets
import socket
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from scripts.serving.supervisor import Child

if TYPE_CHECKING:
    from scripts.simulator.server import Simulator

SECRET = "TALLYSTICK_SIMULATOR_SECRET"
PROVIDERS = "TALLYSTICK_PROVIDERS"
STOP_TIMEOUT_SECONDS = 4.0
BACKLOG = 256


def listen(port: int) -> socket.socket:
    """Return a socket that listens on a port of loopback, 0 for any; raise `OSError`."""
    return socket.create_server(("127.0.0.1", port), backlog=BACKLOG)


def make_secret() -> str:
    """Return a new secret for callbacks, as Standard Webhooks writes it."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def providers_setting(url: str, secret: str) -> str:
    """Return the setting by which a service knows a simulator."""
    return json.dumps({"simulator": {"url": url, "secret": secret}})


def simulator_beside(address: str, environment: Mapping[str, str]) -> tuple[Child, socket.socket, str]:
    """Return the simulator's process for a service at an address, the socket that it listens on, and the service's
    setting.

    The socket is the parent's: it stays where it is when the process dies and is started again.
    """
    listening, secret = listen(0), make_secret()
    listening.set_inheritable(True)
    callback_url = f"{address}/v1/providers/simulator/callbacks"
    command = [
        sys.executable,
        "-m",
        "scripts.serving.processes",
        "simulator",
        str(listening.fileno()),
        callback_url,
    ]
    child = Child(
        "simulator",
        command,
        {**environment, SECRET: secret},
        [listening.fileno()],
        stop_timeout_seconds=STOP_TIMEOUT_SECONDS,
        group="projector",
    )
    return child, listening, providers_setting(f"http://127.0.0.1:{listening.getsockname()[1]}", secret)


def simulator(listening: int, callback_url: str) -> "Simulator":
    """Return the simulator that such a process runs."""
    from scripts.simulator.callbacks import Callbacks
    from scripts.simulator.faults import Faults, Rates
    from scripts.simulator.server import Simulator

    callbacks = Callbacks(callback_url, os.environ.pop(SECRET))
    return Simulator(socket.socket(fileno=listening), Faults(0, Rates()), callbacks)
