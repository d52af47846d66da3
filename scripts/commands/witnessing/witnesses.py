"""`tallystick witnesses`: the logs of other installations that this one witnesses, and what to do about a dispute."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from psycopg import Connection

from domain.journal.encoding import UnreadableEvent
from domain.model.errors import JournalUnavailable
from domain.model.installation.checkpoints import Decision
from projections.witnessing.judgement import NotWitnessed
from projections.witnessing.logs import leave as leave_log
from projections.witnessing.logs import read_logs, read_looks
from projections.witnessing.settlement import NoDispute, settle
from scripts.commands.installation import (
    DatabaseUrl,
    DataDir,
    InstallationName,
    Reason,
    Schema,
    ask_each,
    operator,
    reason_in_words,
    service_connection,
)
from scripts.console import fail
from scripts.table import print_aligned

witnesses = typer.Typer(help="The logs of other installations that this one witnesses.", no_args_is_help=True)

COLUMNS = (
    "name",
    "is_watched",
    "origin",
    "size",
    "recorded_at",
    "seen_at",
    "seen_size",
    "dispute",
    "last_error",
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The log, from `tallystick witnesses list`.")]


@witnesses.command("list")
def list_logs(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs")] = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    schema: Schema = None,
    installation: InstallationName = None,
) -> None:
    """List the logs: how far each is witnessed, when it was last seen to follow, and whether it is in dispute."""
    asked = ask_each("witnesses", database_url, data_dir, schema, installation, _logs)
    found = asked.listed(lambda log: log)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    else:
        print_aligned(asked.table(COLUMNS, found))
    asked.tell()


def _logs(connection: Connection[Any]) -> list[Mapping[str, Any]]:
    """Return what is known of each log."""
    try:
        logs, looks = read_logs(connection), read_looks(connection)
    except UnreadableEvent as error:
        fail(f"a newer release recorded what was witnessed: {error}")
    return [
        {
            "name": look.name,
            "is_watched": look.is_watched,
            "origin": log and log.origin,
            "size": log and log.size,
            "recorded_at": log and log.recorded_at,
            "seen_at": look.seen_at,
            "seen_size": look.seen_size,
            "dispute": log and log.dispute and log.dispute.contradiction,
            "last_error": look.last_error,
        }
        for look in looks
        for log in [logs.get(look.name)]
    ]


@witnesses.command()
def show(
    name: Name,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    schema: Schema = None,
    installation: InstallationName = None,
) -> None:
    """Print what was witnessed last of a log, as a signed note, and the note that contradicts it if there is one."""
    with service_connection("witnesses", database_url, data_dir, schema, installation) as connection:
        log = read_logs(connection, name).get(name)
    if log is None:
        fail(f"nothing was witnessed of {name}")
    typer.echo(log.note)
    if log.dispute is not None:
        typer.echo(log.dispute.disputed)


@witnesses.command()
def leave(
    name: Name,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    schema: Schema = None,
    installation: InstallationName = None,
) -> None:
    """Say that nobody is to look at a log any more, once no setting names it. What was recorded of it stays."""
    with service_connection("witnesses", database_url, data_dir, schema, installation) as connection:
        if not leave_log(connection, name):
            fail(f"no log is called {name}")
    typer.echo(f"{name} is missed no more.")


@witnesses.command()
def keep(
    name: Name,
    reason: Reason,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    schema: Schema = None,
    installation: InstallationName = None,
) -> None:
    """Decide that what was witnessed before the dispute still counts: the log must show it again."""
    _settle("kept", name, reason, database_url, data_dir, schema, installation)


@witnesses.command()
def accept(
    name: Name,
    reason: Reason,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    schema: Schema = None,
    installation: InstallationName = None,
) -> None:
    """Decide that the log goes on from the disputed checkpoint and its key. What was witnessed before is given up."""
    _settle("accepted", name, reason, database_url, data_dir, schema, installation)


def _settle(
    decision: Decision,
    name: str,
    reason: str,
    database_url: str | None,
    data_dir: Path | None,
    schema: str | None,
    installation: str | None,
) -> None:
    reason_in_words(reason)
    with service_connection("witnesses", database_url, data_dir, schema, installation) as connection:
        try:
            settle(connection, name, decision, reason, operator())
        except NoDispute:
            fail(f"{name} is in no dispute")
        except NotWitnessed as error:
            fail(f"the disputed checkpoint cannot be accepted: {error}")
        except JournalUnavailable:
            fail("another session holds the journal's lock, so nothing was recorded; try again")
    typer.echo(f"Recorded. {name} is looked at again.")
