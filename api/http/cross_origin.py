"""Calls from the pages of other origins: what a browser asks before it sends them, and lets pages see of the answers.

Starlette's middleware decides. It has no mode for cookies here: who calls is known by the key in `Authorization` alone,
which no browser adds by itself.
"""

from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp

from api.http.correlation import conversation
from api.http.openapi import HEADERS

METHODS = ("DELETE", "GET", "HEAD", "PATCH", "POST")
MAX_AGE_SECONDS = 600

REQUEST_HEADERS = (
    "Authorization",
    "Content-Type",
    "Correlation-Id",
    "Idempotency-Key",
    "If-Match",
    "If-None-Match",
    "Prefer",
    "traceparent",
    "tracestate",
)

ANSWER_HEADERS = (*HEADERS, "Accept-Encoding", "Accept-Patch", "Accept-Post", "Allow", "WWW-Authenticate")
"""What answers have beyond what every page may see: all that the document names, and those of some refusals."""


class CrossOrigin(CORSMiddleware):
    """Lets pages of some origins call, whatever they are answered, refusals included."""

    def __init__(self, app: ASGIApp, origins: Sequence[str]) -> None:
        """`origins` as browsers send them; `*` for every one."""
        super().__init__(
            app,
            allow_origins=origins,
            allow_methods=METHODS,
            allow_headers=REQUEST_HEADERS,
            expose_headers=ANSWER_HEADERS,
            max_age=MAX_AGE_SECONDS,
        )

    def preflight_response(self, request_headers: Headers) -> Response:
        """Return what is allowed, also to who is not: the browser compares, and misses its origin."""
        allowed = super().preflight_response(request_headers).headers
        talk = conversation(dict(request_headers.raw))
        return Response(
            status_code=204,
            headers={
                **{name: allowed[name] for name in allowed if name not in ("content-length", "content-type")},
                "Correlation-Id": talk.correlation_id,
                "traceparent": talk.traceparent,
            },
        )
