"""`tallystick trace`: tells what happened to a request and what is safe to do, directly on the database."""

import json
import sys
from collections.abc import Iterator
from typing import Annotated, Any

import typer
from psycopg import Connection
from rich.console import Console
from rich.table import Table
from rich.text import Text

from api.resources.operations.answers import trace_body
from domain.application import system_clock
from domain.model.errors import LedgerError, OperationUnknown
from domain.model.idempotency import is_key, operation_id
from domain.model.ids import canonical_id, is_id
from domain.model.payouts.payout import Payout
from projections.diagnosis.remedies import safe_to_do
from projections.diagnosis.trace.story import (
    Story,
    events_received,
    story_of_conversation,
    story_of_operation,
)
from scripts.commands.installation import DatabaseUrl, DataDir, Schema, ledgers_of, service_connection
from scripts.console import fail
from scripts.table import cell

WIDTH_WHERE_NO_TERMINAL_IS = 160


def trace(
    name: Annotated[
        str,
        typer.Argument(
            metavar="KEY|CORRELATION-ID|TRANSACTION-ID",
            help="The idempotency key, correlation id or transaction id of the request, or a payout's id.",
        ),
    ],
    ledger: Annotated[str | None, typer.Option(help="The ledger to search [all].")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object, for programs")] = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    schema: Schema = None,
) -> None:
    """Tell the whole story of a request or a conversation, and what is safe to do. Exits 3 if nothing is recorded."""
    with service_connection("trace", database_url, data_dir, schema) as connection:
        try:
            found = list(_found(connection, name, ledger))
        except LedgerError as refusal:
            fail(refusal.detail)
    if not found:
        fail(f"nothing is recorded of {cell(name)}. {safe_to_do('send_again')}")
    if len(found) > 1:
        fail(
            f"it is in several ledgers; choose one with --ledger: {', '.join(body['ledger'] for body in found)}"
        )
    if as_json:
        typer.echo(json.dumps(found[0], indent=2))
    else:
        _print(found[0])


def _found(connection: Connection[Any], name: str, ledger: str | None) -> Iterator[dict[str, Any]]:
    """Yield the trace found under this name in each ledger that has one."""
    ledgers = [ledger] if ledger else ledgers_of(connection)
    for each in ledgers:
        now = system_clock()
        if (story := _operation(connection, each, name)) is not None:
            yield trace_body(story, each, now, key=story.operations[0].idempotency_key)
            continue
        story = _with_both_sides(connection, story_of_conversation(connection, each, name))
        if story.events or story.operations:
            yield trace_body(story, each, now, correlation_id=name)


def _operation(connection: Connection[Any], ledger: str, name: str) -> Story | None:
    """Return the story of the operation with this key, else with this id. None if there is neither."""
    by_id = [canonical_id(name)] if is_id(name) else []
    for id in [*([operation_id(ledger, name)] if is_key(name) else []), *by_id]:
        try:
            story = story_of_operation(connection, ledger, id)
        except OperationUnknown:
            continue
        return _with_both_sides(connection, story)
    return None


def _with_both_sides(connection: Connection[Any], story: Story) -> Story:
    """Return a story with what other ledgers of this installation recorded for its bridges."""
    bridges = [made for made in story.operations if isinstance(made, Payout) and made.is_bridge]
    return story._replace(received=tuple(events_received(connection, bridges)))


def _print(body: dict[str, Any]) -> None:
    width = None if sys.stdout.isatty() else WIDTH_WHERE_NO_TERMINAL_IS
    console = Console(highlight=False, width=width)
    table = Table(box=None, pad_edge=False)
    table.add_column("time", no_wrap=True)
    table.add_column("position", no_wrap=True, justify="right")
    table.add_column("kind", no_wrap=True)
    table.add_column("what", overflow="fold")
    for moment in body["timeline"]:
        table.add_row(*(Text(text) for text in _row(moment)))
    console.print(table)
    for operation in body["operations"] if len(body["operations"]) > 1 else ():
        verdict = operation["verdict"]
        _say(console, f"{operation['idempotency_key']} ({verdict['code']})", verdict["what_happened"])
    verdict = body["verdict"]
    console.print()
    _say(console, f"Verdict ({verdict['code']})", verdict["what_happened"])
    _say(console, f"Safe to do ({verdict['remedy']})", verdict["safe_to_do"])
    _say(console, "Why", verdict["why"])
    for concern in verdict["concerns"]:
        _say(console, f"Concern ({concern['code']})", concern["words"])
        _say(console, f"  Safe to do ({concern['remedy']})", concern["safe_to_do"])
    console.print()
    _say(
        console,
        "As of position",
        f"{body['position']} of {body['head']}; replays are counted a moment later.",
    )


def _row(moment: dict[str, Any]) -> tuple[str, str, str, str]:
    """Return the cells of one moment. The time is shown to the millisecond."""
    time = "-" if moment["time"] is None else moment["time"].replace("T", " ")[:-4]
    actor = f", by {moment['actor']}" if moment["actor"] else ""
    what = f"{moment['subject']}: {moment['words']}{actor}"
    return time, cell(moment["position"]), moment["kind"], cell(what)


def _say(console: Console, label: str, words: str) -> None:
    console.print(Text(f"{cell(label)}: {cell(words)}"))
