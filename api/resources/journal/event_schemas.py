"""The history of events: requests and answers."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, Field, WithJsonSchema
from typing_extensions import TypeAliasType, TypedDict

from api.http.correlation import MAX_CORRELATION_ID_LENGTH
from api.http.fields import InstallationQuery, ListQuery, Position, ProjectedQuery
from api.http.models.formats import Instant
from api.http.words import one_of
from api.resources.transactions.list_schemas import Bound
from domain.model.ids import UUID_PATTERN, canonical_id
from domain.model.registry import EVENT_TYPES
from domain.model.streams import ADDRESS_PATTERN, INSTALLATION, MAX_ADDRESS_LENGTH
from projections.read_models.event_history import JournalEvent
from projections.read_models.event_keys import EventFilters

MAX_ACTOR_LENGTH = 255

# Events of keys and of witnessed logs belong to no ledger.
TYPES = sorted(name for name in EVENT_TYPES if not name.startswith(("key.", "checkpoint.")))


def _is_type(name: str) -> str:
    if name not in ("", *TYPES):
        raise ValueError(one_of(TYPES))
    return name


EventType = TypeAliasType("EventType", Annotated[str, WithJsonSchema({"type": "string", "enum": TYPES})])
KeyEventType = TypeAliasType("KeyEventType", Literal["key.made", "key.rotated", "key.revoked"])
KEY_TYPES: Sequence[str] = get_args(KeyEventType.__value__)
WITNESSED_TYPES = sorted(name for name in EVENT_TYPES if name.startswith("checkpoint."))
IdFilter = Annotated[
    str,
    Field(pattern=f"^(?:{UUID_PATTERN[1:-1]})?$", json_schema_extra={"format": "uuid"}),
    AfterValidator(canonical_id),
]


class EventsQuery(ListQuery, ProjectedQuery):
    """The filters of a ledger's events. An empty filter is no filter."""

    after: Position | None = Field(None, description="only later positions than this, in either order")
    account: Annotated[
        str, Field(pattern=f"^(?:{ADDRESS_PATTERN[1:-1]})?$", max_length=MAX_ADDRESS_LENGTH)
    ] = Field("", description="only events that mention this account: its own, and those with entries on it")
    transaction_id: IdFilter = Field(
        "",
        description="only events that mention this transaction: its own, those it caused, those that name its id",
    )
    correlation_id: Annotated[str, Field(pattern=rf"^[!-~]{{0,{MAX_CORRELATION_ID_LENGTH}}}$")] = ""
    actor: Annotated[str, Field(pattern=rf"^[^\x00]{{0,{MAX_ACTOR_LENGTH}}}$")] = Field(
        "", description="the name of the key that made the request"
    )
    type: Annotated[EventType | Literal[""], AfterValidator(_is_type)] = Field(
        "", examples=["transaction.posted"]
    )
    since: Bound = Field(None, alias="from", description="recorded at this time or later")
    until: Bound = Field(None, alias="to", description="recorded before this time")

    @property
    def filters(self) -> EventFilters:
        """All filters."""
        return EventFilters(
            account=self.account,
            transaction_id=self.transaction_id,
            correlation_id=self.correlation_id,
            actor=self.actor,
            type=self.type,
            recorded_from=self.since,
            recorded_to=self.until,
        )


class TrailQuery(ListQuery, ProjectedQuery, InstallationQuery):
    """The filters of the events that belong to no ledger. An empty filter is no filter."""

    after: Position | None = Field(None, description="only later positions than this, in either order")
    key_id: IdFilter = Field(
        "", description="only events of this key, of the key it replaced, and of the key that replaced it"
    )
    correlation_id: Annotated[str, Field(pattern=rf"^[!-~]{{0,{MAX_CORRELATION_ID_LENGTH}}}$")] = ""
    actor: Annotated[str, Field(pattern=rf"^[^\x00]{{0,{MAX_ACTOR_LENGTH}}}$")] = Field(
        "",
        description="the name of the key that made the request, or of the process that acted without a key",
    )
    type: KeyEventType | Literal[""] = ""
    since: Bound = Field(None, alias="from", description="recorded at this time or later")
    until: Bound = Field(None, alias="to", description="recorded before this time")

    @property
    def filters(self) -> EventFilters:
        """All filters except the key."""
        return EventFilters(
            correlation_id=self.correlation_id or None,
            actor=self.actor or None,
            type=self.type or None,
            recorded_from=self.since,
            recorded_to=self.until,
        )


class EventBody(TypedDict):
    """An event as it is stored. Members that cannot be read are null; `ledger` is null if the event belongs to none.

    The payload of an event that no release recorded is shown too, whatever it holds.

    `leaf_hash` is the hash of the event's leaf in the Merkle tree over the whole journal (RFC 9162): the SHA-256 of a
    zero byte and the leaf. The leaf's number is position − 1. The leaf is JSON without blanks, `{"position":…,
    "stream":…,"version":…,"type":…,"event":{"class_version":…,"recorded_at":…,"actor":…,"correlation_id":…,
    "causation_id":…,"idempotency_key":…,"traceparent":…,"data":…}}`. In it, `class_version` is `schema_version`, and
    `data` is `payload` with its members in the order shown here.
    """

    position: int
    stream: str
    version: int
    type: str
    schema_version: int | None
    recorded_at: Instant | None
    actor: str | None
    correlation_id: str | None
    causation_id: str | None
    idempotency_key: str | None
    payload: Any
    leaf_hash: str
    ledger: str | None
    traceparent: str | None


class KeyEventBody(EventBody):
    """An event of the trail of keys, as it is stored. It belongs to no ledger."""


def event_body(event: JournalEvent) -> EventBody:
    """Return the body for an event."""
    stream, version, topic, _, position = event.row
    content = event.content
    return {
        "position": position,
        "stream": stream,
        "version": version,
        "type": topic,
        "schema_version": content.schema_version,
        "recorded_at": content.text("recorded_at"),
        "actor": content.text("actor"),
        "correlation_id": content.text("correlation_id"),
        "causation_id": content.text("causation_id"),
        "idempotency_key": content.text("idempotency_key"),
        "payload": content.payload,
        "leaf_hash": event.leaf_hash.hex(),
        "ledger": None if event.ledger == INSTALLATION else event.ledger,
        "traceparent": content.text("traceparent"),
    }
