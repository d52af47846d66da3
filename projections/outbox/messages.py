"""An event as others are told of it: a CloudEvent 1.0 in its JSON form, the same bytes whenever it is told.

The event's data is the event as the audit shows it. Extensions (`partitionkey`, `sequence`, `traceparent`, and ours)
carry what a consumer orders and ties together by.
"""

from typing import Any, NamedTuple

from pydantic_core import from_json, to_json

from domain.addresses import ledger_of
from domain.journal.reader import Row
from projections.outbox.owed import partition_key

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


def event_id(stream: str, position: int) -> str:
    """Return the id by which consumers know an event again, whoever tells them of it and how often."""
    return f"{ledger_of(stream)}/{position}"


def message_of(row: Row, public_url: str) -> Message:
    """Return the message of a stored event; `public_url` is where the service is reached, for the event's `source`.

    Raises `ValueError` for an event that is not of the form in which events are stored.
    """
    stream, version, topic, state, position = row
    ledger = ledger_of(stream)
    stored = _stored(state)
    id = event_id(stream, position)
    attributes: dict[str, Any] = {
        "specversion": "1.0",
        "id": id,
        "source": f"{public_url}/v1/ledgers/{ledger}",
        "type": topic,
        "subject": stream.partition("/")[2],
        "time": stored["recorded_at"],
        "datacontenttype": "application/json",
        "partitionkey": partition_key(stream),
        "sequence": f"{position:0{_SEQUENCE_DIGITS}d}",
        "correlationid": stored["correlation_id"],
        "causationid": stored["causation_id"],
    }
    headers = {"Correlation-Id": stored["correlation_id"]}
    if stored["traceparent"] is not None:
        attributes["traceparent"] = headers["traceparent"] = stored["traceparent"]
    attributes["data"] = {
        "position": position,
        "ledger": ledger,
        "stream": stream,
        "version": version,
        "type": topic,
        "schema_version": stored["class_version"],
        "recorded_at": stored["recorded_at"],
        "actor": stored["actor"],
        "correlation_id": stored["correlation_id"],
        "causation_id": stored["causation_id"],
        "idempotency_key": stored["idempotency_key"],
        "payload": stored["data"],
    }
    return Message(id, ledger, topic, headers, to_json(attributes))


def _stored(state: bytes) -> dict[str, Any]:
    stored = from_json(state)
    wanted = _MEMBERS - set(stored if isinstance(stored, dict) else ())
    if wanted:
        raise ValueError(f"the stored event lacks {', '.join(sorted(wanted))}")
    return dict(stored)


_MEMBERS = frozenset(
    (
        "class_version",
        "recorded_at",
        "actor",
        "correlation_id",
        "causation_id",
        "idempotency_key",
        "traceparent",
        "data",
    )
)
