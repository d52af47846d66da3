"""Idempotency: the fingerprint that makes two keyed requests the same, and the id of what a request creates.

The id is derived from ledger and key. So the uniqueness of streams in the journal makes a keyed request exactly-once
across processes and crashes, and a client can name what it is about to create (api/README.md, Idempotency).
"""

import hashlib
import re
from typing import Any, NamedTuple
from uuid import NAMESPACE_URL

from msgspec.json import Encoder

_NAMESPACE = NAMESPACE_URL.bytes
_VARIANTS = {f"{digit:x}": f"{digit & 0b11 | 0b1000:x}" for digit in range(16)}
_canonical = Encoder(order="sorted").encode
KEY_PATTERN = r"^[!-.0-~]{1,255}$"

_KEY = re.compile(KEY_PATTERN[1:-1])


class Operation(NamedTuple):
    """A keyed request: its key, the id derived from the key, and the fingerprint of the request's content."""

    key: str
    id: str
    fingerprint: str


def operation_id(ledger: str, key: str) -> str:
    """Return `uuid5(NAMESPACE_URL, "tallystick:" + ledger + "/" + key)` as text (RFC 9562 §5.5).

    Every command needs one, so it is computed by hand: that takes a third of the time of `str(uuid.uuid5(…))`.
    """
    name = f"tallystick:{ledger}/{key}".encode()
    text = hashlib.sha1(_NAMESPACE + name, usedforsecurity=False).hexdigest()
    return f"{text[:8]}-{text[8:12]}-5{text[13:16]}-{_VARIANTS[text[16]]}{text[17:20]}-{text[20:32]}"


def fingerprint(method: str, path: str, body: Any) -> str:
    """Return the SHA-256, in hex, of method, path and canonical body.

    `body` is the JSON value as sent, before any default is filled in. The order of members, white space and escapes do
    not count. A default left out and the same default written count as different. `body` must have passed the check of
    a request's shape: whole numbers within bounds, and text that is valid UTF-8.
    """
    return hashlib.sha256(f"{method} {path}\n".encode() + _canonical(body)).hexdigest()


def is_key(text: str) -> bool:
    """Tell whether the text can be an idempotency key: 1 to 255 visible ASCII characters without `/`."""
    return _KEY.fullmatch(text) is not None
