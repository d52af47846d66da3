"""A request as it arrives: its headers by name, and the conversation that it belongs to."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from api.correlation import Conversation


class Visit(NamedTuple):
    """A request as the outermost layer found it."""

    headers: Mapping[bytes, bytes]
    conversation: Conversation


def joined(headers: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Return the headers by name, the values of a repeated one joined as RFC 9110 §5.3 has it."""
    values: dict[bytes, bytes] = {}
    for name, value in headers:
        values[name] = values[name] + b", " + value if name in values else value
    return values
