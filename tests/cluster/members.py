"""One member of a cluster: a PostgreSQL under Patroni, in a folder and a network namespace of its own."""

import os
import pwd
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2
import psutil

from scripts.serving.embedded_postgres import binaries
from tests.cluster import supervisor
from tests.cluster.network import OF_CLIENTS, Network, run
from tests.lifeline import ends_with_the_tests
from tests.service import ROOT

SETTINGS = ROOT / "scripts/patroni.yaml"
PASSWORD = "of-the-tests"
DISK_MEGABYTES = 700


class Member:
    """A member, by its name. Its supervisor runs Patroni again when it ends; nobody else restarts anything."""

    def __init__(self, name: str, folder: Path, network: Network, etcd: str) -> None:
        self.name = name
        self._network = network
        self._folder = folder / name
        self._log = folder / f"{name}.log"
        self._etcd = etcd
        self._user = pwd.getpwnam("postgres")
        self._supervisor: subprocess.Popen[bytes] | None = None
        self._stopped: list[psutil.Process] = []
        self._http = httpx2.Client(base_url=f"http://{network.address(name, OF_CLIENTS)}:8008", timeout=3)

    @property
    def address(self) -> str:
        """The address at which its clients reach it."""
        return self._network.address(self.name, OF_CLIENTS)

    def start(self) -> None:
        """Start it, on a disk of its own. The first member that starts makes the cluster, the others copy it."""
        self._folder.mkdir()
        run("mount", "-t", "tmpfs", "-o", f"size={DISK_MEGABYTES}m", "tmpfs", str(self._folder))
        os.chown(self._folder, self._user.pw_uid, self._user.pw_gid)
        patroni = Path(sysconfig.get_path("scripts")) / "patroni"
        # It may read what root may: Python and PostgreSQL can be in a folder of root's.
        capabilities = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
        user = [f"--reuid={self._user.pw_uid}", f"--regid={self._user.pw_gid}", "--clear-groups"]
        as_user = ["setpriv", *user, *capabilities]
        settings = environment(self.name, self._network.address(self.name), self._etcd, self._folder / "data")
        command = [sys.executable, supervisor.__file__, sys.executable, str(patroni), str(SETTINGS)]
        with self._log.open("ab") as log:
            self._supervisor = subprocess.Popen(
                [*self._network.inside(self.name), *as_user, *command],
                cwd=self._folder,
                env={"PATH": os.environ["PATH"], "HOME": str(self._folder), **settings},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        ends_with_the_tests(self._supervisor.pid)

    def stop(self) -> None:
        """End it without ceremony."""
        if self._supervisor is not None:
            with suppress(psutil.NoSuchProcess):
                whole = psutil.Process(self._supervisor.pid)
                kill([whole, *whole.children(recursive=True)])
            self._supervisor.wait()
            self._supervisor = None
            run("umount", "--lazy", str(self._folder))
        self._http.close()

    def state(self) -> dict[str, Any]:
        """What its Patroni says of it; empty if it does not answer."""
        try:
            found: dict[str, Any] = self._http.get("/patroni").json()
        except (httpx2.HTTPError, ValueError):
            return {}
        return found

    def ask(self, path: str, body: dict[str, Any]) -> httpx2.Response:
        """Have its Patroni do something."""
        return self._http.post(path, json=body, timeout=60)

    def change(self, settings: Mapping[str, Any]) -> None:
        """Change settings of the whole cluster."""
        self._http.patch("/config", json=settings).raise_for_status()

    def kill_postgres(self) -> None:
        """Kill its PostgreSQL with kill -9, all processes of it."""
        kill(self._processes("postgres"))

    def kill(self) -> None:
        """Kill its PostgreSQL and its Patroni with kill -9. The supervisor starts Patroni again."""
        kill([*self._processes("patroni"), *self._processes("postgres")])

    def freeze(self) -> None:
        """Stop all its processes, as a machine that hangs does."""
        assert self._supervisor is not None
        whole = psutil.Process(self._supervisor.pid)
        self._stopped = [whole, *whole.children(recursive=True)]
        signal_all(self._stopped, signal.SIGSTOP)

    def thaw(self) -> None:
        """Have its processes go on where they stopped."""
        signal_all(self._stopped, signal.SIGCONT)
        self._stopped = []

    def cut_off(self, *networks: int) -> None:
        """Cut its links to these networks."""
        self._network.cut(self.name, *networks)

    def join(self) -> None:
        """Mend its links."""
        self._network.mend(self.name)

    def fill_disk(self) -> None:
        """Leave no room on its disk."""
        free = shutil.disk_usage(self._folder).free
        with (self._folder / "filling").open("wb") as file, suppress(OSError):
            os.posix_fallocate(file.fileno(), 0, free)

    def free_disk(self) -> None:
        """Give the room back."""
        (self._folder / "filling").unlink(missing_ok=True)

    def log(self) -> str:
        """What Patroni and PostgreSQL have said, the last of it."""
        return self._log.read_text(errors="replace")[-8000:] if self._log.exists() else ""

    def _processes(self, program: str) -> list[psutil.Process]:
        assert self._supervisor is not None
        found = []
        for process in psutil.Process(self._supervisor.pid).children(recursive=True):
            with suppress(psutil.Error):
                words = process.cmdline()
                is_postgres = process.name() == "postgres"
                if is_postgres if program == "postgres" else not is_postgres and program in " ".join(words):
                    found.append(process)
        return found


def environment(name: str, address: str, etcd: str, data: Path) -> dict[str, str]:
    """Return what `SETTINGS` leaves to each member's environment: what differs between members, and the passwords."""
    return {
        "PATRONI_NAME": name,
        "PATRONI_ETCD3_HOSTS": etcd,
        "PATRONI_RESTAPI_LISTEN": "0.0.0.0:8008",
        "PATRONI_RESTAPI_CONNECT_ADDRESS": f"{address}:8008",
        "PATRONI_POSTGRESQL_LISTEN": "0.0.0.0:5432",
        "PATRONI_POSTGRESQL_CONNECT_ADDRESS": f"{address}:5432",
        "PATRONI_POSTGRESQL_DATA_DIR": str(data),
        "PATRONI_POSTGRESQL_BIN_DIR": str(binaries()),
        "PATRONI_SUPERUSER_USERNAME": "postgres",
        "PATRONI_SUPERUSER_PASSWORD": PASSWORD,
        "PATRONI_REPLICATION_USERNAME": "replicator",
        "PATRONI_REPLICATION_PASSWORD": PASSWORD,
    }


def kill(processes: Iterable[psutil.Process]) -> None:
    """Kill processes with kill -9, those that are stopped as well."""
    signal_all(processes, signal.SIGKILL)


def signal_all(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    """Send a signal to processes, if they still run."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)
