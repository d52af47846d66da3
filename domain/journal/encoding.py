"""How an event is stored: JSON bytes, the envelope first, the event itself under `data`.

The bytes are what the audit hashes, and a golden file pins them for every type and version. An event is encoded in
about a microsecond, since what all events of a command share is encoded once.
"""

from functools import cache, lru_cache
from typing import Any

from pydantic import ValidationError
from pydantic_core import from_json

from domain.aggregates import EVENT_TYPES
from domain.events import Envelope, Event, Recorded

_envelope_to_json = Envelope.__pydantic_serializer__.to_json
_BEFORE_DATA = b',"data":'


class UnreadableEvent(Exception):
    """An event of the journal cannot be understood by this release; `reason` says why, in one word."""

    reason = "unreadable"


class NewerVersion(UnreadableEvent):
    """The event's type or version belongs to a newer release than this one."""

    reason = "newer_version"


def encode_envelope(envelope: Envelope) -> bytes:
    """Return the part of the stored form that all events of one command share."""
    return _envelope_to_json(envelope)[1:-1] + _BEFORE_DATA


def encode_event(event: Event, envelope: bytes) -> bytes:
    """Return the stored form of an event, given its encoded envelope."""
    return _prefix(type(event)) + envelope + event.__pydantic_serializer__.to_json(event) + b"}"


def decode(stream: str, version: int, topic: str, state: bytes, position: int) -> Recorded:
    """Return a stored event, brought up to the present version of its type.

    Raises `NewerVersion` for a topic or version that this release does not know, else `UnreadableEvent`.
    """
    event_type = EVENT_TYPES.get(topic)
    if event_type is None:
        raise NewerVersion(f"event {position} has the unknown topic {topic}")
    try:
        envelope, event = _as_encoded(event_type, state) or _by_meaning(event_type, state)
    except (ValueError, ValidationError, AttributeError, KeyError, TypeError) as error:
        raise UnreadableEvent(f"event {position} of topic {topic} cannot be decoded") from error
    return Recorded(stream, version, position, envelope, event)


def _as_encoded(event_type: type[Event], state: bytes) -> tuple[Envelope, Event] | None:
    """Decode what `encode_event` made of the present version of a type, None if the bytes are otherwise.

    In a third of the time, since the event is made straight of its bytes, and the envelope once for all events of a
    command. No text within the envelope can be taken for its end: quotes in text are escaped.
    """
    prefix, end = _prefix(event_type), state.find(_BEFORE_DATA)
    if end < 0 or not state.startswith(prefix) or not state.endswith(b"}"):
        return None
    try:
        envelope = _decode_envelope(state[len(prefix) : end])
        return envelope, event_type.__pydantic_validator__.validate_json(state[end + len(_BEFORE_DATA) : -1])
    except ValidationError:
        return None


def _by_meaning(event_type: type[Event], state: bytes) -> tuple[Envelope, Event]:
    """Decode any JSON that means an event of a type, of the present version or an older one."""
    stored = from_json(state)
    data, class_version = stored.pop("data"), stored.pop("class_version")
    if class_version != event_type.class_version:
        upcast(event_type, class_version, data)
    return Envelope(**stored), event_type.model_validate(data)


@lru_cache(maxsize=64)
def _decode_envelope(encoded: bytes) -> Envelope:
    envelope: Envelope = Envelope.__pydantic_validator__.validate_json(b"{" + encoded + b"}")
    return envelope


def upcast(event_type: type[Event], class_version: int, data: dict[str, Any]) -> None:
    """Change stored data of an older version of its type, in place, into that of the present one.

    Raises `NewerVersion` if the stored version is above the one that this release knows.
    """
    if class_version > event_type.class_version:
        raise NewerVersion(f"version {class_version} of {event_type.TOPIC} is newer than this release")
    for older in range(class_version, event_type.class_version):
        getattr(event_type, f"upcast_v{older}_v{older + 1}")(data)


@cache
def _prefix(event_type: type[Event]) -> bytes:
    return f'{{"class_version":{event_type.class_version},'.encode()
