"""Webhooks and their deliveries, as they are asked for and shown."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field
from typing_extensions import TypedDict

from api.http.fields import ListQuery, Reasoned, Request, in_parts
from api.http.words import one_of
from api.resources.installation.key_schemas import GrantedLedger
from domain.model.registry import EVENT_TYPES
from domain.model.times import Instant
from projections.outbox.deliveries import Delivery, State
from projections.outbox.destinations import MAX_URL_LENGTH
from projections.outbox.webhooks import DEFAULT_OVERLAP_SECONDS, MAX_OVERLAP_SECONDS, Webhook
from projections.read_models.outbox import EVERY


def _known(name: str) -> str:
    if name != EVERY and name not in EVENT_TYPES:
        raise ValueError(one_of([EVERY, *EVENT_TYPES]))
    return name


EventType = Annotated[
    str, AfterValidator(_known), Field(json_schema_extra={"enum": [EVERY, *sorted(EVENT_TYPES)]})
]
Reason = Annotated[str, Field(min_length=1, max_length=500, pattern=r"\S")]


class WebhookRequest(Request):
    """A webhook to register. `["*"]` is every ledger, or every type; a ledger need not exist yet."""

    url: Annotated[
        str, Field(min_length=1, max_length=MAX_URL_LENGTH, examples=["https://example.com/ledger"])
    ]
    ledgers: Annotated[list[GrantedLedger], Field(min_length=1, max_length=1000), in_parts(1000, part=100)]
    types: Annotated[list[EventType], Field(min_length=1, max_length=100), in_parts(100, part=100)]
    description: Annotated[str, Field(max_length=1000)] = ""


class SecretRotation(Request):
    """A secret to replace by a new one; the old one signs too for the overlap."""

    overlap_seconds: Annotated[int, Field(ge=0, le=MAX_OVERLAP_SECONDS)] = DEFAULT_OVERLAP_SECONDS


class ReasonRequest(Request):
    """Why something is done that stops deliveries."""

    reason: Reason


class GoingOn(Reasoned):
    """Why a webhook is enabled or a delivery retried, if that is to be told: it is logged, with who does it."""


class WebhooksQuery(ListQuery):
    """The list of webhooks, by when they were registered."""


class DeliveriesQuery(ListQuery):
    """The list of a webhook's deliveries, in the order of positions."""

    state: State | None = Field(None, description="those in this state; all without it")


class WebhookBody(TypedDict):
    """A webhook, without its secrets.

    It is told of the events after `position`. `failing_since` is when the attempts began to fail, null if the last was
    acknowledged. `suppressed` counts deliveries that a rebuild of the projection would have made again.
    """

    id: str
    url: str
    ledgers: list[str]
    types: list[str]
    description: str
    state: Literal["enabled", "disabled"]
    disabled_reason: str | None
    failing_since: Instant | None
    position: int
    suppressed: int
    created_by: str
    created_at: Instant


class NewWebhookBody(WebhookBody):
    """A webhook just registered: the secret is shown this once."""

    secret: str


class SecretBody(TypedDict):
    """A secret just made, shown this once."""

    id: str
    secret: str


class AttemptBody(TypedDict):
    """An attempt, or the decision not to make one.

    `duplicated` tells that the receiver may have had it before; `status_code` is null where no answer came.
    """

    number: int
    outcome: Literal["sent", "acknowledged", "failed", "suppressed"]
    duplicated: bool
    sent_at: Instant
    ended_at: Instant | None
    duration_seconds: float | None
    status_code: int | None
    reason: str | None


class DeliveryBody(TypedDict):
    """An event that is owed to a webhook, and every attempt to tell it.

    `next_attempt_at` is null while it is behind another of its partition key, and when it is done.
    """

    id: str
    webhook_id: str
    position: int
    event_id: str
    type: str
    partition_key: str
    correlation_id: str
    state: State
    reason: str | None
    next_attempt_at: Instant | None
    attempts: list[AttemptBody]


def webhook_body(webhook: Webhook) -> dict[str, Any]:
    """Return a webhook as it is shown."""
    return {**webhook._asdict(), "id": str(webhook.id)}


def delivery_body(delivery: Delivery) -> dict[str, Any]:
    """Return a delivery as it is shown."""
    return {
        **delivery._asdict(),
        "id": str(delivery.position),
        "webhook_id": str(delivery.webhook_id),
        "attempts": [attempt._asdict() for attempt in delivery.attempts],
    }
