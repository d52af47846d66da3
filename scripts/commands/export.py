"""`tallystick export`: writes the journal to a file, with what was signed of it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import IO, Annotated, Any, Literal

import typer
from psycopg import Connection

from domain.journal.encoding import UnreadableEvent
from domain.journal.reader import head_of
from domain.model.streams import is_ledger_name
from domain.transparency.export_format import read_begin
from projections.exports.beancount import Beancount
from projections.exports.export import BeyondHead, export_lines
from projections.exports.hledger import Hledger
from projections.exports.plain_text import Dialect, accounting_lines
from projections.transparency.checkpoints import read_newest
from scripts.commands.export_output import STANDARD, written
from scripts.commands.installation import DatabaseUrl, DataDir, Schema, require, service_connection
from scripts.console import fail

Format = Literal["ndjson", "beancount", "hledger"]
DIALECTS: Mapping[str, Callable[[], Dialect]] = {"beancount": Beancount, "hledger": Hledger}

LOOK_AGAIN_SECONDS = 0.1

_LINES_AFTER_EVENTS = 2


def export(
    path: Annotated[Path, typer.Argument(metavar="[FILE]", help="- for standard output")] = STANDARD,
    since: Annotated[int, typer.Option("--from", min=1, help="The first position")] = 1,
    until: Annotated[
        int | None, typer.Option("--to", min=0, help="The last position [the newest as it begins]")
    ] = None,
    form: Annotated[
        Format,
        typer.Option("--format", help="ndjson for verify and import, or books for Beancount or hledger"),
    ] = "ndjson",
    ledger: Annotated[str | None, typer.Option(help="The ledger whose books are written [all]")] = None,
    wait_seconds: Annotated[
        float, typer.Option(min=0, help="For how long to wait until the newest position is sealed")
    ] = 3.0,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    schema: Schema = None,
) -> None:
    """Export the journal as lines of JSON, of one state of the database; the service may run meanwhile.

    `tallystick verify FILE` verifies them without a database, `tallystick import FILE` restores them into an empty one.
    Books are what was posted, in plain text, in the order of recorded time, each balance asserted. A file is put in
    place once it is complete.
    """
    if form == "ndjson" and ledger is not None:
        raise typer.BadParameter("lines of JSON are those of all ledgers", param_hint="--ledger")
    if ledger is not None and not is_ledger_name(ledger):
        raise typer.BadParameter("is no name of a ledger", param_hint="--ledger")
    if form != "ndjson" and since != 1:
        raise typer.BadParameter("books begin with the first position", param_hint="--from")
    with service_connection("export", database_url, data_dir, schema) as connection, _explained():
        if ledger is not None:
            require(connection, ledger)
        if form == "ndjson":
            until = _sealed(connection, until, wait_seconds)
        with written(path) as file:
            # Closed while the connection is open: each reads within a transaction.
            if form == "ndjson":
                with closing(export_lines(connection, since, until)) as lines:
                    missing = _write(lines, file)
            else:
                missing = 0
                with closing(accounting_lines(connection, DIALECTS[form](), ledger, until)) as written_lines:
                    file.writelines(f"{line}\n".encode() for line in written_lines)
    if missing:
        fail(f"{missing} positions have no event: the export has all that is there; see `tallystick verify`")


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except (BeyondHead, UnreadableEvent) as error:
        fail(str(error))


def _write(lines: Iterator[bytes], file: IO[bytes]) -> int:
    """Write lines; return how many events fewer there are than positions."""
    first = next(lines)
    file.write(first)
    begin = read_begin(first)
    missing = begin.until - begin.since + 1 + _LINES_AFTER_EVENTS
    for line in lines:
        file.write(line)
        missing -= 1
    return missing


def _sealed(connection: Connection[Any], until: int | None, wait_seconds: float) -> int | None:
    """Wait until the last position is sealed, the newest as of now if none is given; return it once it is.

    What is recorded meanwhile is left out, or the end of an export under load would never be sealed.
    """
    wanted, give_up_at = head_of(connection) if until is None else until, monotonic() + wait_seconds
    while True:
        signed = read_newest(connection)
        if signed is not None and signed.size >= wanted:
            return wanted
        if monotonic() >= give_up_at:
            break
        sleep(LOOK_AGAIN_SECONDS)
    typer.echo(f"tallystick: position {wanted} is not sealed: does a projector run?", err=True)
    return until
