"""The simulator that runs beside a service without providers, so that payouts can be tried at once.

It behaves well and pays nobody. It does not run if providers are configured.
"""

import base64
import json
import os
import secrets
import socket
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scripts.serving.supervisor import Child
    from scripts.simulator.server import Simulator

SECRET = "TALLYSTICK_SIMULATOR_SECRET"
PROVIDERS = "TALLYSTICK_PROVIDERS"
STOP_TIMEOUT_SECONDS = 4.0
BACKLOG = 256


def listen(port: int) -> socket.socket:
    """Return a socket that listens on a port of loopback; 0 is any free one. Raises `OSError`."""
    return socket.create_server(("127.0.0.1", port), backlog=BACKLOG)


def make_secret() -> str:
    """Return a new secret for callbacks, in the format of Standard Webhooks."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def providers_setting(url: str, secret: str) -> str:
    """Return the setting that tells a service about a simulator."""
    return json.dumps({"simulator": {"url": url, "secret": secret}})


def simulator_beside(address: str, environment: Mapping[str, str]) -> tuple["Child", socket.socket, str]:
    """Return the simulator's process, its listening socket and the service's setting, for a service at an address.

    The socket belongs to the parent, so the address stays the same when the process dies and is restarted.
    """
    from scripts.serving.supervisor import Child

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
    """Return the simulator this process runs."""
    from scripts.simulator.callbacks import Callbacks
    from scripts.simulator.faults import Faults, Rates
    from scripts.simulator.server import Simulator

    callbacks = Callbacks(callback_url, os.environ.pop(SECRET))
    return Simulator(socket.socket(fileno=listening), Faults(0, Rates()), callbacks)
