"""The OpenAPI document and the pages for people. Anybody may read them."""

from typing import Any

from api.http.consistency import Consistency
from api.http.declaration import ANYBODY, Declaration, NoQuery, Returns
from api.http.endpoint import Call, Endpoint
from api.http.responses import HTML, JSON, Answer
from api.problems import PROBLEM_TYPES, PathNotFound
from api.resources.installation.docs import SECURITY_POLICY, asset, document_page, problem_page

_SAFE = {"Content-Security-Policy": SECURITY_POLICY, "X-Content-Type-Options": "nosniff"}


async def get_document(call: Call[NoQuery, None]) -> Answer:
    """Return this OpenAPI document."""
    return Answer(200, call.service.document())


async def get_documentation(call: Call[NoQuery, None]) -> Answer:
    """Show this document as a page. Works offline."""
    return Answer(200, document_page().encode(), _SAFE, HTML)


async def get_documentation_asset(call: Call[NoQuery, None]) -> Answer:
    """Return a file that the documentation page needs."""
    found = await call.service.read(asset, call.path_params["asset"])
    if found is None:
        raise PathNotFound
    content, media_type = found
    return Answer(200, content, {**_SAFE, "Cache-Control": "max-age=3600"}, media_type)


async def get_problem(call: Call[NoQuery, None]) -> Answer:
    """Explain a problem. The `type` of every problem is the path of its page."""
    kind = PROBLEM_TYPES.get(call.path_params["code"])
    if kind is None:
        raise PathNotFound
    return Answer(200, problem_page(kind).encode(), _SAFE, HTML)


def _public(path: str, operation_id: str, summary: str, returns: Returns, **more: Any) -> Declaration:
    return Declaration(
        "GET", path, operation_id, "Documentation", summary, Consistency.PROCESS, ANYBODY, (returns,), **more
    )


_PAGE = Returns(200, "The page.", None, "<!DOCTYPE html>…", media_type="text/html")

ENDPOINTS = [
    Endpoint(
        _public(
            "/openapi.json",
            "get_document",
            "This document",
            Returns(200, "The document.", None, {"openapi": "3.1.0"}, media_type=JSON),
        ),
        get_document,
    ),
    Endpoint(_public("/docs", "get_documentation", "Documentation for people", _PAGE), get_documentation),
    Endpoint(
        _public(
            "/docs/{asset}",
            "get_documentation_asset",
            "A file of the documentation",
            Returns(200, "The file.", None, "…", media_type="text/css"),
            problems=(PathNotFound,),
        ),
        get_documentation_asset,
    ),
    Endpoint(
        _public("/problems/{code}", "get_problem", "What a problem means", _PAGE, problems=(PathNotFound,)),
        get_problem,
    ),
]
