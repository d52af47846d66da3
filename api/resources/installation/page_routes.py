"""The OpenAPI document and the pages for people and for language models. Anybody may read them."""

import asyncio
from functools import partial
from importlib.resources import files

from api.http.call import Call
from api.http.consistency import Consistency
from api.http.declaration import ANYBODY, NoQuery, Returns
from api.http.endpoint import endpoint
from api.http.responses import HTML, JSON, TEXT, Answer
from api.http.spanning.spans import Spans
from api.problems import PROBLEM_TYPES, PathNotFound
from api.resources.installation.docs import SECURITY_POLICY, asset, document_page, problem_page

_SAFE = {"Content-Security-Policy": SECURITY_POLICY, "X-Content-Type-Options": "nosniff"}

_RULES = files(__package__).joinpath("llms.txt").read_bytes()
_PAGE = Returns(200, "The page.", None, "<!DOCTYPE html>…", media_type="text/html")
_public = partial(
    endpoint,
    "GET",
    tag="Documentation",
    consistency=Consistency.PROCESS,
    roles=ANYBODY,
    spans=Spans.PROCESS,
)


@_public(
    "/openapi.json",
    summary="This document",
    returns=[Returns(200, "The document.", None, {"openapi": "3.1.0"}, media_type=JSON)],
)
async def get_document(call: Call[NoQuery, None]) -> Answer:
    """Return this OpenAPI document."""
    # Not among the reads of the database, which may all be waiting.
    return Answer(200, await asyncio.to_thread(call.service.document))


@_public("/docs", summary="Documentation for people", returns=[_PAGE])
async def get_documentation(call: Call[NoQuery, None]) -> Answer:
    """Show this document as a page. Works offline."""
    return Answer(200, document_page().encode(), _SAFE, HTML)


@_public(
    "/docs/{asset}",
    summary="A file of the documentation",
    returns=[Returns(200, "The file.", None, "…", media_type="text/css")],
    problems=[PathNotFound],
)
async def get_documentation_asset(call: Call[NoQuery, None]) -> Answer:
    """Return a file that the documentation page needs."""
    found = await call.service.read(asset, call.path_params["asset"])
    if found is None:
        raise PathNotFound
    content, media_type = found
    return Answer(200, content, {**_SAFE, "Cache-Control": "max-age=3600"}, media_type)


@_public(
    "/llms.txt",
    summary="What a language model must know",
    returns=[Returns(200, "The page, in Markdown.", None, "# Tallystick…", media_type="text/plain")],
)
async def get_rules_for_models(call: Call[NoQuery, None]) -> Answer:
    """Return what this is, the rules for whoever acts here, and where to read on, for language models and people."""
    return Answer(200, _RULES, {"X-Content-Type-Options": "nosniff"}, TEXT)


@_public("/problems/{code}", summary="What a problem means", returns=[_PAGE], problems=[PathNotFound])
async def get_problem(call: Call[NoQuery, None]) -> Answer:
    """Explain a problem. The `type` of every problem is the path of its page."""
    kind = PROBLEM_TYPES.get(call.path_params["code"])
    if kind is None:
        raise PathNotFound
    return Answer(200, problem_page(kind).encode(), _SAFE, HTML)
