"""Deliveries to a webhook: list them, try one again, give one up."""

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

from psycopg import Connection
from pydantic import Field

from api.http.call import Call
from api.http.consistency import Consistency
from api.http.declaration import OPERATOR, OVERSEER, Concerns, NoQuery, Returns
from api.http.endpoint import endpoint
from api.http.fields import MAX_POSITION, OptionalReason, Page, RequiredReason
from api.http.pages import PAGE_BYTES, page_at_head, reflected
from api.http.responses import Answer, json_answer
from api.http.spanning.spans import Spans
from api.resources.examples import page_of
from api.resources.webhooks import examples
from api.resources.webhooks.named_webhook import find_webhook, ledgers_of
from api.resources.webhooks.schemas import (
    DeliveriesQuery,
    DeliveryBody,
    delivery_body,
)
from projections.errors import DeliveryNotFound, WebhookNotFound
from projections.outbox import deliveries
from projections.outbox.deliveries import Delivery
from projections.outbox.webhooks import Webhook

_Place = Annotated[int, Field(strict=True, ge=1, le=MAX_POSITION)]


@endpoint(
    "GET",
    "/v1/webhooks/{id}/deliveries",
    summary="List the deliveries to a webhook",
    tag="Webhooks",
    consistency=Consistency.PROCESS,
    roles=OVERSEER,
    returns=[Returns(200, "A page of deliveries.", Page[DeliveryBody], page_of(examples.DELIVERY))],
    problems=[WebhookNotFound],
    place=_Place,
    concerns=Concerns.THING,
    ledgers_of=ledgers_of,
    spans=Spans.FOUND,
)
async def list_deliveries(call: Call[DeliveriesQuery, None]) -> Answer:
    """List the deliveries to a webhook by position, each with every attempt. Attempts are not paged."""
    query, webhook = call.query, await find_webhook(call)
    read = partial(
        deliveries.list_deliveries,
        webhook_id=webhook.id,
        state=query.state,
        after=call.cursor_position,
        limit=query.page_size + 1,
        most_bytes=PAGE_BYTES,
        descending=query.descending,
    )
    found = await call.service.look_up_at_head(read)
    return page_at_head(call, found, delivery_body, lambda delivery: delivery.position)


@endpoint(
    "GET",
    "/v1/webhooks/{id}/deliveries/{delivery}",
    summary="Show a delivery",
    tag="Webhooks",
    consistency=Consistency.PROCESS,
    roles=OVERSEER,
    returns=[Returns(200, "The delivery.", DeliveryBody, examples.DELIVERY)],
    problems=[WebhookNotFound, DeliveryNotFound],
    concerns=Concerns.THING,
    ledgers_of=ledgers_of,
    spans=Spans.FOUND,
)
async def get_delivery(call: Call[NoQuery, None]) -> Answer:
    """Show one delivery, with every attempt."""
    webhook, position = await find_webhook(call), _position(call.path_params["delivery"])
    read = partial(
        deliveries.list_deliveries,
        webhook_id=webhook.id,
        state=None,
        after=position - 1,
        limit=1,
        descending=False,
    )
    found = await call.service.look_up_at_head(read)
    if [delivery.position for delivery in found.found] != [position]:
        raise _not_found(webhook, position)
    return json_answer(200, delivery_body(found.found[0]), reflected(found))


@endpoint(
    "POST",
    "/v1/webhooks/{id}/deliveries/{delivery}/retry",
    summary="Retry a delivery",
    tag="Webhooks",
    consistency=Consistency.PROCESS,
    roles=OPERATOR,
    returns=[Returns(200, "The delivery.", DeliveryBody, examples.DELIVERY)],
    problems=[WebhookNotFound, DeliveryNotFound],
    body_example=examples.GOING_ON,
    is_body_optional=True,
    concerns=Concerns.THING,
    ledgers_of=ledgers_of,
    spans=Spans.FOUND,
)
async def retry_delivery(call: Call[NoQuery, OptionalReason]) -> Answer:
    """Try a delivery again at once, and start its schedule of attempts again.

    A delivery that was acknowledged or suppressed is sent again. A delivery that is under way, or waits behind another
    of its partition key, stays as it is.
    """
    actor, reason = call.caller.name, call.body.reason
    return await _change(call, partial(deliveries.retry_delivery, actor=actor, reason=reason))


@endpoint(
    "POST",
    "/v1/webhooks/{id}/deliveries/{delivery}/discard",
    summary="Give up a delivery",
    tag="Webhooks",
    consistency=Consistency.PROCESS,
    roles=OPERATOR,
    returns=[Returns(200, "The delivery.", DeliveryBody, examples.DELIVERY)],
    problems=[WebhookNotFound, DeliveryNotFound],
    body_example=examples.REASON,
    is_body_optional=True,
    concerns=Concerns.THING,
    ledgers_of=ledgers_of,
    spans=Spans.FOUND,
)
async def discard_delivery(call: Call[NoQuery, RequiredReason]) -> Answer:
    """Give up a delivery, so that those behind it in its partition key go on. A delivery that is done stays as it is.

    The reason and the name of the caller's key are kept with it.
    """
    reason = f"{call.body.reason} ({call.caller.name})"
    return await _change(call, partial(deliveries.discard_delivery, reason=reason))


async def _change(call: Call[Any, Any], change: Callable[..., Delivery | None]) -> Answer:
    webhook = await find_webhook(call)
    position = _position(call.path_params["delivery"])

    def on_connection(connection: Connection[Any]) -> Delivery | None:
        return change(connection, webhook_id=webhook.id, position=position)

    delivery = await call.service.query(on_connection)
    if delivery is None:
        raise _not_found(webhook, position)
    return json_answer(200, delivery_body(delivery))


def _not_found(webhook: Webhook, position: int) -> DeliveryNotFound:
    words = f"The webhook {webhook.id} has no delivery {position}."
    return DeliveryNotFound(words, webhook_id=str(webhook.id), delivery_id=str(position))


def _position(id: str) -> int:
    if not (id.isascii() and id.isdecimal() and len(id) <= 19 and int(id) <= MAX_POSITION):
        raise DeliveryNotFound
    return int(id)
