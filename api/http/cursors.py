"""Cursors: where the next page of a list begins, and the filters and order that it belongs to.

Opaque to clients: base64url of JSON. It is a position in a list and no secret, so it is checked but not signed.
"""

import hashlib
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Container, Mapping
from typing import Any

from pydantic import TypeAdapter
from pydantic_core import from_json, to_json

from api.http.fields import BY_METADATA
from api.problems import CursorInvalid, CursorMismatch

_BASE64 = re.compile("[A-Za-z0-9_-]+={0,2}")

# These choose a part of the list, or when to answer, not which list it is.
_NOT_FILTERS = frozenset({"cursor", "page_size", "min_position"})


def list_identity(path: str, query: Mapping[str, str], defaults: Mapping[str, str]) -> str:
    """Return what tells one list from another: a hash of its path, filters and order, whatever is left to default."""
    filters = {
        name: value
        for name, value in query.items()
        if name not in _NOT_FILTERS and value != defaults.get(name) and _is_filter(name, defaults)
    }
    return hashlib.sha256(to_json([path, sorted(filters.items())])).hexdigest()[:16]


def _is_filter(name: str, known: Container[str]) -> bool:
    """Tell whether a parameter may choose a list: one that is unknown does not, and is refused by its name."""
    return name in known or (name.startswith("metadata.") and BY_METADATA in known)


def encode_cursor(identity: str, place: Any) -> str:
    """Return the cursor of the page that follows a place in a list."""
    return urlsafe_b64encode(to_json([identity, place])).decode().rstrip("=")


def decode_cursor(cursor: str, identity: str, place: TypeAdapter[Any]) -> Any:
    """Return the place that a cursor stands for; raise `CursorInvalid` or `CursorMismatch`."""
    if not _BASE64.fullmatch(cursor):  # Python's own passes over what is none
        raise CursorInvalid
    try:
        match from_json(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))):
            case [str(given), where]:
                found = place.validate_python(where)
            case _:
                raise CursorInvalid
    except ValueError:  # no base64, no JSON, no place in this list
        raise CursorInvalid from None
    if given != identity:
        raise CursorMismatch
    return found
