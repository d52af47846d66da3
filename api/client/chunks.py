"""Cuts a batch of any length into parts that the service takes, in order. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from .bodies import encode
from .keyed_requests import Item, item_body

MAX_ITEMS = 10_000
# Below what the service takes (api/README.md, Limits), with room for the rest of the body.
MAX_BYTES = 15 * 1024**2
MAX_COMMAS = 590_000


class Chunk(NamedTuple):
    """Some items of a batch, and the body that carries them."""

    items: Sequence[Item]
    body: bytes


def chunks(items: Iterable[Item], mode: str = "independent", max_items: int = MAX_ITEMS) -> Iterator[Chunk]:
    """Yield the parts of a batch. Each has as many items as fit, and at least one."""
    taken: list[Item] = []
    parts: list[bytes] = []
    size = commas = 0
    for item in items:
        part = encode(item_body(item))
        more_commas = part.count(b",") + 1
        if taken and (
            len(taken) == max_items or size + len(part) > MAX_BYTES or commas + more_commas > MAX_COMMAS
        ):
            yield Chunk(taken, _body(mode, parts))
            taken, parts, size, commas = [], [], 0, 0
        taken.append(item)
        parts.append(part)
        size += len(part) + 1
        commas += more_commas
    if taken:
        yield Chunk(taken, _body(mode, parts))


def _body(mode: str, parts: Sequence[bytes]) -> bytes:
    return b'{"mode":%s,"transactions":[%s]}' % (encode(mode), b",".join(parts))
