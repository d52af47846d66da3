"""Rebuilds of projections: ask for one, cancel it, pause it, let it go on. A projector carries them out."""

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
    """Ask for a new version, filled beside the live one, compared with it, and put in its place if it is equal.

    Reads never stop. What is under way already is answered as it is, and told of an accepted difference. What was
    stopped by a difference goes on if that is accepted, and is otherwise begun anew, as what failed is. The version
    that was replaced is kept until the next rebuild.
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
    """End a rebuild and drop what it has made. Where none is under way, there is nothing to do: again is as once.

    Refused while this release has no other version of the projection.
    """
    return await _answer(call, 200, _by(call, cancel_rebuild))


async def pause_projection_rebuild(call: Call[NoQuery, Control]) -> Answer:
    """Keep a rebuild where it is, also after a restart, until it is resumed. Again is as once."""
    return await _answer(call, 200, _by(call, pause_rebuild))


async def resume_projection_rebuild(call: Call[NoQuery, Control]) -> Answer:
    """Let a paused rebuild go on from where it is. Again is as once."""
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
