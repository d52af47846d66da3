"""`tallystick export`: writes the journal to a file, with what was signed of it."""

from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import Annotated, Any, BinaryIO

import typer
from psycopg import Connection

from domain.exports import read_begin
from projections.checkpoints import read_newest
from projections.exporting import BeyondHead, export_lines, head_of
from scripts.exported import STANDARD, written
from scripts.installation import DatabaseUrl, DataDir, Schema, service_connection
from scripts.serve import fail

LOOK_AGAIN_SECONDS = 0.1

_LINES_AFTER_EVENTS = 2


def export(
    path: Annotated[Path, typer.Argument(metavar="[FILE]", help="- for standard output")] = STANDARD,
    since: Annotated[int, typer.Option("--from", min=1, help="The first position")] = 1,
    until: Annotated[int | None, typer.Option("--to", min=0, help="The last position [the newest]")] = None,
    wait_seconds: Annotated[
        float, typer.Option(min=0, help="For how long to wait until the newest position is sealed")
    ] = 3.0,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    schema: Schema = None,
) -> None:
    """Export the journal as lines of JSON, of one state of the database; the service may run meanwhile.

    `tallystick verify FILE` verifies them without a database, `tallystick import FILE` restores them into an empty one.
    A file is put in place once it is complete.
    """
    with service_connection("export", database_url, data_dir, schema) as connection:
        _await_seal(connection, until, wait_seconds)
        try:
            with written(path) as file:
                missing = _write(export_lines(connection, since, until), file)
        except BeyondHead as error:
            fail(str(error))
    if missing:
        fail(f"{missing} positions have no event: the export has all that is there; see `tallystick verify`")


def _write(lines: Iterator[bytes], file: BinaryIO) -> int:
    """Write lines; return how many events fewer there are than positions."""
    first = next(lines)
    file.write(first)
    begin = read_begin(first)
    missing = begin.until - begin.since + 1 + _LINES_AFTER_EVENTS
    for line in lines:
        file.write(line)
        missing -= 1
    return missing


def _await_seal(connection: Connection[Any], until: int | None, wait_seconds: float) -> None:
    wanted, give_up_at = head_of(connection) if until is None else until, monotonic() + wait_seconds
    while monotonic() < give_up_at:
        signed = read_newest(connection)
        if signed is not None and signed.size >= wanted:
            return
        sleep(LOOK_AGAIN_SECONDS)
    typer.echo(f"tallystick: position {wanted} is not sealed: does a projector run?", err=True)
