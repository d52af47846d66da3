"""Reads of a projection at a minimum position, waiting as long as the request prefers."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from api.http.call import Call
from api.service.service import Service
from domain.model.errors import NotFound
from projections.engine.live_version import Page, Reading, require
from projections.errors import ProjectionBehind

Found = TypeVar("Found", Page[Any], Reading[Any])


async def read_projection(
    call: Call[Any, Any], name: str, read: Callable[..., Found], existing: Sequence[str] = ()
) -> Found:
    """Return what a projection says once it reflects the request's `min_position`, if it names one.

    `existing` are the streams of the ledger and the account named in the path. Raises `LedgerNotFound` or
    `AccountNotFound`, before any wait, for the first that has no events in the journal. A copy waits: there, they may
    be among the events that it lacks.

    Raises `ProjectionBehind` if the projection is not there in time. Also raises it if the one account asked for is
    known to be held behind a dead letter at or before that position: a stale answer is never passed off as the one
    asked for. A list is answered and states how many streams are held. While the version of this release is being
    filled, one of an older release answers, if it can and is there. Raises `JournalUnavailable` if the projection's
    position cannot be read.
    """
    position = call.query.min_position
    if existing:
        read = partial(read, existing=existing)
    if position is None:
        return await call.service.look_up(read)
    if existing and not call.service.waiter.has_reached(name, position):
        # Judged before the copy is asked, so that what it does not have is not in the journal up to the position.
        is_to_come = may_be_to_come(call.service, position)
        try:
            await call.service.look_up(partial(require, existing=existing))
        except NotFound:
            if not is_to_come:
                raise
    if call.service.waiter.is_being_filled(name):
        with suppress(ProjectionBehind):
            older = await call.service.look_up(read)
            if older.position >= position and not _is_held(older, position):
                return older
    seen = (await call.service.wait_for(name, position, call.prefer.wait_seconds)).arrived()
    found = await call.service.look_up(read)
    if found.position < position:  # another version has gone live since
        raise ProjectionBehind(found.position, found.head, seen.state)
    if _is_held(found, position):
        raise held_back(found, seen.state)
    return found


def _is_held(found: Reading[Any] | Page[Any], position: int) -> bool:
    """Tell whether the one account asked for is held behind a dead letter at or before a position."""
    return found.lacking.held_from is not None and found.lacking.held_from <= position


def may_be_to_come(service: Service, position: int) -> bool:
    """Tell whether a copy may lack what is not there: its journal does not reach a position that was recorded."""
    return service.replica is not None and service.waiter.head < position


def held_back(found: Reading[Any] | Page[Any], state: str = "running") -> ProjectionBehind:
    """Return the refusal of a read whose subject is held behind a dead letter."""
    held_from = found.lacking.held_from
    assert held_from is not None
    return ProjectionBehind(held_from - 1, found.head, state, str(found.lacking.held))
