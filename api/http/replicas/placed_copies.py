"""Which copy of a placement answers about a ledger.

Each installation has a copy of its own, and each copy is of an instant of its own. So home's copy of the map may lack a
ledger that another copy has, and the copy to which it leads may lack one that the map has. A ledger is not denied
before every copy was asked.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from time import monotonic
from typing import Any, TypeVar

from starlette.types import Scope

from api.http.call import Call
from api.http.spanning.asking import ask_all
from api.service.service import Service
from domain.model.errors import LedgerMissing, LedgerMoved, LedgerMoving, LedgerNotFound
from domain.model.refusals import ledger_not_found
from domain.placement.whereabouts import holds
from projections.errors import ProjectionBehind

LOOK_EVERY_SECONDS = 0.1
"""How often the copies are asked for a ledger that none of them has yet."""

Said = TypeVar("Said")


async def asked_of_copies(
    call: Call[Any, Any], scope: Scope, ask: Callable[[Service], Awaitable[Said]]
) -> Said:
    """Return what the copy says that has the ledger in the path.

    Raises what is asked raises: `LedgerNotFound` only if no copy has the ledger, and not `LedgerMoved`. Raises
    `LedgerMoving` if the ledger has left according to one copy, and has not arrived according to the others. Raises
    `ProjectionBehind` if no copy has it, and not each has reached the request's `min_position` in time. Raises why a
    copy could not answer that may have it.
    """
    is_known = call.installations.is_known(call.ledger)
    service = call.service if is_known else await _awaited(call, scope)
    try:
        return await call.installations.asked(call.ledger, service, ask)
    except LedgerMoved:
        raise LedgerMoving from None
    except (LedgerNotFound, LedgerMissing):
        holder = await _holder(call)
        if holder is None:
            # The copy may only lack it, so nobody needs to see to it.
            raise ledger_not_found(call.ledger) from None
        return await ask(holder)


async def _awaited(call: Call[Any, Any], scope: Scope) -> Service:
    """Return the copy that has a ledger which the map lacks, home if none has it.

    A request with a `min_position` waits for the ledger while a copy has not reached the position, since the ledger may
    be among what that copy lacks.
    """
    position = getattr(call.query, "min_position", None)
    until = monotonic() + (0.0 if position is None else call.prefer.wait_seconds)
    while True:
        # Judged before the copies are asked, so that what they do not have is not in the journal up to the position.
        behind = None if position is None else _behind(call, position)
        holder = await _holder(call)
        if holder is not None:
            return call.installations.follow(call.ledger, holder.name)
        if behind is None:
            return call.service
        if monotonic() >= until:
            scope["service"] = behind  # read when a refusal is answered
            raise ProjectionBehind(behind.waiter.head, behind.waiter.head, "running")
        await asyncio.sleep(LOOK_EVERY_SECONDS)


def _behind(call: Call[Any, Any], position: int) -> Service | None:
    """Return a copy whose journal does not reach a position, None if each does."""
    return next((of for _, of in call.installations.all() if of.waiter.head < position), None)


async def _holder(call: Call[Any, Any]) -> Service | None:
    """Return the copy that has the ledger in the path, None if every copy says that it knows nothing of it."""
    services = [service for _, service in call.installations.all()]
    told = await ask_all(services, lambda service: service.look_up(partial(holds, ledger=call.ledger)))
    holder = next((name for name, has in told.said.items() if has), None)
    if holder is not None:
        return call.installations.named(holder)
    for refusal in told.refusals.values():
        raise refusal
    if False in told.said.values():
        raise LedgerMoving
    return None
