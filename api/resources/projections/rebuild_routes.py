"""Rebuilds of projections: request, cancel, pause and resume them. A projector carries them out."""

from collections.abc import Callable
from functools import partial
from typing import Any

from psycopg import Connection

from api.http.call import Call
from api.http.consistency import Consistency
from api.http.declaration import OPERATOR, Concerns, Returns
from api.http.endpoint import endpoint
from api.http.fields import InstallationQuery, OptionalReason
from api.http.responses import Answer, json_answer
from api.http.spanning.spans import Spans
from api.resources.projections import examples
from api.resources.projections.answers import shown_after
from api.resources.projections.schemas import ProjectionBody, RebuildRequest
from projections.errors import ProjectionNotFound, RebuildNeeded, RebuildNotUnderWay
from projections.rebuilding.requests import cancel_rebuild, pause_rebuild, request_rebuild, resume_rebuild

_on_rebuild = partial(
    endpoint,
    "POST",
    tag="Operating",
    consistency=Consistency.PROCESS,
    roles=OPERATOR,
    concerns=Concerns.EVERY,
    spans=Spans.NAMED,
    is_body_optional=True,
)


@_on_rebuild(
    "/v1/projections/{name}/rebuild",
    summary="Rebuild a projection",
    returns=[Returns(202, "The projection, with its rebuild.", ProjectionBody, examples.REBUILT_PROJECTION)],
    problems=[ProjectionNotFound],
    body_example={"reason": "an audit"},
)
async def rebuild_projection(call: Call[InstallationQuery, RebuildRequest]) -> Answer:
    """Build a new version of a projection beside the live one. It is compared with the live one, and goes live if it is
    equal.

    Reads never stop. If a rebuild is already under way, it is returned as it is, and takes over an accepted difference.
    A rebuild that stopped at a difference continues if the difference is accepted; else it starts again. A failed
    rebuild starts again. The replaced version is kept until the next rebuild.
    """
    body = call.body
    act = partial(
        request_rebuild,
        actor=call.context.actor,
        reason=body.reason or None,
        accept_difference=body.accept_difference,
    )
    return await _answer(call, 202, act)


@_on_rebuild(
    "/v1/projections/{name}/rebuild/cancel",
    summary="Cancel a rebuild",
    returns=[Returns(200, "The projection.", ProjectionBody, examples.PROJECTION)],
    problems=[ProjectionNotFound, RebuildNeeded],
    body_example={"reason": "maintenance"},
)
async def cancel_projection_rebuild(call: Call[InstallationQuery, OptionalReason]) -> Answer:
    """Cancel a rebuild and drop what it has built. Idempotent: without a rebuild nothing happens.

    Refused if this release has no other version of the projection.
    """
    return await _answer(call, 200, _by(call, cancel_rebuild))


@_on_rebuild(
    "/v1/projections/{name}/rebuild/pause",
    summary="Pause a rebuild",
    returns=[Returns(200, "The projection.", ProjectionBody, examples.REBUILT_PROJECTION)],
    problems=[ProjectionNotFound, RebuildNotUnderWay],
    body_example={"reason": "maintenance"},
)
async def pause_projection_rebuild(call: Call[InstallationQuery, OptionalReason]) -> Answer:
    """Pause a rebuild until it is resumed, even across restarts. Idempotent."""
    return await _answer(call, 200, _by(call, pause_rebuild))


@_on_rebuild(
    "/v1/projections/{name}/rebuild/resume",
    summary="Resume a rebuild",
    returns=[Returns(200, "The projection.", ProjectionBody, examples.REBUILT_PROJECTION)],
    problems=[ProjectionNotFound, RebuildNotUnderWay],
    body_example={"reason": "maintenance"},
)
async def resume_projection_rebuild(call: Call[InstallationQuery, OptionalReason]) -> Answer:
    """Resume a paused rebuild where it stopped. Idempotent."""
    return await _answer(call, 200, _by(call, resume_rebuild))


def _by(call: Call[InstallationQuery, OptionalReason], act: Callable[..., None]) -> Callable[..., None]:
    return partial(act, actor=call.context.actor, reason=call.body.reason or None)


async def _answer(call: Call[Any, Any], status: int, act: Callable[[Connection[Any], str], Any]) -> Answer:
    shown = partial(shown_after, name=call.path_params["name"], act=act)
    found = await call.service.query(shown)
    return json_answer(status, call.as_placed(found))
