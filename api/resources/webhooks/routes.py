"""Webhooks: register, list and show them, rotate a secret, disable, enable and delete them."""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any
from uuid import UUID

from api.http.call import Call
from api.http.consistency import Consistency
from api.http.declaration import OPERATOR, OVERSEER, Concerns, NoQuery, Returns
from api.http.endpoint import endpoint
from api.http.fields import InstallationQuery, OptionalReason, RequiredReason, SpanningPage, Time
from api.http.pages import reflected
from api.http.responses import Answer, json_answer
from api.http.spanning.lists import listed, part_bytes
from api.http.spanning.spans import Spans
from api.problems import Forbidden
from api.resources.examples import page_of
from api.resources.webhooks import examples
from api.resources.webhooks.named_webhook import (
    find_webhook,
    ledgers_of,
    look_for_webhook,
    not_found,
    webhook_id,
)
from api.resources.webhooks.schemas import (
    NewWebhookBody,
    WebhookBody,
    WebhookRequest,
    WebhookSecretBody,
    WebhookSecretRotation,
    WebhooksQuery,
    webhook_body,
)
from domain.model.errors import InvalidRequest
from projections.engine.live_version import Reading
from projections.errors import WebhookNotFound
from projections.outbox import webhooks
from projections.outbox.destinations import addresses_of, host_of
from projections.outbox.webhooks import Registration, Webhook

LOOK_UP_TIMEOUT_SECONDS = 2.0


@endpoint(
    "POST",
    "/v1/webhooks",
    summary="Register a webhook",
    tag="Webhooks",
    consistency=Consistency.PROCESS,
    roles=OPERATOR,
    returns=[
        Returns(
            201,
            "The webhook. Its secret is shown only now.",
            NewWebhookBody,
            examples.NEW_WEBHOOK,
            headers=("Location",),
        )
    ],
    concerns=Concerns.GRANTED,
    body_example=examples.WEBHOOK_REQUEST,
    spans=Spans.NAMED,
)
async def register_webhook(call: Call[InstallationQuery, WebhookRequest]) -> Answer:
    """Register a webhook. From now on every event that it subscribes to is sent to it, in order for each account.

    Bodies are CloudEvents, signed by Standard Webhooks. The secret is in this answer and is never shown again. URLs
    must be https, without credentials, and lead to public addresses; the addresses are checked again at every
    connection.
    """
    body = call.body
    if not call.caller.may_grant(body.ledgers):
        raise Forbidden("A key can only register a webhook for the ledgers that it was granted.")
    await _require_destination(call, body.url)
    registration = Registration(
        body.url, body.ledgers, body.types, body.description, created_by=call.caller.name
    )
    made, secret = await call.service.query(partial(webhooks.register_webhook, registration=registration))
    headers = {"Location": f"/v1/webhooks/{made.id}", "Cache-Control": "no-store"}
    return json_answer(201, call.as_placed({**webhook_body(made), "secret": secret}), headers)


@endpoint(
    "GET",
    "/v1/webhooks",
    summary="List webhooks",
    tag="Webhooks",
    consistency=Consistency.PROCESS,
    roles=OVERSEER,
    returns=[Returns(200, "A page of webhooks.", SpanningPage[WebhookBody], page_of(examples.WEBHOOK))],
    concerns=Concerns.GRANTED,
    place=tuple[Time, UUID],
    spans=Spans.ALL,
)
async def list_webhooks(call: Call[WebhooksQuery, None]) -> Answer:
    """List webhooks in the order in which they were registered, without their secrets."""
    return json_answer(
        200, *await listed(call, _read, webhook_body, lambda row: (row.created_at, str(row.id)))
    )


async def _read(call: Call[WebhooksQuery, None]) -> Reading[Sequence[Webhook]]:
    query = call.query
    read = partial(
        webhooks.list_webhooks,
        after=call.cursor_position,
        limit=query.page_size + 1,
        most_bytes=part_bytes(call),
        descending=query.descending,
        granted=call.caller.granted,
    )
    return await call.service.look_up_at_head(read)


@endpoint(
    "GET",
    "/v1/webhooks/{id}",
    summary="Show a webhook",
    tag="Webhooks",
    consistency=Consistency.PROCESS,
    roles=OVERSEER,
    returns=[Returns(200, "The webhook.", WebhookBody, examples.WEBHOOK)],
    problems=[WebhookNotFound],
    concerns=Concerns.THING,
    ledgers_of=ledgers_of,
    spans=Spans.FOUND,
)
async def get_webhook(call: Call[NoQuery, None]) -> Answer:
    """Show one webhook."""
    found = await look_for_webhook(call)
    return _shown(call, found.found)._replace(headers=reflected(found))


@endpoint(
    "POST",
    "/v1/webhooks/{id}/rotate",
    summary="Rotate the secret of a webhook",
    tag="Webhooks",
    consistency=Consistency.PROCESS,
    roles=OPERATOR,
    returns=[Returns(201, "The new secret. It is shown only now.", WebhookSecretBody, examples.NEW_SECRET)],
    problems=[WebhookNotFound],
    body_example=examples.ROTATION,
    is_body_optional=True,
    concerns=Concerns.THING,
    ledgers_of=ledgers_of,
    spans=Spans.FOUND,
)
async def rotate_webhook_secret(call: Call[NoQuery, WebhookSecretRotation]) -> Answer:
    """Make a new secret. The old one signs too until the overlap is over, by default a day.

    An old secret that would end earlier anyway keeps its end.
    """
    webhook = await find_webhook(call)
    seconds = call.body.overlap_seconds
    rotate = partial(webhooks.rotate_secret, id=webhook.id, overlap_seconds=seconds)
    secret = await call.service.query(rotate)
    if secret is None:
        raise not_found(webhook.id)
    return json_answer(201, {"id": str(webhook.id), "secret": secret}, {"Cache-Control": "no-store"})


@endpoint(
    "POST",
    "/v1/webhooks/{id}/disable",
    summary="Disable a webhook",
    tag="Webhooks",
    consistency=Consistency.PROCESS,
    roles=OPERATOR,
    returns=[Returns(200, "The webhook.", WebhookBody, examples.WEBHOOK)],
    problems=[WebhookNotFound],
    body_example=examples.REASON,
    is_body_optional=True,
    concerns=Concerns.THING,
    ledgers_of=ledgers_of,
    spans=Spans.FOUND,
)
async def disable_webhook(call: Call[NoQuery, RequiredReason]) -> Answer:
    """Disable a webhook: nothing more is sent until it is enabled. Its deliveries wait. A disabled one stays as it
    is."""
    webhook = await find_webhook(call)
    reason = f"{call.body.reason} ({call.caller.name})"
    disable = partial(webhooks.disable_webhook, id=webhook.id, reason=reason)
    return _shown(call, await call.service.query(disable))


@endpoint(
    "POST",
    "/v1/webhooks/{id}/enable",
    summary="Enable a webhook",
    tag="Webhooks",
    consistency=Consistency.PROCESS,
    roles=OPERATOR,
    returns=[Returns(200, "The webhook.", WebhookBody, examples.WEBHOOK)],
    problems=[WebhookNotFound],
    body_example=examples.GOING_ON,
    is_body_optional=True,
    concerns=Concerns.THING,
    ledgers_of=ledgers_of,
    spans=Spans.FOUND,
)
async def enable_webhook(call: Call[NoQuery, OptionalReason]) -> Answer:
    """Enable a webhook. Waiting deliveries are due at once, and their schedule of attempts starts again."""
    webhook = await find_webhook(call)
    actor, reason = call.caller.name, call.body.reason
    enable = partial(webhooks.enable_webhook, id=webhook.id, actor=actor, reason=reason)
    return _shown(call, await call.service.query(enable))


@endpoint(
    "DELETE",
    "/v1/webhooks/{id}",
    summary="Delete a webhook",
    tag="Webhooks",
    consistency=Consistency.PROCESS,
    roles=OPERATOR,
    returns=[Returns(204, "The webhook is deleted.")],
    problems=[WebhookNotFound],
    concerns=Concerns.THING,
    ledgers_of=ledgers_of,
    spans=Spans.FOUND,
)
async def delete_webhook(call: Call[NoQuery, None]) -> Answer:
    """Delete a webhook: nothing more is sent, and its secrets are forgotten. Idempotent.

    Waiting deliveries are suppressed. The record of its deliveries stays.
    """
    id = webhook_id(call.path_params)
    delete = partial(webhooks.delete_webhook, id=id, actor=call.caller.name)
    if not await call.service.query(delete):
        raise not_found(id)
    return Answer(204)


def _existing(webhook: Webhook | None) -> Webhook:
    if webhook is None:
        raise WebhookNotFound
    return webhook


def _shown(call: Call[Any, Any], webhook: Webhook | None) -> Answer:
    return json_answer(200, call.as_placed(webhook_body(_existing(webhook))))


async def _require_destination(call: Call[Any, Any], url: str) -> None:
    """Raise `InvalidRequest` if a URL may not be registered.

    A host name that cannot be looked up now is accepted: it is checked at each delivery, which records if it fails.
    """
    policy = call.service.destinations
    refusal = policy.refusal(url)
    if refusal is None:
        refusal = policy.refusal_of_addresses(await _addresses(*host_of(url)))
    if refusal is not None:
        raise InvalidRequest("/url", refusal)


async def _addresses(host: str, port: int) -> list[str]:
    looking = asyncio.get_running_loop().run_in_executor(None, addresses_of, host, port)
    try:
        async with asyncio.timeout(LOOK_UP_TIMEOUT_SECONDS):
            return await looking
    except (OSError, TimeoutError):
        return []
