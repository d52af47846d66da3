"""Projections: show their progress, pause and resume them."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated, Any

from pydantic import Field

from api.http.call import Call
from api.http.consistency import Consistency
from api.http.declaration import OPERATOR, OVERSEER, Concerns, Returns
from api.http.endpoint import endpoint
from api.http.fields import InstallationQuery, OptionalReason, SpanningPage
from api.http.pages import reflected
from api.http.responses import Answer, json_answer
from api.http.spanning.lists import listed
from api.http.spanning.spans import Spans
from api.resources.examples import page_of
from api.resources.projections import examples
from api.resources.projections.answers import all_shown, shown, shown_after
from api.resources.projections.schemas import ProjectionBody, ProjectionsQuery
from projections.engine.live_version import Reading
from projections.errors import ProjectionNotFound
from projections.running.controls import pause, resume
from projections.running.positions import Progress

_Place = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]


_control = partial(
    endpoint,
    "POST",
    tag="Operating",
    consistency=Consistency.PROCESS,
    roles=OPERATOR,
    problems=[ProjectionNotFound],
    concerns=Concerns.EVERY,
    spans=Spans.NAMED,
    body_example={"reason": "maintenance"},
    is_body_optional=True,
)


@endpoint(
    "GET",
    "/v1/projections",
    summary="List projections",
    tag="Operating",
    consistency=Consistency.PROCESS,
    roles=OVERSEER,
    returns=[
        Returns(200, "A page of projections.", SpanningPage[ProjectionBody], page_of(examples.PROJECTION))
    ],
    place=_Place,
    concerns=Concerns.NONE,
    spans=Spans.ALL,
)
async def list_projections(call: Call[ProjectionsQuery, None]) -> Answer:
    """List all projections by name, with their progress."""
    return json_answer(200, *await listed(call, _read, dict, _name))


async def _read(call: Call[ProjectionsQuery, None]) -> Reading[Sequence[dict[str, Any]]]:
    descending, after = call.query.descending, call.cursor_position
    found = await call.service.look_up_at_head(partial(all_shown, granted=call.caller.granted))
    following = [
        shown
        for shown in sorted(found.found, key=_name, reverse=descending)
        if after is None or (_name(shown) < after if descending else _name(shown) > after)
    ]
    return Reading(following, *found[1:])


def _name(shown: dict[str, Any]) -> str:
    name: str = shown["name"]
    return name


@endpoint(
    "GET",
    "/v1/projections/{name}",
    summary="Show a projection",
    tag="Operating",
    consistency=Consistency.PROCESS,
    roles=OVERSEER,
    returns=[Returns(200, "The projection.", ProjectionBody, examples.PROJECTION)],
    problems=[ProjectionNotFound],
    concerns=Concerns.NONE,
    spans=Spans.NAMED,
)
async def get_projection(call: Call[InstallationQuery, None]) -> Answer:
    """Show the progress of one projection."""
    look = partial(shown, name=call.path_params["name"], granted=call.caller.granted)
    found = await call.service.look_up_at_head(look)
    return json_answer(200, call.as_placed(found.found), reflected(found))


@_control(
    "/v1/projections/{name}/pause",
    summary="Pause a projection",
    returns=[Returns(200, "The projection.", ProjectionBody, examples.PAUSED_PROJECTION)],
)
async def pause_projection(call: Call[InstallationQuery, OptionalReason]) -> Answer:
    """Pause a projection until it is resumed, even across restarts. Idempotent.

    Reads continue and state the projection's position. A request that waits for a later position gets it if the
    projection is resumed in time.
    """
    return await _controlled(call, pause)


@_control(
    "/v1/projections/{name}/resume",
    summary="Resume a projection",
    returns=[Returns(200, "The projection.", ProjectionBody, examples.PROJECTION)],
)
async def resume_projection(call: Call[InstallationQuery, OptionalReason]) -> Answer:
    """Resume a projection that was paused or has halted. Idempotent.

    It first retries the event at which it halted. If the cause is not repaired, it halts again.
    """
    return await _controlled(call, resume)


async def _controlled(call: Call[InstallationQuery, OptionalReason], act: Callable[..., Progress]) -> Answer:
    act = partial(act, by=call.context, reason=call.body.reason)
    found = await call.service.query(partial(shown_after, name=call.path_params["name"], act=act))
    return json_answer(200, call.as_placed(found))
