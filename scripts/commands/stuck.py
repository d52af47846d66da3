"""`tallystick stuck`: finds what is older than it should be, directly on the database."""

import json
from functools import partial
from typing import Annotated, Any

import typer

from api.resources.operations.stuck_schemas import stuck_body
from domain.application import system_clock
from domain.model.times import later
from projections.diagnosis.stuck.catalogue import Thresholds
from projections.diagnosis.stuck.placement import in_placement, look_around
from projections.diagnosis.stuck.search import find_stuck
from scripts.commands.installation import (
    DatabaseUrl,
    DataDir,
    InstallationName,
    Schema,
    ask_each,
    installation_names,
)
from scripts.table import print_aligned

MAX_ADVISED = 100
"""For how many of the oldest findings the advice is printed. JSON has it for all."""

_DEFAULTS = Thresholds()
_COLUMNS = ("age", "kind", "resource", "why", "remedy")


def stuck(
    request_seconds: Annotated[
        int, typer.Option(min=0, help="Report accepted requests that are not carried out after this time.")
    ] = _DEFAULTS.request_seconds,
    hold_seconds: Annotated[
        int, typer.Option(min=0, help="Report holds that are still pending this long after they expired.")
    ] = _DEFAULTS.hold_seconds,
    payout_seconds: Annotated[
        int, typer.Option(min=0, help="Report payouts that have not ended after this time.")
    ] = _DEFAULTS.payout_seconds,
    delivery_seconds: Annotated[
        int, typer.Option(min=0, help="Report webhook deliveries that are not acknowledged after this time.")
    ] = _DEFAULTS.delivery_seconds,
    projection_seconds: Annotated[
        int, typer.Option(min=0, help="Report projections that lack an event of this age.")
    ] = _DEFAULTS.projection_seconds,
    session_seconds: Annotated[
        int, typer.Option(min=0, help="Report database sessions that block the service for this time.")
    ] = _DEFAULTS.session_seconds,
    move_seconds: Annotated[
        int, typer.Option(min=0, help="Report ledgers that a move which was cut off refuses for this time.")
    ] = _DEFAULTS.move_seconds,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON array, for programs")] = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    schema: Schema = None,
    installation: InstallationName = None,
) -> None:
    """List everything that is stuck, oldest first, with the cause and what is safe to do. Exits 1 if anything is."""
    thresholds = Thresholds(
        request_seconds,
        hold_seconds,
        payout_seconds,
        delivery_seconds,
        projection_seconds,
        session_seconds,
        move_seconds,
    )
    now = system_clock()
    find = partial(find_stuck, now=now, thresholds=thresholds)
    asked = ask_each("stuck", database_url, data_dir, schema, installation, find)
    everything = [each for _, stuck in asked.said for each in stuck]
    names = installation_names(database_url, data_dir, schema)
    if names:
        # All of them, also where one is named: what is stuck there may show only beside the others.
        look = partial(look_around, names=names)
        around = ask_each("stuck", database_url, data_dir, schema, None, look, asked.unanswered)
        placed = in_placement(asked.by_name, around.by_name, names[0], later(now, -move_seconds))
        everything = [each for stuck in placed.values() for each in stuck]
    found = [stuck_body(each, now) for each in sorted(everything, key=lambda each: each.place)]
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    elif found:
        shown: list[dict[str, Any]] = [{**each, "age": f"{each['age_seconds']:.0f} s"} for each in found]
        print_aligned(asked.table(_COLUMNS, shown))
        typer.echo()
        for each in found[:MAX_ADVISED]:
            typer.echo(f"{each['resource']}: {each['remedy']}: {each['safe_to_do']}")
    elif not asked.unanswered:
        typer.echo("Nothing is stuck.")
    asked.tell()
    if found:
        raise typer.Exit(1)
