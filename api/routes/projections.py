"""Projections: how far each is."""

from functools import partial

from api import examples
from api.answers import Answer, json_answer
from api.consistency import Consistency
from api.declaration import OVERSEER, Declaration, NoQuery, Returns
from api.endpoint import Asked, Endpoint
from api.schemas.common import Page
from api.schemas.projections import ProjectionBody, projection_body
from domain.errors import ProjectionNotFound
from projections.positions import all_progress, progress


async def get_projections(asked: Asked[NoQuery, None]) -> Answer:
    """List all projections and how far each is. They are few, so there is one page."""
    found = await asked.service.query(all_progress)
    return json_answer(200, {"data": [projection_body(seen) for seen in found], "next_cursor": None})


async def get_projection(asked: Asked[NoQuery, None]) -> Answer:
    """Tell how far one projection is."""
    found = await asked.service.query(partial(progress, name=asked.names["name"]))
    return json_answer(200, projection_body(found))


ENDPOINTS = [
    Endpoint(
        Declaration(
            "GET",
            "/v1/projections",
            "list_projections",
            "Operating",
            "List projections",
            Consistency.PROCESS,
            OVERSEER,
            (Returns(200, "All projections.", Page[ProjectionBody], examples.page(examples.PROJECTION)),),
        ),
        get_projections,
    ),
    Endpoint(
        Declaration(
            "GET",
            "/v1/projections/{name}",
            "get_projection",
            "Operating",
            "Look at a projection",
            Consistency.PROCESS,
            OVERSEER,
            (Returns(200, "The projection.", ProjectionBody, examples.PROJECTION),),
            problems=(ProjectionNotFound,),
        ),
        get_projection,
    ),
]
