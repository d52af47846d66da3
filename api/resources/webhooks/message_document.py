"""The messages to webhooks in the OpenAPI document: one for each type of event, and what a receiver may answer."""

from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field, TypeAdapter
from typing_extensions import TypedDict

from api.http.models.formats import Instant, Path
from api.http.models.names import named, reference, union
from api.resources.journal.event_document import camel_case, meaning
from api.resources.journal.event_schemas import TYPES


class MessageDataBody(TypedDict):
    """The event, as it is stored."""

    position: int
    ledger: str
    stream: str
    version: int
    type: str
    schema_version: int
    recorded_at: Instant
    actor: str
    correlation_id: str
    causation_id: str
    idempotency_key: str | None
    payload: dict[str, Any]


class MessageBody(TypedDict):
    """A message to a webhook: a CloudEvent 1.0.

    `id` is the same in every attempt. Messages with the same `partitionkey` are told in the order of `sequence`, which
    is the position of the event, written so that texts compare as numbers do.
    """

    specversion: Literal["1.0"]
    id: str
    source: Path
    type: str
    subject: str
    time: Instant
    datacontenttype: Literal["application/json"]
    partitionkey: str
    sequence: Annotated[str, Field(pattern="^[0-9]{19}$")]
    correlationid: str
    causationid: str
    traceparent: NotRequired[str]
    data: MessageDataBody


def with_messages(document: dict[str, Any]) -> dict[str, Any]:
    """Return the document with a webhook for each type of event, and `WebhookMessage` as the union of its messages."""
    schema = TypeAdapter(MessageBody).json_schema(ref_template="{model}")
    data = named(schema.pop("$defs"))["MessageData"]
    (common,) = named({"MessageBody": schema}).values()
    schemas = document["components"]["schemas"]
    schemas |= {f"{camel_case(topic)}Message": _message(common, data, topic) for topic in TYPES}
    schemas["WebhookMessage"] = {
        "title": "WebhookMessage",
        "description": common["description"],
        **union("type", {topic: f"{camel_case(topic)}Message" for topic in TYPES}),
    }
    document["webhooks"] = {topic: {"post": _told(topic)} for topic in TYPES}
    return document


def _message(common: dict[str, Any], data: dict[str, Any], topic: str) -> dict[str, Any]:
    name, type_of = f"{camel_case(topic)}Message", {"type": {"type": "string", "const": topic}}
    payload = reference(f"{camel_case(topic)}Payload")
    event = {key: value for key, value in data.items() if key != "title"}
    event["properties"] = {**data["properties"], **type_of, "payload": payload}
    members = {**common["properties"], **type_of, "data": event}
    return {**common, "title": name, "description": meaning(topic), "properties": members}


def _told(topic: str) -> dict[str, Any]:
    return {
        "operationId": f"receive_{topic.replace('.', '_')}",
        "summary": f"An event {topic} was recorded",
        "description": meaning(topic),
        "tags": ["Webhooks"],
        "security": [],
        "parameters": [
            {
                "name": name,
                "in": "header",
                "required": True,
                "schema": {"type": "string"},
                "description": description,
            }
            for name, description in _HEADERS.items()
        ],
        "requestBody": {
            "required": True,
            "content": {"application/cloudevents+json": {"schema": reference(f"{camel_case(topic)}Message")}},
        },
        "responses": {
            "2XX": {"description": "The message is acknowledged, whatever the body of the answer."},
            "410": {"description": "The webhook is disabled."},
            "default": {"description": "The message is sent again later, after `Retry-After` at the latest."},
        },
    }


_HEADERS = {
    "webhook-id": "The id of the message: the same in every attempt.",
    "webhook-timestamp": "When this attempt was signed, in seconds of Unix time.",
    "webhook-signature": "The signatures of this attempt (Standard Webhooks), one for each valid secret.",
    "Correlation-Id": "The correlation id of the request that caused the event.",
}
