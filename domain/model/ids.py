"""Ids that the ledger makes: UUIDs written with hyphens, read without regard to case (RFC 9562 §4).

They are stored and shown in lower case. Python's own `UUID` would also accept braces, `urn:uuid:` and missing hyphens;
no id was ever shown in those forms.
"""

import re
from typing import Annotated

from msgspec import Meta

# The format is only for schemas of events; decoding checks nothing more.
Id = Annotated[str, Meta(extra_json_schema={"format": "uuid"})]

UUID_PATTERN = r"^[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$"

_UUID = re.compile(UUID_PATTERN[1:-1])


def is_id(text: str) -> bool:
    """Tell whether the text can be an id."""
    return _UUID.fullmatch(text) is not None


def canonical_id(text: str) -> str:
    """Return an id in lower case, as it is stored. Text that is no id names nothing, and is returned unchanged."""
    return text.lower() if is_id(text) else text
