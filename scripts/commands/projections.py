"""`tallystick projections`: how far each is; pause one, or let it go on. On the database itself, served or not."""

import json
from collections.abc import Callable
from typing import Annotated, Any

import typer
from psycopg import Connection

from domain.model.errors import LedgerError
from domain.model.events import Context
from projections.running.controls import pause as pause_projection
from projections.running.controls import resume as resume_projection
from projections.running.places import end_session, holders, is_standby, places_of
from projections.running.positions import Progress, all_progress, progress
from scripts.calls import WHO_PROJECTS
from scripts.commands.installation import DatabaseUrl, DataDir, Schema, operator, service_connection
from scripts.console import fail
from scripts.endings import warn
from scripts.table import cell, print_aligned

projections = typer.Typer(
    help="List projections, pause one or let it go on, directly on the database.", no_args_is_help=True
)

Name = Annotated[str, typer.Argument(help="The projection, as `tallystick projections list` shows it.")]
Reason = Annotated[str, typer.Option(help="Why; kept with it.")]

_COLUMNS = ("name", "version", "state", "position", "head", "lag_events", "dead_letters", "last_error")


@projections.command("list")
def list_all(
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON array, for programs")] = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    schema: Schema = None,
) -> None:
    """List the projections and how far each is."""
    with service_connection("projections", database_url, data_dir, schema) as connection:
        found = [seen._asdict() for seen in all_progress(connection)]
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    else:
        print_aligned([_COLUMNS, *([cell(seen[name]) for name in _COLUMNS] for seen in found)])


@projections.command()
def pause(
    name: Name,
    reason: Reason = "",
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    schema: Schema = None,
) -> None:
    """Keep a projection where it is, also after a restart, until it is resumed. Again is as once."""
    with service_connection("projections", database_url, data_dir, schema) as connection:
        _control(pause_projection, connection, name, reason)


@projections.command()
def resume(
    name: Name,
    reason: Reason = "",
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    schema: Schema = None,
) -> None:
    """Let a projection go on that was paused or has halted. Again is as once."""
    with service_connection("projections", database_url, data_dir, schema) as connection:
        _control(resume_projection, connection, name, reason)


@projections.command()
def restart(
    name: Name,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    schema: Schema = None,
) -> None:
    """Take the place of a projection from a projector that hangs: whoever stands by advances it, or it connects anew.

    Its session of PostgreSQL is ended; nothing that is written is lost. Ends with 1 where nobody has the place.
    """
    with service_connection("projections", database_url, data_dir, schema, as_owner=True) as connection:
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
    typer.echo(f"{name} is {seen.state} at {seen.position} of {seen.head}.")
    is_late = seen.state == "running" and seen.lag_events and not is_standby(connection)
    if is_late and not holders(connection, places_of(name)):
        warn(f"nobody advances {name}: {WHO_PROJECTS}")
