"""Ids of what the ledger makes: UUIDs, written with hyphens, and read without regard to case (RFC 9562 §4).

What is stored and shown has lower case. Python's own `UUID` would also take braces, `urn:uuid:` and no hyphens at all,
under which nothing has ever been shown.
"""

import re

UUID_PATTERN = r"^[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$"

_UUID = re.compile(UUID_PATTERN[1:-1])


def is_id(text: str) -> bool:
    """Tell whether the text can be an id."""
    return _UUID.fullmatch(text) is not None


def canonical_id(text: str) -> str:
    """Return an id as it is stored, in lower case; text that is no id, which names nothing, stays as it is."""
    return text.lower() if is_id(text) else text
