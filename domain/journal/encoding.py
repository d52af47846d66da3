"""The stored form of an event: JSON bytes, the envelope first, the event itself under `data`.

The audit hashes these bytes, and a golden file pins them for every type and version. Encoding an event takes about a
microsecond, because the part that all events of a command share is encoded once. `encode_abbreviated` is how the
writers of this project encode: the same bytes as they are stored (domain/journal/abbreviations.py).
"""

from collections.abc import Callable
from functools import cache
from typing import Annotated, Any

import msgspec
from msgspec import Meta, MsgspecError, Raw, Struct, defstruct
from msgspec.json import Decoder
from msgspec.structs import fields

from domain.journal.abbreviations import abbreviated_data, abbreviated_envelope, begin, whole_data
from domain.journal.short_forms import SHORT_FORMS, envelope_in_short
from domain.model.events import Envelope, Event, Recorded
from domain.model.registry import EVENT_TYPES

_encode = msgspec.json.Encoder().encode
_BEFORE_DATA = b',"data":'


class UnreadableEvent(Exception):
    """This release cannot understand an event of the journal. `reason` says why, in one word."""

    reason = "unreadable"


class NewerVersion(UnreadableEvent):
    """The event's type or version belongs to a newer release than this one."""

    reason = "newer_version"


class _Form(Struct):
    class_version: int


class _Stored(Envelope, frozen=True, gc=False):
    class_version: int
    data: Raw


_decode_form = Decoder(_Form).decode
_decode_stored = Decoder(_Stored).decode
_UNDECODABLE = (MsgspecError, ValueError, AttributeError, KeyError, TypeError, RecursionError)


def encode_envelope(envelope: Envelope) -> bytes:
    """Return the envelope's part of the stored form, which all events of one command share."""
    return _encode(envelope)[1:-1] + _BEFORE_DATA


def envelope_in(state: bytes) -> bytes:
    """Return the envelope's part of a stored event: all of it if it is not stored in this form."""
    begin, end = state.find(b","), state.find(_BEFORE_DATA)
    return state[begin:end] if 0 <= begin < end else state


def encode_event(event: Event, envelope: bytes) -> bytes:
    """Return the stored form of an event, given its encoded envelope."""
    return b"".join((_prefix(type(event)), envelope, _encode(event), b"}"))


def encode_abbreviated_envelope(envelope: Envelope) -> bytes:
    """Return `encode_envelope`, abbreviated."""
    return envelope_in_short(envelope) or abbreviated_envelope(encode_envelope(envelope))


def encode_abbreviated(event: Event, envelope: bytes) -> bytes:
    """Return the abbreviated form of an event, given its abbreviated envelope, or `ENVELOPE` if it shares one."""
    event_type = type(event)
    form = SHORT_FORMS.get(event_type)
    data = form(event) if form else None
    if data is None:
        data = abbreviated_data(event_type.TOPIC, _encode(event))
    return b"".join((_short_prefix(event_type), envelope, data, b"}"))


def decode(stream: str, version: int, topic: str, state: bytes, position: int) -> Recorded:
    """Return a stored event, upcast to the current version of its type.

    Raises `NewerVersion` for a topic or version that this release does not know, and `UnreadableEvent` for anything
    else that cannot be decoded.
    """
    event_type = EVENT_TYPES.get(topic)
    if event_type is None:
        raise NewerVersion(f"event {position} has the unknown topic {topic}")
    try:
        current = _decoder_of_current(event_type)(state)
        return Recorded(stream, version, position, _envelope(current), current.data)
    except _UNDECODABLE:  # perhaps it has an older version
        pass
    try:
        stored = _decode_stored(state)
        return Recorded(stream, version, position, _envelope(stored), _event(event_type, stored))
    except _UNDECODABLE as error:
        if _is_newer(event_type, state):
            raise NewerVersion(f"event {position} of topic {topic} is newer than this release") from error
        raise UnreadableEvent(f"event {position} of topic {topic} cannot be decoded") from error


def decode_data(topic: str, state: bytes) -> Event:
    """Return what happened, given an abbreviated state without the envelope that it may share.

    Raises an exception if the state has not the current version of its type, or cannot be decoded.
    """
    event_type = EVENT_TYPES[topic]
    if not state.startswith(_short_prefix(event_type)):
        raise UnreadableEvent(topic)
    return _decoder(event_type)(Raw(whole_data(state)))


def _is_newer(event_type: type[Event], state: bytes) -> bool:
    """Tell whether the stored version is newer than this release, whatever else is stored."""
    try:
        return _decode_form(state).class_version > event_type.class_version
    except _UNDECODABLE:
        return False


def _envelope(stored: Any) -> Envelope:
    return Envelope(
        stored.recorded_at,
        stored.actor,
        stored.correlation_id,
        stored.causation_id,
        stored.idempotency_key,
        stored.traceparent,
    )


@cache
def _decoder_of_current(event_type: type[Event]) -> Callable[[bytes], Any]:
    """Return the decoder of states in the current version of a type. To decode the data apart takes a third longer."""
    only = Annotated[int, Meta(ge=event_type.class_version, le=event_type.class_version)]
    envelope = [(field.name, field.type) for field in fields(Envelope)]
    # In the order in which they are stored: so each is found at once.
    members = [("class_version", only), *envelope, ("data", event_type)]
    return Decoder(defstruct(event_type.__name__, members, frozen=True, gc=False)).decode


def _event(event_type: type[Event], stored: _Stored) -> Event:
    if stored.class_version == event_type.class_version:
        return _decoder(event_type)(stored.data)
    data = msgspec.json.decode(stored.data)
    upcast(event_type, stored.class_version, data)
    return msgspec.convert(data, event_type)


def upcast(event_type: type[Event], class_version: int, data: dict[str, Any]) -> None:
    """Change the stored data of an older version, in place, to the current version of its type.

    Raises `NewerVersion` if the stored version is newer than this release.
    """
    if class_version > event_type.class_version:
        raise NewerVersion(f"version {class_version} of {event_type.TOPIC} is newer than this release")
    for older in range(class_version, event_type.class_version):
        getattr(event_type, f"upcast_v{older}_v{older + 1}")(data)


@cache
def _decoder(event_type: type[Event]) -> Callable[[Raw], Event]:
    return Decoder(event_type).decode


@cache
def _prefix(event_type: type[Event]) -> bytes:
    return f'{{"class_version":{event_type.class_version},'.encode()


@cache
def _short_prefix(event_type: type[Event]) -> bytes:
    return begin(b"%d" % event_type.class_version)
