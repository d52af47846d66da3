"""Cursors: where the next page of a list begins, and which filters and order it belongs to.

Clients treat them as opaque; they are base64url of JSON. A cursor is a place in a list, not a secret, so it is checked
but not signed.
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

# These parameters choose a page of the list, or when to answer. They do not choose the list.
_NOT_FILTERS = frozenset({"cursor", "page_size", "min_position"})


def list_identity(path: str, query: Mapping[str, str], defaults: Mapping[str, str]) -> str:
    """Return a hash that identifies a list: path, filters and order. A parameter at its default counts as left out."""
    filters = {
        name: value
        for name, value in query.items()
        if name not in _NOT_FILTERS and value != defaults.get(name) and _is_filter(name, defaults)
    }
    return hashlib.sha256(to_json([path, sorted(filters.items())])).hexdigest()[:16]


def _is_filter(name: str, known: Container[str]) -> bool:
    """Tell whether a parameter can choose a list. An unknown one cannot; it is refused later by its name."""
    return name in known or (name.startswith("metadata.") and BY_METADATA in known)


def encode_cursor(identity: str, place: Any) -> str:
    """Return the cursor of the page after a place in a list."""
    return urlsafe_b64encode(to_json([identity, place])).decode().rstrip("=")


def decode_cursor(cursor: str, identity: str, place: TypeAdapter[Any]) -> Any:
    """Return the place that a cursor names.

    Raises `CursorInvalid` if it is not a cursor of such a list, then `CursorMismatch` if it belongs to other filters or
    another order.
    """
    if not _BASE64.fullmatch(cursor):  # Python's decoder would skip characters that are not base64
        raise CursorInvalid
    try:
        match from_json(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))):
            case [str(given), where]:
                found = place.validate_python(where)
            case _:
                raise CursorInvalid
    except ValueError:  # not base64, not JSON, or not a place in this list
        raise CursorInvalid from None
    if given != identity:
        raise CursorMismatch
    return found
