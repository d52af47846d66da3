"""The span of a request: from its arrival until the end of its answer, in the trace that the caller began.

This is a layer around all others, and there is none where traces are off. It gives what is inside the context of its
span in place of the caller's. So that is what events are stored with and what answers return: the trace is the
caller's, and whatever the request causes is part of this span.
"""

from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.http.correlation import conversation, is_traceparent
from domain.tracing import ACTOR, CORRELATION_ID, HTTP_METHOD, HTTP_ROUTE, HTTP_STATUS, LEDGER, Kind, Tracer

TRACEPARENT = b"traceparent"

PROBES = frozenset({"/livez", "/readyz", "/metrics"})
"""Paths that machines ask for every few seconds. Such a request begins no trace; it is part of one if it says so."""

_METHODS = frozenset({"GET", "HEAD", "POST", "PATCH", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT"})


class TracedRequests:
    """Wraps the routes. Tells `tracer` of each request whose trace is sampled."""

    def __init__(self, routes: ASGIApp, tracer: Tracer) -> None:
        self._routes = routes
        self._tracer = tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        parent = _given(scope)
        # A method of somebody's own invention could be anything, so it has these names (OpenTelemetry, HTTP spans).
        method, verb = scope["method"], scope["method"]
        if method not in _METHODS:
            method, verb = "_OTHER", "HTTP"
        span = None
        if parent or scope["path"] not in PROBES:
            span = self._tracer.begin(Kind.SERVER, verb, parent, {HTTP_METHOD: method})
        if span is None:
            if parent is None:
                _continue_in(scope, _unsampled())
            await self._routes(scope, receive, send)
            return
        _continue_in(scope, span.traceparent)
        status = 0

        async def send_and_note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._routes(scope, receive, send_and_note)
        finally:
            attributes = _attributes(scope, status)
            route = attributes.get(HTTP_ROUTE)
            error = str(status) if status >= 500 else None if status else "unanswered"
            span.end(attributes, name=f"{verb} {route}" if route else None, error=error)


def _given(scope: Scope) -> str | None:
    """Return the context that the caller sent, None if that is not one valid context."""
    given = [value for name, value in scope["headers"] if name == TRACEPARENT]
    text = given[0].decode("latin-1") if len(given) == 1 else ""
    return text if is_traceparent(text) else None


def _unsampled() -> str:
    """Return the context of a trace that nobody follows."""
    return f"{conversation({}).traceparent[:-2]}00"


def _continue_in(scope: Scope, traceparent: str) -> None:
    kept = [(name, value) for name, value in scope["headers"] if name != TRACEPARENT]
    scope["headers"] = [*kept, (TRACEPARENT, traceparent.encode())]


def _attributes(scope: Scope, status: int) -> dict[str, str | int]:
    """Return what is known of a request at its end. The ledger in the path is told only of known callers."""
    attributes: dict[str, str | int] = {CORRELATION_ID: scope["head"].conversation.correlation_id}
    if status:
        attributes[HTTP_STATUS] = status
    route: Any = scope.get("route")
    if route is not None:
        attributes[HTTP_ROUTE] = route.path
    if caller := scope.get("caller"):
        attributes[ACTOR] = caller.name
        ledger = scope.get("path_params", {}).get("ledger")
        if ledger:
            attributes[LEDGER] = ledger
    return attributes
