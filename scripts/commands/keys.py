"""`tallystick keys`: make, list, rotate and revoke API keys in the database, whether or not it is served.

In a placement they are home's, which has the keys of all installations.

No API key is needed and none limits what can be granted, because access to the database already allows everything.
Every change is recorded in the journal, with the user of the operating system as its actor.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn, cast, get_args
from uuid import UUID

import typer
from psycopg import Connection
from pydantic import ValidationError

from api.problems import BootstrapKeyFixed, KeyExists
from api.resources.installation.key_schemas import KeyBody, KeyRequest, key_body
from api.security import keys as security
from domain.model.errors import InvalidRequest, JournalUnavailable
from scripts.commands.installation import (
    DatabaseUrl,
    DataDir,
    Schema,
    existing_settings,
    id_as_shown,
    operator,
)
from scripts.console import fail
from scripts.serving.database import connected
from scripts.table import cell, print_aligned

keys = typer.Typer(
    help="Make, list, rotate and revoke API keys, directly on the database.", no_args_is_help=True
)

Id = Annotated[
    UUID,
    typer.Argument(parser=id_as_shown, metavar="ID", help="The id of the key, from `tallystick keys list`."),
]

_PARAMETERS = {
    "name": "NAME",
    "roles": "--role",
    "ledgers": "--ledger",
    "ledgers_to_come": "--ledger-to-come",
}
_ROLES = "\n\n".join(f"{role}: {meaning}." for role, meaning in security.ROLE_MEANINGS.items())


@keys.command(
    help="Make a key and print it, once: the key on standard output, everything else on standard error.\n\n"
    "The journal records for ever who made it and what it grants. What each role may do:\n\n" + _ROLES
)
def make(
    name: Annotated[
        str,
        typer.Argument(help="The key's name, recorded as the actor of its requests; unique among valid keys"),
    ],
    role: Annotated[
        list[str], typer.Option(help=f"{', '.join(security.ROLES)}; repeat for several, see above")
    ],
    ledger: Annotated[
        list[str] | None,
        typer.Option(help="An existing ledger to grant, or '*' for all; repeat for several"),
    ] = None,
    ledger_to_come: Annotated[
        list[str] | None, typer.Option(help="A ledger to grant that need not exist yet; repeat for several")
    ] = None,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    schema: Schema = None,
) -> None:
    """Make a key and print it."""
    try:
        request = KeyRequest(
            name=name,
            roles=role,  # type: ignore[arg-type]  # judged here
            ledgers=ledger or [],
            ledgers_to_come=ledger_to_come or [],
        )
    except ValidationError as error:
        for wrong in error.errors(include_url=False, include_input=False):
            typer.echo(f"tallystick: {_PARAMETERS[str(wrong['loc'][0])]}: {wrong['msg']}", err=True)
        raise typer.Exit(2) from None
    with _connection(database_url, data_dir, schema) as connection:
        try:
            made, key = security.add_key(connection, request.wanted, operator())
        except InvalidRequest as refusal:
            _refuse_ledgers(refusal, request.ledgers)
        except KeyExists as refusal:
            fail(f"NAME: {refusal.detail}")
    _show_once(made, key)


@keys.command("list")
def list_all(
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON array, for programs")] = False,
    state: Annotated[str, typer.Option(help="Only keys in this state: active, expired or revoked")] = "",
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    schema: Schema = None,
) -> None:
    """List all keys by when they were made, including expired and revoked ones. The keys themselves are not shown."""
    if state not in ("", *get_args(security.KeyState)):
        typer.echo(f"tallystick: --state: must be one of {', '.join(get_args(security.KeyState))}", err=True)
        raise typer.Exit(2)
    with _connection(database_url, data_dir, schema) as connection:
        of_state = cast(security.KeyState | None, state or None)
        found = [key_body(key) for key in security.list_keys(connection, state=of_state)]
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    else:
        print_aligned(
            [[*KeyBody.__annotations__], *([cell(value) for value in key.values()] for key in found)]
        )


@keys.command()
def rotate(
    id: Id,
    overlap_seconds: Annotated[
        int,
        typer.Option(min=0, max=security.MAX_OVERLAP_SECONDS, help="How long the old key stays valid"),
    ] = 0,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    schema: Schema = None,
) -> None:
    """Replace a key by a new one with the same name, roles and ledgers. The new key is printed once.

    The old key expires after the overlap. The bootstrap key cannot be rotated here: it is configured where the service
    is started.
    """
    with _connection(database_url, data_dir, schema) as connection:
        try:
            rotated = security.rotate_key(connection, id, overlap_seconds, operator())
        except BootstrapKeyFixed as refusal:
            fail(refusal.detail)
    if rotated is None:
        fail(f"there is no valid key with the id {id}")
    _show_once(*rotated)
    typer.echo(f"The key {id} ends in {overlap_seconds} s at the latest.", err=True)


@keys.command()
def revoke(id: Id, database_url: DatabaseUrl = None, data_dir: DataDir = None, schema: Schema = None) -> None:
    """Revoke a key for ever. Idempotent. A running service may accept the key for one more second."""
    with _connection(database_url, data_dir, schema) as connection:
        found = security.revoke_key(connection, id, operator())
    if not found:
        fail(f"there is no key with the id {id}")
    typer.echo(f"The key {id} is revoked.", err=True)


@contextmanager
def _connection(
    database_url: str | None, data_dir: Path | None, schema: str | None
) -> Iterator[Connection[Any]]:
    """A connection to home, with the rights of the service. If the journal cannot be written, this says so, exits 3."""
    settings = existing_settings(database_url, data_dir, schema)
    with connected(settings) as database, database.connect("tallystick keys") as connection:
        try:
            yield connection
        except JournalUnavailable as error:
            fail(f"the journal cannot be written now, nothing was changed: {error.reason}")


def _refuse_ledgers(refusal: InvalidRequest, ledgers: Sequence[str]) -> NoReturn:
    """Say which ledger does not exist, and exit 2."""
    missing = ledgers[int(refusal.errors[0]["pointer"].rpartition("/")[2])]
    words = "there is no such ledger; to grant one before it exists: --ledger-to-come"
    typer.echo(f"tallystick: --ledger {missing}: {words} {missing}", err=True)
    raise typer.Exit(2)


def _show_once(made: security.Key, key: str) -> None:
    granted = ", ".join(made.ledgers) or "none"
    typer.echo(
        f"Key {made.id} with roles {', '.join(made.roles)} on ledgers {granted}, shown this once:", err=True
    )
    typer.echo(key)
