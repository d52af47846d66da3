"""An event as others are told of it: a CloudEvent 1.0 in its JSON form, the same bytes whenever it is told.

The event's data is the event as the audit shows it. Extensions (`partitionkey`, `sequence`, `traceparent`, and ours)
carry what a consumer orders and ties together by.
"""

from typing import Any, NamedTuple

import msgspec

from domain.journal.reader import Row
from domain.model.streams import INSTALLATION, ledger_of
from domain.model.times import Instant
from projections.read_models.outbox import partition_key

MEDIA_TYPE = "application/cloudevents+json; charset=utf-8"

# Consumers compare a sequence as text (CloudEvents, Sequence extension), so all have as many digits as one may need.
_SEQUENCE_DIGITS = 19


class Message(NamedTuple):
    """What is sent of an event, and by which id, ledger and type it goes."""

    id: str
    ledger: str
    type: str
    headers: dict[str, str]
    body: bytes


class StoredMessage(msgspec.Struct):
    """An event as it is stored; its data is passed on as it is, of whatever version."""

    class_version: int
    recorded_at: Instant
    actor: str
    correlation_id: str
    causation_id: str
    idempotency_key: str | None
    traceparent: str | None
    data: msgspec.Raw


def event_id(stream: str, position: int) -> str:
    """Return the id by which consumers know an event again, whoever tells them of it and how often."""
    return f"{ledger_of(stream)}/{position}"


def message_of(row: Row, public_url: str) -> Message:
    """Return the message of a stored event; `public_url` is where the service is reached, for the event's `source`.

    Raises `ValueError` for an event that is not of the form in which events are stored.
    """
    stream, version, topic, state, position = row
    ledger: str | None = ledger_of(stream)
    source = f"/v1/ledgers/{ledger}"
    if ledger == INSTALLATION:
        ledger, source = None, "/v1/audit/events"
    stored = _decoded(state)
    id = event_id(stream, position)
    attributes: dict[str, Any] = {
        "specversion": "1.0",
        "id": id,
        "source": f"{public_url}{source}",
        "type": topic,
        "subject": stream.partition("/")[2],
        "time": stored.recorded_at,
        "datacontenttype": "application/json",
        "partitionkey": partition_key(stream),
        "sequence": f"{position:0{_SEQUENCE_DIGITS}d}",
        "correlationid": stored.correlation_id,
        "causationid": stored.causation_id,
    }
    headers = {"Correlation-Id": stored.correlation_id}
    if stored.traceparent is not None:
        attributes["traceparent"] = headers["traceparent"] = stored.traceparent
    attributes["data"] = {
        "position": position,
        "ledger": ledger,
        "stream": stream,
        "version": version,
        "type": topic,
        "schema_version": stored.class_version,
        "recorded_at": stored.recorded_at,
        "actor": stored.actor,
        "correlation_id": stored.correlation_id,
        "causation_id": stored.causation_id,
        "idempotency_key": stored.idempotency_key,
        "payload": stored.data,
    }
    return Message(id, ledger_of(stream), topic, headers, _encoder.encode(attributes))


def _decoded(state: bytes) -> StoredMessage:
    try:
        return _decoder.decode(state)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ValueError(str(error)) from error


_decoder = msgspec.json.Decoder(StoredMessage)
_encoder = msgspec.json.Encoder()
