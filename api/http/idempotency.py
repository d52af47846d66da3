"""The Idempotency-Key header."""

import re

from api.problems import IdempotencyKeyInvalid, IdempotencyKeyMissing
from domain.model.idempotency import is_key

# A string of RFC 8941 §3.3.3: quotes and backslashes in it are escaped.
_QUOTED = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])*)"')
_ESCAPED = re.compile(r'\\(["\\])')


def idempotency_key(header: bytes | None) -> str:
    """Return the key; `"abc"` in quotes is the key `abc`.

    Raises `IdempotencyKeyMissing`, then `IdempotencyKeyInvalid`. The values of a repeated header arrive joined by a
    comma and a space (RFC 9110 §5.3), which is not a valid key.
    """
    if header is None:
        raise IdempotencyKeyMissing
    text = header.decode("latin-1").strip()
    if text.startswith('"'):
        quoted = _QUOTED.fullmatch(text)
        if quoted is None:
            raise IdempotencyKeyInvalid
        text = _ESCAPED.sub(r"\1", quoted[1])
    if not is_key(text):
        raise IdempotencyKeyInvalid
    return text
