"""The list of what is stuck: business states older than they should be."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated

from pydantic import Field

from api.http.call import Call
from api.http.consistency import Consistency
from api.http.declaration import OVERSEER, Concerns, Returns
from api.http.endpoint import endpoint
from api.http.fields import Time
from api.http.responses import DEAD_LETTERS, Answer, json_answer
from api.http.spanning.lists import listed
from api.http.spanning.spans import Spans
from api.resources.operations import examples
from api.resources.operations.stuck_schemas import StuckPage, StuckQuery, stuck_body, total_body
from domain.application import system_clock
from domain.model.errors import JournalUnavailable
from domain.model.times import Instant
from domain.placement.ledger_map import placed
from projections.diagnosis.stuck.catalogue import Stuck, StuckKind, totals
from projections.diagnosis.stuck.search import look_for_stuck
from projections.engine.live_version import Reading


@endpoint(
    "GET",
    "/v1/stuck",
    summary="List what is stuck",
    tag="Operating",
    consistency=Consistency.PROCESS,
    roles=OVERSEER,
    returns=[
        Returns(200, "A page of what is stuck.", StuckPage, examples.STUCK_PAGE, headers=(DEAD_LETTERS,))
    ],
    concerns=Concerns.GRANTED,
    place=tuple[Time, StuckKind, Annotated[str, Field(pattern=r"^/[ -~]{0,2000}$")]],
    spans=Spans.ALL,
)
async def list_stuck(call: Call[StuckQuery, None]) -> Answer:
    """List what is stuck, oldest first: how old it is, why, and what is safe to do. Kinds and remedies have stable
    codes.

    It lists accepted requests that were not carried out, holds past their end, payouts that have not ended, deliveries,
    streams held behind dead letters, projections, and database sessions that keep the service waiting. Something that a
    person must decide is stuck at once. Everything else is stuck from the age given by its parameter. An empty list
    means that nothing is stuck.
    """
    now = system_clock()
    everything: list[Stuck] = []

    async def read(call: Call[StuckQuery, None]) -> Reading[Sequence[Stuck]]:
        found = await _found(call, now)
        everything.extend(found.found)
        return Reading(_following(call, found.found), *found[1:])

    body, headers = await listed(call, read, partial(stuck_body, now=now), lambda stuck: stuck.place)
    body["totals"] = [total_body(total) for total in totals(everything, now)]
    return json_answer(200, body, headers)


async def _found(call: Call[StuckQuery, None], now: Instant) -> Reading[list[Stuck]]:
    """Return everything that is stuck in an installation, in the order of the list."""
    find = partial(look_for_stuck, now=now, thresholds=call.query.thresholds, granted=call.caller.granted)
    found = await call.service.look_up(find)
    if call.installations.is_placement:
        places = await _places(call, found.found)
        names = call.installations.names
        found.found[:] = [stuck.on(call.service.name).among(names, places) for stuck in found.found]
    if call.query.descending:
        found.found.reverse()
    return found


async def _places(call: Call[StuckQuery, None], found: Sequence[Stuck]) -> Mapping[str, str]:
    """Return the installations of the ledgers that stuck bridges lead to, as far as home's map can be read."""
    receivers = {stuck.receiver for stuck in found if stuck.receiver is not None}
    if not receivers:
        return {}
    try:
        return await call.installations.home.look_up(partial(placed, ledgers=sorted(receivers)))
    except JournalUnavailable:
        return {}


def _following(call: Call[StuckQuery, None], found: Sequence[Stuck]) -> list[Stuck]:
    """Return those of the kind that is asked for, after the place that the list has reached."""
    query, after = call.query, call.cursor_position
    return [
        stuck
        for stuck in found
        if query.kind in ("", stuck.kind)
        and (after is None or (stuck.place < after if query.descending else stuck.place > after))
    ]
