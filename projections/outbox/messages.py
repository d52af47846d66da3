"""The message for an event: a CloudEvent 1.0 in JSON, with the same bytes however often it is sent.

The event's data is the event as the audit shows it. Extension attributes (`partitionkey`, `sequence`, `traceparent`,
and Tallystick's own) carry what a consumer needs to order events and to connect them.
"""

from hashlib import sha256
from typing import Any, NamedTuple

import msgspec

from domain.journal.reader import Row
from domain.model.streams import INSTALLATION, ledger_of
from domain.model.times import Instant
from projections.read_models.outbox import partition_key

MEDIA_TYPE = "application/cloudevents+json; charset=utf-8"

# Consumers compare sequences as text (CloudEvents, Sequence extension), so all have the largest number of digits.
_SEQUENCE_DIGITS = 19

_DIGEST_LENGTH = 12


class Message(NamedTuple):
    """The body and headers sent for an event, with its id, ledger and type.

    `broker_id` is its id for NATS, see `broker_id`.
    """

    id: str
    broker_id: str
    ledger: str
    type: str
    headers: dict[str, str]
    body: bytes


class StoredMessage(msgspec.Struct):
    """An event as it is stored. Its data is passed on unchanged, whatever its version."""

    class_version: int
    recorded_at: Instant
    actor: str
    correlation_id: str
    causation_id: str
    idempotency_key: str | None
    traceparent: str | None
    data: msgspec.Raw


def event_id(stream: str, position: int) -> str:
    """Return the id by which consumers recognise an event, whoever delivers it and however often.

    The position is the one at which it is shown (domain/journal/shown_positions.py). Another event of the ledger may
    have its own position, in the journal of another installation.
    """
    return f"{ledger_of(stream)}/{position}"


def broker_id(stream: str, state: bytes, position: int) -> str:
    """Return the id by which NATS recognises the message of a stored event. It ends with the position.

    After a database was restored to an earlier point, other events get positions that NATS was told of before. A digest
    of the event tells the two apart. Otherwise the broker would take the second for a repetition, and drop it.
    """
    return f"{ledger_of(stream)}/{sha256(state).hexdigest()[:_DIGEST_LENGTH]}/{position}"


def message_of(row: Row, public_url: str) -> Message:
    """Return the message of a stored event, given with the position at which it is shown.

    `public_url` is the service's public address, for the event's `source`. Raises `ValueError` if the event does not
    have the stored form.
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
    known_as = broker_id(stream, state, position)
    return Message(id, known_as, ledger_of(stream), topic, headers, _encoder.encode(attributes))


def _decoded(state: bytes) -> StoredMessage:
    try:
        return _decoder.decode(state)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ValueError(str(error)) from error


_decoder = msgspec.json.Decoder(StoredMessage)
_encoder = msgspec.json.Encoder()
