"""A request as it arrives: its headers by name, its correlation id and its trace context."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from api.http.correlation import Conversation

SESSION = b":session"
"""Where a call from within the process carries the token of a session. No header can have this name (RFC 9110 §5.1)."""


class RequestHead(NamedTuple):
    """The head of a request, as the outermost layer read it."""

    headers: Mapping[bytes, bytes]
    conversation: Conversation


def joined(headers: Sequence[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Return the headers by name. The values of a repeated header are joined by ", " (RFC 9110 §5.3).

    Each value is copied once, however often its name is repeated.
    """
    values = dict(headers)
    if len(values) == len(headers):
        return values
    repeated: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        repeated.setdefault(name, []).append(value)
    return {name: b", ".join(parts) for name, parts in repeated.items()}
