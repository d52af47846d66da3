"""The list of what is stuck: business states older than they should be."""

from asyncio import gather
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from operator import attrgetter
from typing import Annotated, Any

from psycopg import Connection
from pydantic import Field

from api.http.call import Call
from api.http.consistency import Consistency
from api.http.declaration import OVERSEER, Concerns, Returns
from api.http.endpoint import endpoint
from api.http.fields import Time
from api.http.pages import page, reflected
from api.http.responses import DEAD_LETTERS, Answer, json_answer
from api.http.spanning.asking import Told, ask_whoever_answers
from api.http.spanning.lists import ListCall, ask_each, merged_page, reflected_of_each
from api.http.spanning.spans import Spans
from api.resources.operations import examples
from api.resources.operations.stuck_schemas import StuckPage, StuckQuery, stuck_body, total_body
from api.service.service import Service
from domain.application import system_clock
from domain.model.times import Instant, later
from projections.diagnosis.stuck.catalogue import Stuck, StuckKind, totals
from projections.diagnosis.stuck.placement import Surroundings, in_placement, look_around
from projections.diagnosis.stuck.search import look_for_stuck
from projections.engine.live_version import Reading

LOOK_SECONDS = 2.0
"""How long an installation may take to say what it knows of the others: a session may have locked that."""


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
    find = partial(look_for_stuck, now=now, thresholds=call.query.thresholds, granted=call.caller.granted)
    show, place = partial(stuck_body, now=now), attrgetter("place")
    if call.installations.is_placement:
        told, placed = await _placed(call, find, now)
        rows = {
            name: _following(call, of, (call.cursor_position or {}).get(name)) for name, of in placed.items()
        }
        body = merged_page(call, Told(rows, told.refusals), show, place) | reflected_of_each(told)
        headers: Mapping[str, str] = {}
    else:
        found = await call.service.look_up(find)
        placed = {call.service.name: found.found}
        body = page(call, _following(call, found.found, call.cursor_position), show, place)
        headers = reflected(found)
    everything = [stuck for of in placed.values() for stuck in of]
    body["totals"] = [total_body(total) for total in totals(everything, now)]
    return json_answer(200, body, headers)


async def _placed(
    call: Call[StuckQuery, None], find: Callable[[Connection[Any]], Reading[list[Stuck]]], now: Instant
) -> tuple[Told[Reading[list[Stuck]]], Mapping[str, Sequence[Stuck]]]:
    """Return what the installations of a placement found, and what is stuck in each of those.

    All are asked about their surroundings, also where the request names one: what is stuck there may show only beside
    the others.
    """
    installations = call.installations
    look = partial(look_around, names=installations.names)
    around: dict[str, Surroundings] = {}

    async def look_around_from(*services: Service) -> None:
        seen = await ask_whoever_answers(services, lambda service: service.look_up(look), LOOK_SECONDS)
        around.update(seen.said)

    async def find_and_look(call: ListCall) -> Reading[list[Stuck]]:
        reading = await call.service.look_up(find)
        await look_around_from(call.service)
        return reading

    is_named = bool(call.query.installation)
    others = [each for _, each in installations.all() if is_named and each is not call.service]
    told, _ = await gather(ask_each(call, find_and_look), look_around_from(*others))
    found = {name: reading.found for name, reading in told.said.items()}
    before = later(now, -call.query.move_seconds)
    return told, in_placement(found, around, installations.home.name, before, call.caller.granted)


def _following(call: Call[StuckQuery, None], found: Sequence[Stuck], after: Any) -> list[Stuck]:
    """Return those of the kind that is asked for, after a place that the list has reached, in the list's order."""
    query = call.query
    following = [
        stuck
        for stuck in found
        if query.kind in ("", stuck.kind)
        and (after is None or (stuck.place < after if query.descending else stuck.place > after))
    ]
    return following[::-1] if query.descending else following
