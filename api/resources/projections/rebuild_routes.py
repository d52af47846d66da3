"""Rebuilds of projections: request, cancel, pause and resume them. A projector carries them out."""

from collections.abc import Callable
from functools import partial
from typing import Any

from psycopg import Connection

from api.http import examples
from api.http.consistency import Consistency
from api.http.declaration import OPERATOR, Concerns, Declaration, NoQuery, Returns
from api.http.endpoint import Call, Endpoint
from api.http.responses import Answer, json_answer
from api.resources.projections.answers import shown_after
from api.resources.projections.schemas import Control, ProjectionBody, RebuildRequest
from projections.errors import ProjectionNotFound, RebuildNeeded, RebuildNotUnderWay
from projections.rebuilding.requests import cancel_rebuild, pause_rebuild, request_rebuild, resume_rebuild


async def rebuild_projection(call: Call[NoQuery, RebuildRequest]) -> Answer:
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


async def cancel_projection_rebuild(call: Call[NoQuery, Control]) -> Answer:
    """Cancel a rebuild and drop what it has built. Idempotent: without a rebuild nothing happens.

    Refused if this release has no other version of the projection.
    """
    return await _answer(call, 200, _by(call, cancel_rebuild))


async def pause_projection_rebuild(call: Call[NoQuery, Control]) -> Answer:
    """Pause a rebuild until it is resumed, even across restarts. Idempotent."""
    return await _answer(call, 200, _by(call, pause_rebuild))


async def resume_projection_rebuild(call: Call[NoQuery, Control]) -> Answer:
    """Resume a paused rebuild where it stopped. Idempotent."""
    return await _answer(call, 200, _by(call, resume_rebuild))


def _by(call: Call[NoQuery, Control], act: Callable[..., None]) -> Callable[..., None]:
    return partial(act, actor=call.context.actor, reason=call.body.reason or None)


async def _answer(call: Call[Any, Any], status: int, act: Callable[[Connection[Any], str], Any]) -> Answer:
    shown = partial(shown_after, name=call.path_params["name"], act=act)
    return json_answer(status, await call.service.query(shown))


def _declaration(path: str, operation_id: str, summary: str, returns: Returns, **more: Any) -> Declaration:
    return Declaration(
        "POST",
        f"/v1/projections/{{name}}/rebuild{path}",
        operation_id,
        "Operating",
        summary,
        Consistency.PROCESS,
        OPERATOR,
        (returns,),
        is_body_optional=True,
        concerns=Concerns.EVERY,
        **more,
    )


def _control(
    verb: str, example: dict[str, Any], refusal: type[ProjectionNotFound | RebuildNeeded | RebuildNotUnderWay]
) -> Declaration:
    return _declaration(
        f"/{verb}",
        f"{verb}_projection_rebuild",
        f"{verb.capitalize()} a rebuild",
        Returns(200, "The projection.", ProjectionBody, example),
        body=Control,
        body_example={"reason": "maintenance"},
        problems=(ProjectionNotFound, refusal),
    )


ENDPOINTS = [
    Endpoint(
        _declaration(
            "",
            "rebuild_projection",
            "Rebuild a projection",
            Returns(202, "The projection, with its rebuild.", ProjectionBody, examples.REBUILT_PROJECTION),
            body=RebuildRequest,
            body_example={"reason": "an audit"},
            problems=(ProjectionNotFound,),
        ),
        rebuild_projection,
    ),
    Endpoint(_control("cancel", examples.PROJECTION, RebuildNeeded), cancel_projection_rebuild),
    Endpoint(_control("pause", examples.REBUILT_PROJECTION, RebuildNotUnderWay), pause_projection_rebuild),
    Endpoint(_control("resume", examples.REBUILT_PROJECTION, RebuildNotUnderWay), resume_projection_rebuild),
]
