"""`tallystick export`: writes the journal and its signed checkpoint to a file."""

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
from scripts.commands.installation import (
    DatabaseUrl,
    DataDir,
    InstallationName,
    Schema,
    require,
    service_connection,
)
from scripts.console import fail

Format = Literal["ndjson", "beancount", "hledger"]
DIALECTS: Mapping[str, Callable[[], Dialect]] = {"beancount": Beancount, "hledger": Hledger}

LOOK_AGAIN_SECONDS = 0.1

_LINES_AFTER_EVENTS = 2


def export(
    path: Annotated[
        Path, typer.Argument(metavar="[FILE]", help="The file to write; - for standard output")
    ] = STANDARD,
    since: Annotated[int, typer.Option("--from", min=1, help="The first position to export")] = 1,
    until: Annotated[
        int | None, typer.Option("--to", min=0, help="The last position to export [the newest at the start]")
    ] = None,
    form: Annotated[
        Format,
        typer.Option("--format", help="ndjson for verify and import; beancount or hledger for books"),
    ] = "ndjson",
    ledger: Annotated[str | None, typer.Option(help="For books: only this ledger [all]")] = None,
    wait_seconds: Annotated[
        float, typer.Option(min=0, help="How long to wait until the last position is sealed")
    ] = 3.0,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    schema: Schema = None,
    installation: InstallationName = None,
) -> None:
    """Export one consistent state of the journal as lines of JSON, or as plain-text books. The service may be running.

    `tallystick verify FILE` verifies an export without a database. `tallystick import FILE` restores it into an empty
    one. Books contain what was posted, in the order of recorded time, with an assertion of each balance. The file
    appears only once it is complete.
    """
    if form == "ndjson" and ledger is not None:
        raise typer.BadParameter("only books can be of one ledger", param_hint="--ledger")
    if ledger is not None and not is_ledger_name(ledger):
        raise typer.BadParameter("is not a ledger name", param_hint="--ledger")
    if form != "ndjson" and since != 1:
        raise typer.BadParameter("books always begin at the first position", param_hint="--from")
    with (
        service_connection("export", database_url, data_dir, schema, installation) as connection,
        _explained(),
    ):
        if ledger is not None:
            require(connection, ledger, may_have_left=True)
        if form == "ndjson":
            until = _sealed(connection, until, wait_seconds)
        with written(path) as file:
            # Closed while the connection is open, because both read within a transaction.
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
    """Write the lines and return how many positions have no event."""
    first = next(lines)
    file.write(first)
    begin = read_begin(first)
    missing = begin.until - begin.since + 1 + _LINES_AFTER_EVENTS
    for line in lines:
        file.write(line)
        missing -= 1
    return missing


def _sealed(connection: Connection[Any], until: int | None, wait_seconds: float) -> int | None:
    """Wait until position `until` is sealed and return it. None stands for the newest position at the start.

    Events recorded meanwhile are left out. Otherwise an export under load would never be sealed.
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
