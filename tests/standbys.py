"""A standby of an embedded PostgreSQL."""

import os
import subprocess
from pathlib import Path

from scripts.serving.embedded_postgres import binaries


def home(data_dir: Path) -> Path:
    """The folder of a server's socket and files."""
    return data_dir / "postgres"


def base_backup(primary: Path, standby: Path) -> None:
    """Copy a running server as its standby, with the rights of the user it runs as."""
    owner = home(primary).stat()
    standby.mkdir()
    home(standby).mkdir(mode=0o700)
    os.chown(home(standby), owner.st_uid, owner.st_gid)
    subprocess.run(
        [
            str(binaries() / "pg_basebackup"),
            *(
                "--host",
                str(home(primary)),
                "--username",
                "postgres",
                "--pgdata",
                str(home(standby) / "data"),
            ),
            *("--write-recovery-conf", "--checkpoint", "fast"),
        ],
        user=owner.st_uid,
        group=owner.st_gid,
        cwd="/",
        check=True,
        capture_output=True,
    )
