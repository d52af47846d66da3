"""A real NATS server on loopback with JetStream in its own folder, to be killed and restarted."""

import shutil
import socket
import subprocess
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.lifeline import ends_with_the_tests
from tests.projecting import eventually
from tests.simulating import free_port


class NatsServer:
    """A server that keeps its port and files when restarted. With `is_synced` it syncs each message."""

    def __init__(self, folder: Path, *, is_synced: bool = False) -> None:
        folder.mkdir(exist_ok=True)
        self._settings = folder / "nats.conf"
        sync = "sync_interval: always" if is_synced else ""
        self._settings.write_text(f'jetstream {{\n store_dir: "{folder}"\n {sync}\n}}\n')
        self.port, self._monitoring_port = free_port(), free_port()
        self.url = f"nats://127.0.0.1:{self.port}"
        self.monitoring_url = f"http://127.0.0.1:{self._monitoring_port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and return once it accepts connections."""
        program = shutil.which("nats-server", path=sysconfig.get_path("scripts"))
        assert program is not None
        ports = ["-p", str(self.port), "-m", str(self._monitoring_port)]
        options = ["-a", "127.0.0.1", *ports, "-c", str(self._settings)]
        self._process = subprocess.Popen(
            [program, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        ends_with_the_tests(self._process.pid)
        eventually(self._answers)

    def kill(self) -> None:
        """Kill it with kill -9."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._process = None

    def stop(self) -> None:
        """Stop it if it is running."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1):
                return True
        except OSError:
            return False


@contextmanager
def serving_nats(folder: Path, *, is_synced: bool = False) -> Iterator[NatsServer]:
    """A server that runs meanwhile."""
    server = NatsServer(folder, is_synced=is_synced)
    server.start()
    try:
        yield server
    finally:
        server.stop()
