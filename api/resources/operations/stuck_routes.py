"""The list of what is stuck: business states older than they should be."""

from functools import partial
from typing import Annotated

from pydantic import Field

from api.http import examples
from api.http.consistency import Consistency
from api.http.declaration import OVERSEER, Concerns, Declaration, Returns
from api.http.endpoint import Call, Endpoint
from api.http.fields import Time
from api.http.pages import page
from api.http.responses import Answer, json_answer
from api.resources.operations.stuck_schemas import StuckPage, StuckQuery, stuck_body, total_body
from domain.application import system_clock
from projections.diagnosis.stuck.catalogue import StuckKind, totals
from projections.diagnosis.stuck.search import find_stuck


async def get_stuck(call: Call[StuckQuery, None]) -> Answer:
    """List what is stuck, oldest first: how old it is, why, and what is safe to do. Kinds and remedies have stable
    codes.

    It lists accepted requests that were not carried out, holds past their end, payouts that have not ended, deliveries,
    streams held behind dead letters, projections, and database sessions that keep the service waiting. Something that a
    person must decide is stuck at once. Everything else is stuck from the age given by its parameter. An empty list
    means that nothing is stuck.
    """
    now, query = system_clock(), call.query
    find = partial(find_stuck, now=now, thresholds=query.thresholds, granted=call.caller.granted)
    found = await call.service.look_up(find)
    if query.descending:
        found.reverse()
    after = call.cursor_position
    following = [
        stuck
        for stuck in found
        if query.kind in ("", stuck.kind)
        and (after is None or (stuck.place < after if query.descending else stuck.place > after))
    ]
    body = page(call, following, partial(stuck_body, now=now), lambda stuck: stuck.place)
    return json_answer(200, {**body, "totals": [total_body(total) for total in totals(found, now)]})


ENDPOINTS = [
    Endpoint(
        Declaration(
            "GET",
            "/v1/stuck",
            "list_stuck",
            "Operating",
            "List what is stuck",
            Consistency.PROCESS,
            OVERSEER,
            (
                Returns(
                    200,
                    "A page of what is stuck.",
                    StuckPage,
                    {
                        **examples.page(examples.STUCK),
                        "totals": [{"kind": "payout_in_doubt", "count": 1, "oldest_age_seconds": 3600.0}],
                    },
                ),
            ),
            query=StuckQuery,
            concerns=Concerns.GRANTED,
            place=tuple[Time, StuckKind, Annotated[str, Field(pattern=r"^/[ -~]{0,2000}$")]],
        ),
        get_stuck,
    ),
]
