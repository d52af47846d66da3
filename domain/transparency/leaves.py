"""The leaves of the journal's Merkle tree: one for each event, leaf number = position − 1.

The bytes of a leaf are JSON without blanks that ends with the stored event, byte for byte:

    {"position":21,"stream":"main/ledger","version":1,"type":"ledger.opened","event":{…}}

So a leaf binds what an event says, of which stream it is, at which version, and where it stands among all others. What
is before the stored event cannot be confused with it, since each text there is a JSON string (RFC 8785 §3.2.2.2) and
each number is written without sign, fraction or leading zeros; what follows it is one closing brace.

An event as it is shown and exported has all of it: `stored_state` makes the stored bytes anew from an item, as long as
they are JSON in the form in which every release of this project has written it. Bytes that are not, which only
another program could have written, are hashed as they are, and the item alone does not suffice to verify them.
"""

import json
from collections.abc import Mapping
from typing import Any

from domain.transparency.merkle_tree import leaf_hash

_canonical = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode

_ENVELOPE = ("recorded_at", "actor", "correlation_id", "causation_id", "idempotency_key", "traceparent")


def leaf_bytes(position: int, stream: str, version: int, topic: str, state: bytes) -> bytes:
    """Return the bytes of the leaf of a stored event."""
    place = (
        f'"position":{position},"stream":{_canonical(stream)},"version":{version},"type":{_canonical(topic)}'
    )
    return b"{" + place.encode() + b',"event":' + state + b"}"


def hash_of(position: int, stream: str, version: int, topic: str, state: bytes) -> bytes:
    """Return the hash of the leaf of a stored event, which is shown in hex as its `leaf_hash`."""
    return leaf_hash(leaf_bytes(position, stream, version, topic, state))


def stored_state(item: Mapping[str, Any]) -> bytes:
    """Return the stored bytes of an event that is given as it is shown and exported.

    Members of `payload`, at every depth, must be in the order in which they were shown.
    """
    stored = {
        "class_version": item["schema_version"],
        **{name: item[name] for name in _ENVELOPE},
        "data": item["payload"],
    }
    return _canonical(stored).encode()


def hash_of_item(item: Mapping[str, Any]) -> bytes:
    """Return the hash of the leaf of an event that is given as it is shown and exported."""
    return hash_of(item["position"], item["stream"], item["version"], item["type"], stored_state(item))
