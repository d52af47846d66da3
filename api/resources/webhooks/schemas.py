"""Webhooks and their deliveries: requests and answers."""

from typing import Annotated, Any, Literal, NotRequired

from pydantic import AfterValidator, Field, WithJsonSchema
from typing_extensions import TypeAliasType, TypedDict

from api.http.fields import InstallationName, InstallationQuery, ListQuery, Request, in_parts
from api.http.models.formats import Id, Instant, Url
from api.http.words import one_of
from api.resources.installation.key_schemas import GrantedLedger
from domain.model.registry import EVENT_TYPES
from projections.diagnosis.glossary import meanings
from projections.outbox.deliveries import Delivery, State
from projections.outbox.destinations import MAX_URL_LENGTH
from projections.outbox.webhooks import DEFAULT_OVERLAP_SECONDS, MAX_OVERLAP_SECONDS, Webhook
from projections.read_models.outbox import EVERY


def _known(name: str) -> str:
    if name != EVERY and name not in EVENT_TYPES:
        raise ValueError(one_of([EVERY, *EVENT_TYPES]))
    return name


WebhookEventType = TypeAliasType(
    "WebhookEventType",
    Annotated[
        str,
        AfterValidator(_known),
        WithJsonSchema(
            {
                "type": "string",
                "enum": [EVERY, *sorted(EVENT_TYPES)],
                "description": f"A type of event; `{EVERY}` is every type.",
            }
        ),
    ],
)
WebhookState = TypeAliasType(
    "WebhookState", Annotated[Literal["enabled", "disabled"], Field(description=meanings("webhook"))]
)
DeliveryState = TypeAliasType("DeliveryState", Annotated[State, Field(description=meanings("delivery"))])
AttemptOutcome = TypeAliasType("AttemptOutcome", Literal["sent", "acknowledged", "failed", "suppressed"])


class WebhookRequest(Request):
    """A webhook to register. `["*"]` is every ledger, or every type. A ledger need not exist yet."""

    url: Annotated[
        str, Field(min_length=1, max_length=MAX_URL_LENGTH, examples=["https://example.com/ledger"])
    ]
    ledgers: Annotated[list[GrantedLedger], Field(min_length=1, max_length=1000), in_parts(1000, part=100)]
    types: Annotated[list[WebhookEventType], Field(min_length=1, max_length=100), in_parts(100, part=100)]
    description: Annotated[str, Field(max_length=1000)] = ""


class WebhookSecretRotation(Request):
    """A secret to replace. The old secret signs too for the overlap."""

    overlap_seconds: Annotated[
        int,
        Field(
            ge=0,
            le=MAX_OVERLAP_SECONDS,
            description=f"how long the old secret signs too; default: {DEFAULT_OVERLAP_SECONDS}",
        ),
    ] = DEFAULT_OVERLAP_SECONDS


class WebhooksQuery(ListQuery, InstallationQuery):
    """The list of webhooks, in the order in which they were registered."""


class DeliveriesQuery(ListQuery):
    """The filter of the list of a webhook's deliveries, in the order of positions."""

    state: DeliveryState | None = Field(None, description="only deliveries in this state; default: all")


class WebhookBody(TypedDict):
    """A webhook, without its secrets.

    Events after `position` are sent to it. `failing_since` is when its attempts began to fail, null if the last one was
    acknowledged. `suppressed` counts the deliveries that a rebuild of the projection would have repeated.
    """

    id: Id
    url: Url
    ledgers: list[str]
    types: list[WebhookEventType]
    description: str
    state: WebhookState
    disabled_reason: str | None
    failing_since: Instant | None
    position: int
    suppressed: int
    created_by: str
    created_at: Instant
    installation: NotRequired[InstallationName]


class NewWebhookBody(WebhookBody):
    """A webhook just registered. `secret` is shown only now."""

    secret: str


class WebhookSecretBody(TypedDict):
    """A secret just made. It is shown only now."""

    id: Id
    secret: str


class DeliveryAttemptBody(TypedDict):
    """An attempt, or the decision not to make one.

    `duplicated` means that the receiver may have got it before. `status_code` is null if no answer came.
    """

    number: int
    outcome: AttemptOutcome
    duplicated: bool
    sent_at: Instant
    ended_at: Instant | None
    duration_seconds: float | None
    status_code: int | None
    reason: str | None


class DeliveryBody(TypedDict):
    """An event that is owed to a webhook, with every attempt to deliver it.

    `next_attempt_at` is null while the delivery waits behind another of its partition key, and when it is done.
    """

    id: str
    webhook_id: Id
    position: int
    event_id: str
    type: str
    partition_key: str
    correlation_id: str
    state: DeliveryState
    reason: str | None
    next_attempt_at: Instant | None
    attempts: list[DeliveryAttemptBody]


def webhook_body(webhook: Webhook) -> dict[str, Any]:
    """Return the body for a webhook."""
    return {**webhook._asdict(), "id": str(webhook.id)}


def delivery_body(delivery: Delivery) -> dict[str, Any]:
    """Return the body for a delivery."""
    return {
        **delivery._asdict(),
        "id": str(delivery.position),
        "webhook_id": str(delivery.webhook_id),
        "attempts": [attempt._asdict() for attempt in delivery.attempts],
    }
