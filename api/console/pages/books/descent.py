"""The line of descent of a transaction: the hold or posting that it comes from, and what came of that."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from api.console.view import View

MOST_READ = 12
"""How many relatives one page reads. Further ones are named by their ids."""

_UP = ("settles", "voids", "reverses")
_DOWN = ("settled_by", "voided_by")


class Relative(NamedTuple):
    """A transaction in a line of descent, and how many steps it is from the first. None stands for one not read."""

    id: str
    transaction: Mapping[str, Any] | None
    depth: int


async def line_of_descent(view: View, transaction: Mapping[str, Any]) -> list[Relative]:
    """Return the whole line, from its first transaction on. Alone it is a transaction without relatives."""
    known = {transaction["id"]: transaction}
    root = transaction
    while parent := parent_of(root):
        found = await _read(view, [parent], known)
        if not found:
            break
        root = found[0]
    line = [Relative(root["id"], root, 0)]
    generation = [root]
    for depth in (1, 2):
        children = [child for each in generation for child in children_of(each)]
        generation = await _read(view, children[: MOST_READ - len(known) + 1], known)
        line += [Relative(child, known.get(child), depth) for child in children]
    return line


def parent_of(transaction: Mapping[str, Any]) -> str | None:
    """Return the id of the transaction that this one settles, voids or reverses, None if it does none of them."""
    return next((transaction["related"][name] for name in _UP if transaction["related"][name]), None)


def children_of(transaction: Mapping[str, Any]) -> list[str]:
    """Return the ids of what settled, voided or reversed a transaction."""
    related = transaction["related"]
    return [related[name] for name in _DOWN if related[name]] + list(related["reversed_by"])


async def _read(
    view: View, ids: Sequence[str], known: dict[str, Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    lacking = [id for id in ids if id not in known]
    replies = await asyncio.gather(
        *(view.api.look(f"/ledgers/{view.ledger}/transactions/{id}") for id in lacking)
    )
    known.update(
        (id, reply.content) for id, reply in zip(lacking, replies, strict=True) if not reply.is_refusal
    )
    return [known[id] for id in ids if id in known]
