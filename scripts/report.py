"""`tallystick report`: trial balance, activity and statements, as tables, CSV or JSON."""

import csv
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from time import monotonic, sleep
from typing import Annotated, Any, Literal

import typer
from psycopg import Connection

from domain.addresses import is_address, is_ledger_name
from domain.errors import ProjectionBehind
from domain.times import Instant, instant
from projections.entries import Clock
from projections.live import Reading
from projections.plain_text import decimal
from projections.reports import AMOUNTS, COLUMNS, Kind, Row, Span, totals
from projections.reports import report as read_report
from scripts.aligned import cell, print_aligned
from scripts.installation import DatabaseUrl, DataDir, Schema, require, service_connection
from scripts.serve import fail

PATIENCE_SECONDS = 5.0
LOOK_AGAIN_SECONDS = 0.1

Format = Literal["table", "csv", "json"]


def report(
    kind: Annotated[Kind, typer.Argument(metavar="REPORT", help="trial-balance, activity or statement")],
    ledger: Annotated[str, typer.Option(help="The ledger that is reported on")],
    account: Annotated[str | None, typer.Option(help="The address of the account, for a statement")] = None,
    since: Annotated[
        str | None, typer.Option("--from", help="The first day or instant, included [all]")
    ] = None,
    until: Annotated[
        str | None, typer.Option("--to", help="The day or instant that ends it, not included [all]")
    ] = None,
    clock: Annotated[
        Clock, typer.Option(help="By when it was recorded, or when it took effect")
    ] = "recorded",
    form: Annotated[Format, typer.Option("--format", help="table, csv or json")] = "table",
    min_position: Annotated[
        int, typer.Option(min=0, help="What must be in it; it is waited for, for some seconds")
    ] = 0,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    schema: Schema = None,
) -> None:
    """Report on a ledger, of one state of it: which position that is, is said with it (with CSV on standard error).

    Tables and CSV have amounts in units of their asset, JSON has minor units. Days are those of UTC. Opening and
    closing are credits − debits; the balance of a statement is that of its account, counted in the order of the clock.
    """
    if (account is not None) != (kind == "statement"):
        raise typer.BadParameter("is for statements, and they need it", param_hint="--account")
    if not is_ledger_name(ledger):
        raise typer.BadParameter("is no name of a ledger", param_hint="--ledger")
    if account is not None and not is_address(account):
        raise typer.BadParameter("is no address", param_hint="--account")
    span = Span(clock, _instant(since, "--from"), _instant(until, "--to"))
    with service_connection("report", database_url, data_dir, schema) as connection:
        require(connection, ledger, account)
        reading = _read(connection, kind, ledger, span, account, min_position)
    _print(kind, reading, form)


def _read(
    connection: Connection[Any],
    kind: Kind,
    ledger: str,
    span: Span,
    account: str | None,
    min_position: int,
) -> Reading[list[Row]]:
    give_up_at = monotonic() + PATIENCE_SECONDS
    while True:
        try:
            reading = read_report(connection, kind, ledger, span, account)
        except ProjectionBehind:
            fail("there is no projection of entries to read yet: does a projector run?")
        if reading.position >= min_position:
            return reading
        if monotonic() > give_up_at:
            reached = f"position {reading.position} of {reading.head}"
            fail(f"projection_behind: {reached} is reflected, and not {min_position}")
        sleep(LOOK_AGAIN_SECONDS)


def _print(kind: Kind, reading: Reading[list[Row]], form: Format) -> None:
    columns, rows = COLUMNS[kind], reading.found
    sums = totals(rows) if kind == "trial-balance" else []
    stated = f"position {reading.position} of {reading.head}"
    if lacking := reading.lacking.streams:
        stated += f"; {lacking} streams are held behind dead letters and lack their last events"
    if form == "json":
        data, of_assets = ([dict(zip(columns, row, strict=True)) for row in part] for part in (rows, sums))
        said = {"position": reading.position, "head": reading.head, "held_streams": lacking}
        typer.echo(json.dumps({"data": data, "totals": of_assets, **said}, indent=2, ensure_ascii=False))
        return
    cells = [columns, *(_in_units(columns, row) for row in (*rows, *sums))]
    if form == "csv":
        csv.writer(sys.stdout, lineterminator="\n").writerows(cells)
        typer.echo(stated, err=True)
    else:
        print_aligned([[cell(value) for value in row] for row in cells])
        typer.echo(stated)


def _in_units(columns: Sequence[str], row: Row) -> list[str]:
    asset = row[columns.index("asset")]
    return [
        decimal(int(value), asset) if column in AMOUNTS else value
        for column, value in zip(columns, row, strict=True)
    ]


def _instant(text: str | None, option: str) -> Instant | None:
    """Return the instant of a day or time, in UTC unless it says otherwise."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
        return instant(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        raise typer.BadParameter("is no day and no time, such as 2026-11-23", param_hint=option) from None
