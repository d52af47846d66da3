"""`tallystick webhooks`: see what webhooks are sent and act on it, directly on the database."""

import json
from collections.abc import Iterator, Sequence
from typing import Annotated, Any
from uuid import UUID

import typer
from psycopg import Connection

from api.resources.webhooks.schemas import delivery_body, webhook_body
from projections.diagnosis.glossary import term
from projections.errors import DeliveryNotFound, WebhookNotFound
from projections.outbox import deliveries, webhooks
from projections.outbox.deliveries import Delivery, State
from projections.outbox.webhooks import Webhook
from projections.running.places import Place, holders
from scripts.calls import WHO_PUBLISHES
from scripts.commands.installation import (
    DatabaseUrl,
    DataDir,
    InstallationName,
    Reason,
    Schema,
    ask_each,
    id_as_shown,
    operator,
    reason_in_words,
    service_connection,
)
from scripts.console import fail
from scripts.endings import warn
from scripts.table import cell, print_aligned

commands = typer.Typer(
    help="List, enable and disable webhooks; list, retry and discard their deliveries; directly on the"
    " database.",
    no_args_is_help=True,
)

Id = Annotated[
    UUID,
    typer.Argument(
        parser=id_as_shown, metavar="ID", help="The id of the webhook, from `tallystick webhooks list`."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print a JSON array, for programs")]

PUBLISHER: Place = ("publish", "outbox")
AT_ONCE = 1_000
MAX_POSITION = 2**63 - 1

_COLUMNS = ("id", "state", "url", "ledgers", "types", "failing_since", "disabled_reason")
_DELIVERY_COLUMNS = ("position", "state", "type", "attempts", "next_attempt_at", "reason")


@commands.command("list")
def list_all(
    as_json: Json = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    schema: Schema = None,
    installation: InstallationName = None,
) -> None:
    """List the webhooks by when they were registered, without their secrets."""
    asked = ask_each(
        "webhooks", database_url, data_dir, schema, installation, lambda each: list(_webhooks(each))
    )
    found = asked.listed(webhook_body)
    _print(asked.columns(_COLUMNS), found, as_json=as_json)
    asked.tell()


@commands.command()
def show(
    id: Id,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    schema: Schema = None,
    installation: InstallationName = None,
) -> None:
    """Show a webhook, as JSON."""
    with service_connection("webhooks", database_url, data_dir, schema, installation) as connection:
        webhook = _existing(webhooks.find_webhook(connection, id), id)
    typer.echo(json.dumps(webhook_body(webhook), indent=2))


@commands.command("deliveries")
def list_deliveries(
    id: Id,
    state: Annotated[State | None, typer.Option(help="Only those in this state, such as failed")] = None,
    limit: Annotated[
        int, typer.Option(min=1, max=100_000, help="How many to show, the oldest first")
    ] = 1_000,
    as_json: Json = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    schema: Schema = None,
    installation: InstallationName = None,
) -> None:
    """List the deliveries of a webhook by position. With --json, show every attempt."""
    with service_connection("webhooks", database_url, data_dir, schema, installation) as connection:
        _existing(webhooks.find_webhook(connection, id), id)
        found = deliveries.list_deliveries(connection, id, state, None, limit, descending=False)
    bodies = [delivery_body(delivery) for delivery in found]
    if not as_json:
        bodies = [{**body, "attempts": len(body["attempts"])} for body in bodies]
    _print(_DELIVERY_COLUMNS, bodies, as_json=as_json)


@commands.command()
def retry(
    id: Id,
    position: Annotated[
        int | None, typer.Argument(min=1, max=MAX_POSITION, help="The position of the event.")
    ] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Retry every failed delivery")] = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    schema: Schema = None,
    installation: InstallationName = None,
) -> None:
    """Attempt a delivery again at once, with all attempts of the schedule before it.

    A running publisher sends it; exits 1 if none is running. An acknowledged delivery is sent again.
    """
    if (position is None) == (not failed):
        raise typer.BadParameter("give either a position or --failed", param_hint="POSITION")
    with service_connection("webhooks", database_url, data_dir, schema, installation) as connection:
        _existing(webhooks.find_webhook(connection, id), id)
        if position is not None:
            wanted = [position]
        else:
            given_up = deliveries.list_deliveries(connection, id, "failed", None, AT_ONCE, descending=False)
            wanted = [delivery.position for delivery in given_up]
        for each in wanted:
            _tell(deliveries.retry_delivery(connection, id, each, operator().actor), each)
        if not wanted:
            typer.echo("No delivery has failed.")
        else:
            _see_publisher(connection)


@commands.command()
def discard(
    id: Id,
    position: Annotated[int, typer.Argument(min=1, max=MAX_POSITION, help="The position of the event.")],
    reason: Reason,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    schema: Schema = None,
    installation: InstallationName = None,
) -> None:
    """Give up a delivery for good, so that the deliveries behind it go on. Leaves a finished one unchanged."""
    reason_in_words(reason)
    with service_connection("webhooks", database_url, data_dir, schema, installation) as connection:
        _existing(webhooks.find_webhook(connection, id), id)
        _tell(deliveries.discard_delivery(connection, id, position, _signed(reason)), position)


@commands.command()
def enable(
    id: Id,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    schema: Schema = None,
    installation: InstallationName = None,
) -> None:
    """Enable a webhook; waiting deliveries become due at once. Exits 1 if no publisher is running to send them."""
    with service_connection("webhooks", database_url, data_dir, schema, installation) as connection:
        _tell_state(_existing(webhooks.enable_webhook(connection, id, operator().actor), id))
        _see_publisher(connection)


@commands.command()
def disable(
    id: Id,
    reason: Reason,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    schema: Schema = None,
    installation: InstallationName = None,
) -> None:
    """Disable a webhook: nothing is sent until it is enabled, and its deliveries wait. Idempotent."""
    reason_in_words(reason)
    with service_connection("webhooks", database_url, data_dir, schema, installation) as connection:
        _tell_state(_existing(webhooks.disable_webhook(connection, id, _signed(reason)), id))


def _webhooks(connection: Connection[Any]) -> Iterator[Webhook]:
    after: tuple[str, str] | None = None
    while found := webhooks.list_webhooks(connection, after, AT_ONCE, descending=False):
        yield from found
        after = (found[-1].created_at, str(found[-1].id))


def _existing(webhook: Webhook | None, id: UUID) -> Webhook:
    if webhook is None:
        fail(f"{WebhookNotFound().detail} ({id})")
    return webhook


def _signed(reason: str) -> str:
    return f"{reason} ({operator().actor})"


def _tell(delivery: Delivery | None, position: int) -> None:
    if delivery is None:
        fail(f"{DeliveryNotFound().detail} ({position})")
    typer.echo(f"The delivery of event {position} is {term('delivery', delivery.state).words}.")


def _tell_state(webhook: Webhook) -> None:
    reason = f": {webhook.disabled_reason}" if webhook.disabled_reason else ""
    typer.echo(f"The webhook {webhook.id} is {term('webhook', webhook.state).words}{cell(reason)}.")


def _see_publisher(connection: Connection[Any]) -> None:
    if not holders(connection, [PUBLISHER]):
        warn(f"nobody delivers: {WHO_PUBLISHES}")


def _print(columns: Sequence[str], found: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    else:
        print_aligned([columns, *([_cell(row[name]) for name in columns] for row in found)])


def _cell(value: Any) -> str:
    return cell(list(value) if isinstance(value, tuple) else value)
