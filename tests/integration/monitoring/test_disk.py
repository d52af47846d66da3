"""The alert on a disk that fills, from a real node_exporter: a small disk in memory, mounted for this test alone."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import sleep
from typing import NamedTuple

import pytest

from tests.integration.monitoring.hasty_rules import hasty_rules
from tests.integration.monitoring.prometheus import Alert, needs_prometheus, watching
from tests.projecting import eventually
from tests.simulating import free_port

EXPORTER = "prometheus-node-exporter"
# A namespace of its own, in which any user may mount what is in memory.
MOUNTING = ["unshare", "--user", "--map-root-user", "--mount", "--kill-child"]

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(300),
    needs_prometheus,
    pytest.mark.skipif(
        shutil.which(EXPORTER) is None and "CI" not in os.environ,
        reason=f"needs Debian's package {EXPORTER}, which CI installs",
    ),
    pytest.mark.skipif(
        subprocess.run([*MOUNTING, "true"], capture_output=True).returncode != 0,
        reason="needs a kernel that lets a user mount something of his own",
    ),
]

# Runs in the namespace: whoever else looks there sees an empty folder. The exporter asks which disks process 1 sees, so
# it is shown its own. Each line of the input is a command.
PROGRAM = f"""
set -e
mount -t tmpfs -o size=8m none "$1"
mkdir -p proc/1 && ln -s /proc/self/mounts proc/1/mounts
{EXPORTER} --web.listen-address="$2" --path.procfs=proc --collector.disable-defaults --collector.filesystem \
    --collector.filesystem.mount-points-exclude='^$' --collector.filesystem.fs-types-exclude='^$' 2>/dev/null &
set +e
while read -r line; do (cd "$1" && eval "$line"); done
kill $!
"""


class Disk(NamedTuple):
    """A disk of 8 MB: where it is mounted, the URL of its exporter, and a shell in its root."""

    folder: Path
    url: str
    shell: "subprocess.Popen[str]"

    def run(self, command: str) -> None:
        """Run a command in the disk's root."""
        assert self.shell.stdin is not None
        print(command, file=self.shell.stdin, flush=True)


@contextmanager
def small_disk(folder: Path) -> Iterator[Disk]:
    folder.mkdir()
    address = f"127.0.0.1:{free_port()}"
    command = [*MOUNTING, "sh", "-c", PROGRAM, "sh", str(folder), address]
    with subprocess.Popen(command, stdin=subprocess.PIPE, text=True, cwd=folder.parent) as shell:
        yield Disk(folder, f"http://{address}", shell)


def test_it_fires_while_the_disk_fills_and_is_quiet_once_there_is_room(tmp_path: Path) -> None:
    rules = hasty_rules()
    (rule,) = (
        rule for group in rules["groups"] for rule in group["rules"] if rule["alert"] == "TallystickDiskFull"
    )
    assert "tmpfs|" in rule["expr"]
    rule["expr"] = rule["expr"].replace("tmpfs|", "")  # which this disk is
    only = {"groups": [{"name": "machine", "rules": [rule]}]}
    with small_disk(tmp_path / "disk") as disk, watching(tmp_path, only, node=disk.url) as prometheus:
        here = f'{{mountpoint="{disk.folder}"}}'
        samples = f"count_over_time(node_filesystem_avail_bytes{here}[5m])"
        alert = Alert("DiskFull", str(disk.folder))  # the other disks of this machine may fill as well

        def fires_as_it_fills() -> bool:
            disk.run("head -c 200000 /dev/zero >> journal 2>/dev/null")
            sleep(0.1)
            return alert in prometheus.alerts()

        eventually(lambda: bool(prometheus.query(f"{samples} >= 3")))
        assert alert not in prometheus.alerts("pending") | prometheus.alerts()
        eventually(fires_as_it_fills)
        disk.run("rm journal")
        eventually(lambda: alert not in prometheus.alerts())
