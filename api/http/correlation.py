"""The correlation id and trace context of a request: taken from its headers, or made.

An invalid one is replaced, never refused: no decision depends on it (api/README.md, Conventions).
"""

import random
import re
from collections.abc import Mapping
from typing import NamedTuple

MAX_CORRELATION_ID_LENGTH = 128

_CORRELATION_ID = re.compile(rf"[!-~]{{1,{MAX_CORRELATION_ID_LENGTH}}}")
# W3C Trace Context §3.2: version ff is invalid, and so are ids of only zeros. Later versions may append fields.
_TRACEPARENT = re.compile(
    r"(?:00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
    r"|(?!00|ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-[!-~]{0,200})?)"
)

# Seeded once by the system. Asking the system for every id would release the interpreter's lock, and the writer, which
# gets it then, may keep it for milliseconds. The ids need to be unique, not secret.
_chance = random.Random()


class Conversation(NamedTuple):
    """The ids that tie a request to its cause and to everything that it causes."""

    correlation_id: str
    traceparent: str


def conversation(headers: Mapping[bytes, bytes]) -> Conversation:
    """Return the ids that the headers name. A missing or invalid one is made."""
    given_id = _given(headers, b"correlation-id", _CORRELATION_ID)
    given_trace = _given(headers, b"traceparent", _TRACEPARENT)
    if given_id and given_trace:
        return Conversation(given_id, given_trace)
    digits = _chance.randbytes(40).hex()
    return Conversation(
        given_id or _uuid4(digits[:32]), given_trace or f"00-{digits[32:64]}-{digits[64:80]}-01"
    )


def _given(headers: Mapping[bytes, bytes], name: bytes, pattern: re.Pattern[str]) -> str:
    """Return the value of a header, or an empty text if it is missing or invalid."""
    value = headers.get(name)
    if value is None:
        return ""
    text = value.decode("latin-1")
    return text if pattern.fullmatch(text) else ""


def is_traceparent(text: str) -> bool:
    """Tell whether a text is a valid trace context."""
    return _TRACEPARENT.fullmatch(text) is not None


def _uuid4(digits: str) -> str:
    variant = "89ab"[ord(digits[16]) & 3]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"
