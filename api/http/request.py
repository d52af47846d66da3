"""A request as it arrives: its headers by name, and the conversation that it belongs to."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from api.http.correlation import Conversation


class RequestHead(NamedTuple):
    """A request as the outermost layer found it."""

    headers: Mapping[bytes, bytes]
    conversation: Conversation


def joined(headers: Sequence[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Return the headers by name, the values of a repeated one joined as RFC 9110 §5.3 has it.

    Each value is copied once, however often its name is repeated.
    """
    values = dict(headers)
    if len(values) == len(headers):
        return values
    repeated: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        repeated.setdefault(name, []).append(value)
    return {name: b", ".join(parts) for name, parts in repeated.items()}
