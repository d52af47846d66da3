"""The installation that a command works on directly, whether or not it is served: its options, and a connection.

Whoever reaches the database may do anything, so no key is asked for.
"""

import os
import pwd
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any
from uuid import uuid4

import structlog
import typer
from psycopg import Connection

from domain.events import Context
from domain.keys import AT_A_TERMINAL
from scripts.connection import connected, existing
from scripts.serve import settings_or_exit

DatabaseUrl = Annotated[str | None, typer.Option(help="The PostgreSQL of the installation")]
DataDir = Annotated[Path | None, typer.Option(help="Where the embedded PostgreSQL lives [.tallystick]")]
Schema = Annotated[str | None, typer.Option(help="The schema of this installation [tallystick]")]


@contextmanager
def service_connection(
    command: str, database_url: str | None, data_dir: Path | None, schema: str | None
) -> Iterator[Connection[Any]]:
    """A connection with the rights of the service; where there is none to be had, says why and exits 3."""
    # Standard output is the command's own, whatever is logged meanwhile.
    structlog.configure(logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))
    settings = settings_or_exit(database_url=database_url, data_dir=data_dir, schema_=schema)
    if not settings.database_url:
        existing(settings.data_dir)
    with connected(settings) as database, database.connect(f"tallystick {command}") as connection:
        yield connection


def operator() -> Context:
    """Return who works at this terminal, in a conversation of its own: what is kept with what is done."""
    # By the operating system and not by the environment, which can say anything.
    try:
        name = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # a container's user need not have a name
        name = f"user {os.geteuid()}"
    return Context(f"{name}{AT_A_TERMINAL}", str(uuid4()))
