"""The history of events, as it is asked for and shown."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field
from typing_extensions import TypedDict

from api.http.correlation import MAX_CORRELATION_ID_LENGTH
from api.http.fields import ListQuery, Position, ProjectedQuery
from api.http.words import one_of
from api.resources.transactions.list_schemas import Bound
from domain.model.ids import UUID_PATTERN, canonical_id
from domain.model.registry import EVENT_TYPES
from domain.model.streams import ADDRESS_PATTERN, INSTALLATION, MAX_ADDRESS_LENGTH
from domain.model.times import Instant
from projections.read_models.event_history import JournalEvent
from projections.read_models.event_keys import EventFilters

MAX_ACTOR_LENGTH = 255

# Events of keys belong to no ledger.
TYPES = ["", *sorted(name for name in EVENT_TYPES if not name.startswith("key."))]


def _is_type(name: str) -> str:
    if name not in TYPES:
        raise ValueError(one_of(TYPES))
    return name


class EventsQuery(ListQuery, ProjectedQuery):
    """The events of a ledger, in the order of positions; an empty filter filters nothing."""

    after: Position | None = Field(None, description="those at later positions only, whatever the order")
    account: Annotated[
        str, Field(pattern=f"^(?:{ADDRESS_PATTERN[1:-1]})?$", max_length=MAX_ADDRESS_LENGTH)
    ] = Field("", description="that mention this account: those of its own, and those whose entries name it")
    transaction_id: Annotated[
        str, Field(pattern=f"^(?:{UUID_PATTERN[1:-1]})?$"), AfterValidator(canonical_id)
    ] = Field(
        "",
        description="that mention this transaction: those of its own, what it caused, and what names its id",
    )
    correlation_id: Annotated[str, Field(pattern=rf"^[!-~]{{0,{MAX_CORRELATION_ID_LENGTH}}}$")] = ""
    actor: Annotated[str, Field(pattern=rf"^[^\x00]{{0,{MAX_ACTOR_LENGTH}}}$")] = Field(
        "", description="the name of the key that asked for it"
    )
    type: Annotated[str, AfterValidator(_is_type), Field(json_schema_extra={"enum": [*TYPES]})] = Field(
        "", examples=["transaction.posted"]
    )
    since: Bound = Field(None, alias="from", description="recorded from then on, inclusive")
    until: Bound = Field(None, alias="to", description="recorded before then, exclusive")


class TrailQuery(ListQuery, ProjectedQuery):
    """The events that belong to no ledger, in the order of positions; an empty filter filters nothing."""

    after: Position | None = Field(None, description="those at later positions only, whatever the order")
    key_id: Annotated[str, Field(pattern=f"^(?:{UUID_PATTERN[1:-1]})?$"), AfterValidator(canonical_id)] = (
        Field("", description="of this key, and of the one that it replaces or is replaced by")
    )
    correlation_id: Annotated[str, Field(pattern=rf"^[!-~]{{0,{MAX_CORRELATION_ID_LENGTH}}}$")] = ""
    actor: Annotated[str, Field(pattern=rf"^[^\x00]{{0,{MAX_ACTOR_LENGTH}}}$")] = Field(
        "", description="the name of the key that asked for it, or who did it without one"
    )
    type: Literal["key.made", "key.rotated", "key.revoked", ""] = ""
    since: Bound = Field(None, alias="from", description="recorded from then on, inclusive")
    until: Bound = Field(None, alias="to", description="recorded before then, exclusive")

    @property
    def filters(self) -> EventFilters:
        """What an event must be to be found, but for the key."""
        return EventFilters(
            correlation_id=self.correlation_id or None,
            actor=self.actor or None,
            type=self.type or None,
            recorded_from=self.since,
            recorded_to=self.until,
        )


class EventBody(TypedDict):
    """An event as it is stored; what cannot be read of it is null, and the ledger of one that belongs to none.

    `leaf_hash` is the hash of its leaf, number position − 1, in the Merkle tree over the whole journal (RFC 9162): the
    SHA-256 of a zero byte and the leaf. The leaf is JSON without blanks, `{"position":…,"stream":…,"version":…,
    "type":…,"event":{"class_version":…,"recorded_at":…,"actor":…,"correlation_id":…,"causation_id":…,
    "idempotency_key":…,"traceparent":…,"data":…}}`, where `class_version` is `schema_version`, and `data` is `payload`
    with its members in the order in which they are shown.
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


def event_body(event: JournalEvent) -> EventBody:
    """Return an event as it is shown."""
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
