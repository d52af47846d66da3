"""The id that an idempotency key must make."""

from hashlib import sha1
from uuid import NAMESPACE_URL

_NAMESPACE = NAMESPACE_URL.bytes


def id_of(ledger: str, key: str | None) -> str:
    """Return the version 5 UUID of a key in a ledger (RFC 9562 §5.5), by hand: it is a tenth of the rules' time."""
    digest = sha1(_NAMESPACE + f"tallystick:{ledger}/{key}".encode(), usedforsecurity=False).digest()
    text = (int.from_bytes(digest[:16]) & ~(0xF << 76 | 0b11 << 62) | 5 << 76 | 0b10 << 62).to_bytes(16).hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
