"""`tallystick dead-letters`: list, show, retry and discard dead letters, directly on the database."""

import json
from functools import partial
from typing import Annotated, Any
from uuid import UUID

import typer

from domain.model.errors import LedgerError
from projections.diagnosis.glossary import term
from projections.engine.dead_letters import DeadLetter, LetterState, find_letter, list_letters
from projections.running.dead_letter_decisions import discard as discard_letter
from projections.running.dead_letter_decisions import retry as retry_letter
from scripts.commands.installation import (
    DatabaseUrl,
    DataDir,
    InstallationName,
    Schema,
    ask_each,
    id_as_shown,
    operator,
    service_connection,
)
from scripts.console import fail
from scripts.table import cell, print_aligned

dead_letters = typer.Typer(
    help="List, show, retry and discard dead letters, directly on the database.", no_args_is_help=True
)

Id = Annotated[
    UUID,
    typer.Argument(
        parser=id_as_shown,
        metavar="ID",
        help="The id of the dead letter, from `tallystick dead-letters list`.",
    ),
]

_COLUMNS = ("id", "projection", "state", "position", "stream", "held_events", "attempts", "message")


@dead_letters.command("list")
def list_some(
    projection: Annotated[str | None, typer.Option(help="Only those of this projection")] = None,
    state: Annotated[
        LetterState | None,
        typer.Option(help="Only those in this state: open, resolved, discarded or superseded"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON array, for programs")] = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    schema: Schema = None,
    installation: InstallationName = None,
) -> None:
    """List dead letters, open and closed, by when they first failed."""
    read = partial(list_letters, projection=projection, state=state)
    asked = ask_each("dead-letters", database_url, data_dir, schema, installation, read)
    found = asked.listed(_shown)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    else:
        print_aligned(asked.table(_COLUMNS, found))
    asked.tell()


@dead_letters.command()
def show(
    id: Id,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    schema: Schema = None,
    installation: InstallationName = None,
) -> None:
    """Show one dead letter in full, as JSON."""
    with service_connection("dead-letters", database_url, data_dir, schema, installation) as connection:
        try:
            letter = find_letter(connection, id)
        except LedgerError as refusal:
            fail(refusal.detail)
    typer.echo(json.dumps(_shown(letter), indent=2))


@dead_letters.command()
def retry(
    id: Id,
    reason: Annotated[str, typer.Option(help="Why; stored with the decision.")] = "",
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    schema: Schema = None,
    installation: InstallationName = None,
) -> None:
    """Apply the event and then all events held behind it, in order: all or none. Exits 1 if one fails again.

    Use it for a stream with very many held events, which would take the service long.
    """
    with service_connection("dead-letters", database_url, data_dir, schema, installation) as connection:
        try:
            letter = retry_letter(connection, id, operator(), reason)
        except LedgerError as refusal:
            fail(refusal.detail)
    _tell(letter)
    if letter.state == "open":
        raise typer.Exit(1)


@dead_letters.command()
def retry_all(
    projection: Annotated[str | None, typer.Option(help="Only those of this projection")] = None,
    reason: Annotated[str, typer.Option(help="Why; stored with each decision.")] = "",
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    schema: Schema = None,
    installation: InstallationName = None,
) -> None:
    """Retry every open dead letter, one at a time. Exits 1 if any fails again or cannot be decided."""
    resolved, rest = 0, 0
    with service_connection("dead-letters", database_url, data_dir, schema, installation) as connection:
        for letter in list_letters(connection, projection=projection, state="open"):
            try:
                state = retry_letter(connection, letter.id, operator(), reason).state
            except LedgerError as refusal:
                typer.echo(f"{letter.id}: {refusal.detail}", err=True)
                state = letter.state
            resolved += state == "resolved"
            rest += state == "open"
    typer.echo(f"{resolved} resolved, {rest} not.")
    if rest:
        raise typer.Exit(1)


@dead_letters.command()
def discard(
    id: Id,
    reason: Annotated[str, typer.Option(help="Why; stored with the decision.")],
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    schema: Schema = None,
    installation: InstallationName = None,
) -> None:
    """Skip the event for good, then apply all events held behind it, in order: all or none."""
    if not reason.strip():
        raise typer.BadParameter("the reason must not be blank", param_hint="--reason")
    with service_connection("dead-letters", database_url, data_dir, schema, installation) as connection:
        try:
            letter = discard_letter(connection, id, operator(), reason)
        except LedgerError as refusal:
            fail(refusal.detail)
    _tell(letter)


def _shown(letter: DeadLetter) -> dict[str, Any]:
    closing = letter.closing
    followed_by = closing and closing.followed_by and str(closing.followed_by)
    shown = {**letter._asdict(), "id": str(letter.id)}
    return {**shown, "closing": closing and {**closing._asdict(), "followed_by": followed_by}}


def _tell(letter: DeadLetter) -> None:
    if letter.state == "open":
        typer.echo(f"It failed again, at attempt {letter.attempts}: {cell(letter.message)}", err=True)
        return
    typer.echo(f"The dead letter {letter.id} is {term('dead_letter', letter.state).words}.")
    if letter.closing and letter.closing.followed_by:
        typer.echo(f"A later event of {letter.stream} failed: see {letter.closing.followed_by}.")
