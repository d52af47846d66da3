"""Cross-origin calls from browsers: answers preflight requests and says which headers a page may read.

Starlette's middleware decides. Cookies play no part: a caller is known only by the key in `Authorization`, which no
browser adds by itself.
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
"""The headers that pages may read beyond the safelisted ones: all that the document names, and those of some
refusals."""


class CrossOrigin(CORSMiddleware):
    """Lets pages of some origins call and read every answer, including refusals."""

    def __init__(self, app: ASGIApp, origins: Sequence[str]) -> None:
        """`origins` are written as browsers send them; `*` is every origin."""
        super().__init__(
            app,
            allow_origins=origins,
            allow_methods=METHODS,
            allow_headers=REQUEST_HEADERS,
            expose_headers=ANSWER_HEADERS,
            max_age=MAX_AGE_SECONDS,
        )

    def preflight_response(self, request_headers: Headers) -> Response:
        """Return what is allowed. An origin that is not allowed gets the answer too: the browser compares, and does not
        find its origin in it."""
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
