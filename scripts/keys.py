"""`tallystick keys`: make, list, rotate and revoke keys to the API on the database itself, whether or not it is served.

Whoever reaches the database may do anything, so no key is asked for and none limits what can be granted.
"""

import json
from typing import Annotated
from uuid import UUID

import typer
from pydantic import ValidationError

from api import security
from api.problems import BootstrapKeyFixed
from api.schemas.keys import KeyBody, KeyRequest, key_body
from scripts.aligned import cell, print_aligned
from scripts.installation import DatabaseUrl, DataDir, Schema, service_connection
from scripts.serve import fail

keys = typer.Typer(
    help="Make, list, rotate and revoke keys to the API, directly on the database.", no_args_is_help=True
)

Id = Annotated[UUID, typer.Argument(help="The id of the key, as `tallystick keys list` shows it.")]

_PARAMETERS = {"name": "NAME", "roles": "--role", "ledgers": "--ledger"}


@keys.command()
def make(
    name: Annotated[str, typer.Argument(help="The actor of what is done with the key.")],
    role: Annotated[list[str], typer.Option(help="client, auditor or operator; repeat it for several")],
    ledger: Annotated[
        list[str] | None, typer.Option(help="A ledger to grant, '*' for all; repeat it for several")
    ] = None,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    schema: Schema = None,
) -> None:
    """Make a key and print it, this once: it alone on standard output, words on standard error."""
    try:
        request = KeyRequest(name=name, roles=role, ledgers=ledger or [])  # type: ignore[arg-type]  # judged here
    except ValidationError as error:
        for wrong in error.errors(include_url=False, include_input=False):
            typer.echo(f"tallystick: {_PARAMETERS[str(wrong['loc'][0])]}: {wrong['msg']}", err=True)
        raise typer.Exit(2) from None
    with service_connection("keys", database_url, data_dir, schema) as connection:
        made, key = security.add_key(connection, request.name, request.roles, request.ledgers)
    _show_once(made, key)


@keys.command("list")
def list_valid(
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON array, for programs")] = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    schema: Schema = None,
) -> None:
    """List the valid keys by when they were made, without the keys themselves."""
    with service_connection("keys", database_url, data_dir, schema) as connection:
        valid = [key_body(key) for key in security.valid_keys(connection)]
    if as_json:
        typer.echo(json.dumps(valid, indent=2))
    else:
        print_aligned(
            [[*KeyBody.__annotations__], *([cell(value) for value in key.values()] for key in valid)]
        )


@keys.command()
def rotate(
    id: Id,
    overlap_seconds: Annotated[
        int,
        typer.Option(
            min=0, max=security.MAX_OVERLAP_SECONDS, help="For how long the old key stays valid beside it"
        ),
    ] = 0,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    schema: Schema = None,
) -> None:
    """Make a new key in the place of one, with its name, roles and ledgers, and print it, this once.

    The old key ends when the overlap is over. Not for the bootstrap key: it is configured where the service is started.
    """
    with service_connection("keys", database_url, data_dir, schema) as connection:
        try:
            rotated = security.rotate_key(connection, id, overlap_seconds)
        except BootstrapKeyFixed as refusal:
            fail(refusal.detail)
    if rotated is None:
        fail(f"there is no valid key with the id {id}")
    _show_once(*rotated)
    typer.echo(f"The key {id} ends in {overlap_seconds} s at the latest.", err=True)


@keys.command()
def revoke(id: Id, database_url: DatabaseUrl = None, data_dir: DataDir = None, schema: Schema = None) -> None:
    """Revoke a key for ever; a running service believes it for one more second at most. Again is as once."""
    with service_connection("keys", database_url, data_dir, schema) as connection:
        found = security.revoke_key(connection, id)
    if not found:
        fail(f"there is no key with the id {id}")
    typer.echo(f"The key {id} is valid no more.", err=True)


def _show_once(made: security.Key, key: str) -> None:
    granted = ", ".join(made.ledgers) or "none"
    typer.echo(
        f"Key {made.id} with roles {', '.join(made.roles)} on ledgers {granted}, shown this once:", err=True
    )
    typer.echo(key)
