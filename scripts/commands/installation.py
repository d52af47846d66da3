"""The installation a command works on directly, served or not: its options and a connection to it.

No API key is needed, because access to the database already allows everything.
"""

import os
import pwd
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID, uuid4

import structlog
import typer
from psycopg import Connection

from domain.journal.database import Database
from domain.journal.queries import load
from domain.journal.reader import read_aggregates
from domain.model.events import Context
from domain.model.ids import is_id
from domain.model.keys import AT_A_TERMINAL
from domain.model.streams import account_stream, ledger_stream
from scripts.console import fail, settings_or_exit
from scripts.serving.database import connected, existing

DatabaseUrl = Annotated[
    str | None,
    typer.Option(help="The PostgreSQL to use; also TALLYSTICK_DATABASE_URL [the embedded one]"),
]
DataDir = Annotated[
    Path | None,
    typer.Option(help="Directory of the embedded PostgreSQL; also TALLYSTICK_DATA_DIR [.tallystick]"),
]
Schema = Annotated[
    str | None,
    typer.Option(help="Schema of the installation; also TALLYSTICK_SCHEMA [tallystick]"),
]


Reason = Annotated[str, typer.Option(help="Why; stored with the decision.")]

MAX_REASON_LENGTH = 500

_SQL = load(__name__)


def id_as_shown(text: str) -> UUID:
    """Return an id, read as the API reads it, in no other form than it is shown in; refuse others as wrong use."""
    if not is_id(text):
        raise typer.BadParameter(f"{text!r} is no id such as 0b2f7c1e-8d3a-5b6f-9c0d-1e2f3a4b5c6d")
    return UUID(text)


def reason_in_words(reason: str) -> None:
    """Raise `typer.BadParameter` for a reason that is blank or too long."""
    if not reason.strip():
        raise typer.BadParameter("the reason must not be blank", param_hint="--reason")
    if len(reason) > MAX_REASON_LENGTH:
        raise typer.BadParameter(f"at most {MAX_REASON_LENGTH} characters are kept", param_hint="--reason")


@contextmanager
def service_connection(
    command: str,
    database_url: str | None,
    data_dir: Path | None,
    schema: str | None,
    *,
    as_owner: bool = False,
) -> Iterator[Connection[Any]]:
    """A connection with the rights of the service. If there is none to be had, this says why and exits 3.

    With `as_owner` it has the rights of the login instead.
    """
    with service_database(database_url, data_dir, schema) as database:
        connect = database.connect_as_owner if as_owner else database.connect
        with connect(f"tallystick {command}") as connection:
            yield connection


@contextmanager
def service_database(
    database_url: str | None, data_dir: Path | None, schema: str | None
) -> Iterator[Database]:
    """The database of an existing installation. If it cannot be used, this says why and exits 3."""
    # Standard output carries only the command's result, so logs go to standard error.
    structlog.configure(logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))
    settings = settings_or_exit(database_url=database_url, data_dir=data_dir, schema_=schema)
    if settings.needs_embedded:
        existing(settings.data_dir)
    with connected(settings) as database:
        yield database


def ledgers_of(connection: Connection[Any]) -> list[str]:
    """Return the names of all ledgers. They come from the journal, because projections may lag behind."""
    return [name for (name,) in _SQL["ledgers"].rows(connection)]


def require(connection: Connection[Any], ledger: str, account: str | None = None) -> None:
    """Exit 3 unless the journal has this ledger and account, so that a misspelt name is not taken for an empty one."""
    wanted = [ledger_stream(ledger), *([account_stream(ledger, account)] if account else [])]
    states, _ = read_aggregates(connection, wanted)
    for stream, state in zip(wanted, states, strict=True):
        if state is None:
            missing = (
                f"account {account} in the ledger {ledger}" if "/accounts/" in stream else f"ledger {ledger}"
            )
            fail(f"{missing.partition(' ')[0]}_not_found: there is no {missing}")


def operator() -> Context:
    """Return the context to record: the user at this terminal as the actor, and a new correlation id."""
    # From the operating system, because the environment can claim any name.
    try:
        name = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # a container's user need not have a name
        name = f"user {os.geteuid()}"
    return Context(f"{name}{AT_A_TERMINAL}", str(uuid4()))
