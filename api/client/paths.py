"""Paths: names, addresses and ids as segments, and filters as query parameters."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

from .problem import Missing


def is_segment(text: str) -> bool:
    """Tell whether a text stays where it is put in a path: dots alone would lead to another resource."""
    return text not in ("", ".", "..")


def segment(text: str, safe: str = ":") -> str:
    """Return an address, an id or a name as a segment of a path. Raises `Missing` for what no path can name."""
    if not is_segment(text):
        raise Missing({"code": "not_found", "status": 404, "detail": f"{text!r} names nothing"})
    return quote(text, safe=safe)


def operation_path(key: str) -> str:
    """Return the path of a key's operation, within the ledger."""
    return f"operations/{segment(key, safe='')}"


def as_params(filters: Mapping[str, Any]) -> dict[str, str]:
    """Return query parameters. Those that are None are left out; a trailing `_` of a name is dropped."""
    given: dict[str, str] = {}
    for name, value in filters.items():
        if name == "metadata":
            given |= {f"metadata.{key}": text for key, text in (value or {}).items()}
        elif value is not None:
            given[name.rstrip("_")] = value.isoformat() if isinstance(value, datetime) else str(value)
    return given
