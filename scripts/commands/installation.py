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
    typer.Option(
        help="The PostgreSQL of the installation, also by TALLYSTICK_DATABASE_URL [the embedded one]"
    ),
]
DataDir = Annotated[
    Path | None,
    typer.Option(help="Where the embedded PostgreSQL lives, also by TALLYSTICK_DATA_DIR [.tallystick]"),
]
Schema = Annotated[
    str | None,
    typer.Option(help="The schema of this installation, also by TALLYSTICK_SCHEMA [tallystick]"),
]


Reason = Annotated[str, typer.Option(help="Why; kept with it.")]

MAX_REASON_LENGTH = 500

_SQL = load(__name__)


def id_as_shown(text: str) -> UUID:
    """Return an id, read as the API reads it, in no other form than it is shown in; refuse others as wrong use."""
    if not is_id(text):
        raise typer.BadParameter(f"{text!r} is no id such as 0b2f7c1e-8d3a-5b6f-9c0d-1e2f3a4b5c6d")
    return UUID(text)


def reason_in_words(reason: str) -> None:
    """Refuse what is no reason, as wrong use of a command."""
    if not reason.strip():
        raise typer.BadParameter("a reason in words is wanted", param_hint="--reason")
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
    """A connection with the rights of the service; where there is none to be had, says why and exits 3.

    `as_owner` gives it the rights of the login instead.
    """
    with service_database(database_url, data_dir, schema) as database:
        connect = database.connect_as_owner if as_owner else database.connect
        with connect(f"tallystick {command}") as connection:
            yield connection


@contextmanager
def service_database(
    database_url: str | None, data_dir: Path | None, schema: str | None
) -> Iterator[Database]:
    """The database of an installation that there is; what is wrong with it is said in a sentence, with exit 3."""
    # Standard output is the command's own, whatever is logged meanwhile.
    structlog.configure(logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))
    settings = settings_or_exit(database_url=database_url, data_dir=data_dir, schema_=schema)
    if not settings.database_url:
        existing(settings.data_dir)
    with connected(settings) as database:
        yield database


def ledgers_of(connection: Connection[Any]) -> list[str]:
    """Return the names of all ledgers, by the journal, which projections may lag behind."""
    return [name for (name,) in connection.execute(_SQL["ledgers"]).fetchall()]


def require(connection: Connection[Any], ledger: str, account: str | None = None) -> None:
    """See that there is such a ledger and account, by the journal; else say so and exit 3.

    What is misspelt is not empty.
    """
    wanted = [ledger_stream(ledger), *([account_stream(ledger, account)] if account else [])]
    states, _ = read_aggregates(connection, wanted)
    for stream, state in zip(wanted, states, strict=True):
        if state is None:
            missing = (
                f"account {account} in the ledger {ledger}" if "/accounts/" in stream else f"ledger {ledger}"
            )
            fail(f"{missing.partition(' ')[0]}_not_found: there is no {missing}")


def operator() -> Context:
    """Return who works at this terminal, in a conversation of its own: what is kept with what is done."""
    # By the operating system and not by the environment, which can say anything.
    try:
        name = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # a container's user need not have a name
        name = f"user {os.geteuid()}"
    return Context(f"{name}{AT_A_TERMINAL}", str(uuid4()))
