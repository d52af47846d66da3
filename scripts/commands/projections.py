"""`tallystick projections`: list, pause, resume and restart projections, directly on the database."""

import json
from collections.abc import Callable
from typing import Annotated, Any

import typer
from psycopg import Connection

from domain.model.errors import LedgerError
from domain.model.events import Context
from projections.diagnosis.glossary import term
from projections.running.controls import pause as pause_projection
from projections.running.controls import resume as resume_projection
from projections.running.places import end_session, holders, is_standby, places_of
from projections.running.positions import Progress, all_progress, progress
from scripts.calls import WHO_PROJECTS
from scripts.commands.installation import (
    DatabaseUrl,
    DataDir,
    InstallationName,
    Schema,
    ask_each,
    operator,
    service_connection,
)
from scripts.console import fail
from scripts.endings import warn
from scripts.table import print_aligned

projections = typer.Typer(
    help="List, pause, resume and restart projections, directly on the database.", no_args_is_help=True
)

Name = Annotated[str, typer.Argument(help="The projection, from `tallystick projections list`.")]
Reason = Annotated[str, typer.Option(help="Why; stored with the decision.")]

_COLUMNS = ("name", "version", "state", "position", "head", "lag_events", "dead_letters", "last_error")


@projections.command("list")
def list_all(
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON array, for programs")] = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    schema: Schema = None,
    installation: InstallationName = None,
) -> None:
    """List the projections and the position of each."""
    asked = ask_each("projections", database_url, data_dir, schema, installation, all_progress)
    found = asked.listed(Progress._asdict)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    else:
        print_aligned(asked.table(_COLUMNS, found))
    asked.tell()


@projections.command()
def pause(
    name: Name,
    reason: Reason = "",
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    schema: Schema = None,
    installation: InstallationName = None,
) -> None:
    """Pause a projection, also across restarts, until it is resumed. Idempotent."""
    with service_connection("projections", database_url, data_dir, schema, installation) as connection:
        _control(pause_projection, connection, name, reason)


@projections.command()
def resume(
    name: Name,
    reason: Reason = "",
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    schema: Schema = None,
    installation: InstallationName = None,
) -> None:
    """Resume a projection that is paused or has halted. Idempotent."""
    with service_connection("projections", database_url, data_dir, schema, installation) as connection:
        _control(resume_projection, connection, name, reason)


@projections.command()
def restart(
    name: Name,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    schema: Schema = None,
    installation: InstallationName = None,
) -> None:
    """Take a projection away from a projector that hangs. A standby advances it, or the same projector reconnects.

    Ends the projector's PostgreSQL session; nothing written is lost. Exits 1 if no projector advances the projection.
    """
    with service_connection(
        "projections", database_url, data_dir, schema, installation, as_owner=True
    ) as connection:
        try:
            progress(connection, name)
            places = places_of(name)
        except LedgerError as refusal:
            fail(refusal.detail)
        found = list(holders(connection, places).values())
        for holder in found:
            end_session(connection, holder)
            typer.echo(f"{name} is taken from {holder}.")
    if not found:
        warn(f"nobody advances {name}: {WHO_PROJECTS}")


def _control(
    control: Callable[[Connection[Any], str, Context, str], Progress],
    connection: Connection[Any],
    name: str,
    reason: str,
) -> None:
    try:
        seen = control(connection, name, operator(), reason)
    except LedgerError as refusal:
        fail(refusal.detail)
    typer.echo(f"{name} is {term('projection', seen.state).words} at {seen.position} of {seen.head}.")
    is_late = seen.state == "running" and seen.lag_events and not is_standby(connection)
    if is_late and not holders(connection, places_of(name)):
        warn(f"nobody advances {name}: {WHO_PROJECTS}")
