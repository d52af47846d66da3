"""The webhook that a path names."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any
from uuid import UUID

from psycopg import Connection

from api.http.call import Call
from domain.model.ids import is_id
from projections.engine.live_version import Reading
from projections.errors import WebhookNotFound
from projections.outbox import webhooks
from projections.outbox.webhooks import Webhook


async def find_webhook(call: Call[Any, Any]) -> Webhook:
    """Return the webhook in the path; raise `WebhookNotFound`."""
    return (await look_for_webhook(call)).found


async def look_for_webhook(call: Call[Any, Any]) -> Reading[Webhook]:
    """Return the same, and the position that it reflects; raise `WebhookNotFound`."""
    id = webhook_id(call.path_params)
    found = await call.service.look_up_at_head(partial(webhooks.find_webhook, id=id))
    if found.found is None:
        raise not_found(id)
    return Reading(found.found, *found[1:])


def ledgers_of(connection: Connection[Any], names: Mapping[str, str]) -> Sequence[str] | None:
    """Return the ledgers of the webhook in the path, even of a deleted one; None if there never was one."""
    try:
        return webhooks.ledgers_of(connection, webhook_id(names))
    except WebhookNotFound:
        return None


def not_found(id: UUID) -> WebhookNotFound:
    """Return the refusal of a request that names a webhook that does not exist."""
    return WebhookNotFound(f"There is no webhook {id}, or it was deleted.", webhook_id=str(id))


def webhook_id(names: Mapping[str, str]) -> UUID:
    """Return the id in the path; raise `WebhookNotFound` if it is no id."""
    if not is_id(names["id"]):
        raise WebhookNotFound
    return UUID(names["id"])
