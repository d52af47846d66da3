"""The leaves of the journal's Merkle tree: one for each event, leaf number = position − 1.

A leaf is JSON without blanks that ends with the stored event, byte for byte:

    {"position":21,"stream":"main/ledger","version":1,"type":"ledger.opened","event":{…}}

So a leaf binds the event's content, its stream, its version, and its place among all others. The text before the stored
event cannot be confused with the event, because each text there is a JSON string (RFC 8785 §3.2.2.2) and each number is
written without sign, fraction or leading zeros. One closing brace follows the event.

A shown or exported event contains all of this. `stored_state` rebuilds the stored bytes from such an item if they have
the JSON form that every release of this project writes. Other bytes, which only another program could have written, are
hashed as they are, and the item alone does not suffice to verify them.
"""

import json
from collections.abc import Mapping
from json.encoder import encode_basestring
from typing import Any

from domain.transparency.merkle_tree import leaf_hash

_canonical = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_text = encode_basestring
"""Returns what `_canonical` returns for a text, in a fourth of the time."""

_ENVELOPE = ("recorded_at", "actor", "correlation_id", "causation_id", "idempotency_key", "traceparent")


def leaf_bytes(position: int, stream: str, version: int, topic: str, state: bytes) -> bytes:
    """Return the bytes of the leaf of a stored event."""
    begin = (
        f'{{"position":{position},"stream":{_text(stream)},"version":{version},"type":{_text(topic)},"event":'
    )
    return begin.encode() + state + b"}"


def hash_of(position: int, stream: str, version: int, topic: str, state: bytes) -> bytes:
    """Return the hash of the leaf of a stored event. Its hex form is the event's `leaf_hash`."""
    return leaf_hash(leaf_bytes(position, stream, version, topic, state))


def stored_state(item: Mapping[str, Any]) -> bytes:
    """Return the stored bytes of an event, given in the form in which it is shown and exported.

    Members of `payload`, at every depth, must be in the order in which they were shown.
    """
    stored = {
        "class_version": item["schema_version"],
        **{name: item[name] for name in _ENVELOPE},
        "data": item["payload"],
    }
    return _canonical(stored).encode()


def hash_of_item(item: Mapping[str, Any]) -> bytes:
    """Return the leaf hash of an event, given in the form in which it is shown and exported."""
    return hash_of(item["position"], item["stream"], item["version"], item["type"], stored_state(item))
