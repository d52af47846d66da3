"""The outermost layer: everything that all requests and responses have in common.

One layer of plain ASGI instead of the framework's stack: correlation id and trace context, refusals as problems, the
journal's position, measurements, the log of denials and faults.
"""

import asyncio
import re
from collections.abc import Awaitable, Mapping
from time import monotonic
from typing import Any
from urllib.parse import unquote

import structlog
from pydantic_core import to_json
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.http.correlation import Conversation, conversation
from api.http.disclosure import reads_accounts
from api.http.endpoint import Endpoint
from api.http.request import SESSION, RequestHead, joined
from api.http.responses import DRY_RUN, HEAD, INSTALLATION, POSITION, Answer
from api.problems import (
    MEDIA_TYPE,
    InternalError,
    headers_of,
    problem_of,
    status_of,
)
from api.security.keys import NOBODY
from api.service.service import Service
from domain.journal.outage import DENIALS, is_denied, outage_of, was_any_on
from domain.model.errors import JournalUnavailable, LedgerError
from projections.errors import ProjectionBehind

SLOW_SECONDS = 1.0

CLIENT_LEFT = "the client has left"
"""The server's reason to cancel a request: nobody waits for the answer."""

MAX_INSTANCE_LENGTH = 1024
"""How much is shown of the path of an incomplete or malformed request."""

# An escaped slash does not separate segments, and U+0000 cannot be looked up. No resource has such a name.
_UNNAMEABLE = re.compile(rb"%2f|%00", re.IGNORECASE)
_NOTHING = b"%EF%BF%BD"

_log = structlog.get_logger(__name__)


class HttpMiddleware:
    """Wraps the routes. Sets `scope["head"]` to the `RequestHead`; `scope["state"]["service"]` is the `Service`."""

    def __init__(self, routes: ASGIApp) -> None:
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        began = monotonic()
        head = _read_head(scope)
        talk = head.conversation
        status = 0
        is_head = scope["method"] == "HEAD"

        def send_with_conversation(message: Message) -> Awaitable[None]:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if "is_forwarded" not in scope:
                    message["headers"] = [
                        *message["headers"],
                        (b"correlation-id", talk.correlation_id.encode()),
                        (b"traceparent", talk.traceparent.encode()),
                    ]
            elif is_head:
                message = {**message, "body": b""}
            return send(message)

        try:
            await self._routes(scope, receive, send_with_conversation)
        except ClientDisconnect:
            return
        except asyncio.CancelledError as error:
            if error.args != (CLIENT_LEFT,):
                raise
            return
        except Exception as error:
            if status:
                raise
            await refusal_of(error, scope).send(send_with_conversation)
        _observe(scope, talk, status, began)


def _read_head(scope: Scope) -> RequestHead:
    headers = joined(scope["headers"])
    headers.pop(SESSION, None)
    if "session" in scope:
        headers[SESSION] = scope["session"].encode()
    raw_path: bytes = scope.get("raw_path") or scope["path"].encode()
    if b"%" in raw_path and _UNNAMEABLE.search(raw_path):
        scope["path"] = unquote(_UNNAMEABLE.sub(_NOTHING, raw_path).decode("latin-1"))
    head = RequestHead(headers, conversation(headers))
    scope["head"] = head
    return head


def refusal_of(error: Exception, scope: Scope) -> Answer:
    """Return the problem that answers an exception. Denials and faults are logged."""
    talk: Conversation = scope["head"].conversation
    instance = scope.get("raw_path", b"").decode("latin-1") or scope["path"]
    if not isinstance(error, LedgerError) and is_denied(error):
        DENIALS.note(error)
        error = JournalUnavailable("denied")
    if not isinstance(error, LedgerError):
        _log.error("fault", path=instance, correlation_id=talk.correlation_id, exc_info=error)
        error = InternalError()
    if not reads_accounts(scope.get("caller", NOBODY)):
        error = error.withheld()
    if error.installation is not None:
        scope["service"] = scope["state"]["installations"].named(error.installation)
    status = status_of(type(error))
    if status in (401, 403):
        _note_denial(error, scope, instance, talk)
    headers = {**headers_of(error), **_positions(error, status, scope)}
    if scope.get("is_dry_run"):
        headers[DRY_RUN] = "true"
    if "service" in scope:
        headers[INSTALLATION] = scope["service"].name
    body = to_json(problem_of(error, instance, talk.correlation_id))
    return Answer(status, body, headers, MEDIA_TYPE)


def _note_denial(error: LedgerError, scope: Scope, path: str, talk: Conversation) -> None:
    service: Service = scope["state"]["service"]
    method, facts = scope["method"], {"code": error.code, **_actor(scope)}
    details = {"path": path, "method": method, "correlation_id": talk.correlation_id}
    service.metrics.denial(error.code)
    service.log.note("denied", facts, f"{method} {_route_of(scope)}", **details)


def refusal_before_request(
    error: LedgerError, raw_path: bytes, state: Mapping[str, Any]
) -> tuple[Answer, dict[str, str]]:
    """Return the answer to something that is not a request yet, and all its headers.

    `raw_path` is as much of the path as is known. `state` is the application's state.
    """
    path = raw_path[:MAX_INSTANCE_LENGTH].decode("ascii", "replace")
    talk = conversation({})
    head = RequestHead({}, talk)
    scope: Scope = {"path": path, "raw_path": path.encode(), "state": state, "method": "any", "head": head}
    answer = refusal_of(error, scope)
    state["service"].metrics.request("any", "unmatched", answer.status, 0.0)
    headers = {
        "Content-Type": answer.media_type,
        "Content-Length": str(len(answer.body)),
        "Correlation-Id": talk.correlation_id,
        "traceparent": talk.traceparent,
        **answer.headers,
    }
    return answer, headers


def _positions(error: LedgerError, status: int, scope: Scope) -> dict[str, str]:
    """Return the position that a refusal reflects: the position of the read behind it, else the newest known one.

    A caller who was not let in, or was not asked for a key since no path or method was found, learns nothing about the
    books. In a placement a position is one of an installation: what no single one refuses has none.
    """
    route = scope.get("route")
    if status in (401, 403) or "caller" not in scope or not isinstance(route, Endpoint):
        return {}
    if not route.declared.states_position:
        return {}
    if "service" not in scope and scope["state"]["installations"].is_placement:
        return {}
    service: Service = scope.get("service") or scope["state"]["service"]
    head = service.position()
    # The position of `ProjectionBehind` is the projection's own. The answer does not reflect it.
    seen = None if isinstance(error, ProjectionBehind) else error.position
    positions = {POSITION: str(head if seen is None else seen)}
    if route.declared.states_head:
        positions[HEAD] = str(max(head, seen or 0))  # another process may have recorded what was seen
    return positions


def _actor(scope: Scope) -> dict[str, str]:
    caller = scope.get("caller")
    return {"actor": caller.name} if caller else {}


def _route_of(scope: Scope) -> str:
    route = scope.get("route")
    return route.path if route else "unmatched"


def _is_logged_once(scope: Scope, status: int, began: float) -> bool:
    """Tell whether an outage or a denial was on, which is logged once and not for each request that it hits.

    A request of one installation needs home too, for the key and the map. Any other may span them all.
    """
    service: Service | None = scope.get("service")
    if service is None:
        was_out_of_reach = was_any_on(began)
    else:
        home: Service = scope["state"]["service"]
        was_out_of_reach = any(
            outage_of(of.ledger.datastore.database).was_on(began) for of in (service, home)
        )
    return status != 500 and (was_out_of_reach or DENIALS.was_on(began))


def _observe(scope: Scope, talk: Conversation, status: int, began: float) -> None:
    # A page of the console that waits for news on purpose is not slow.
    seconds = monotonic() - began - scope.get("waited_seconds", 0.0)
    route = scope.get("route")
    service: Service = scope["state"]["service"]
    path = _route_of(scope)
    # An unmatched path or method could be anything, and figures are kept for ever.
    method = scope["method"] if route and status != 405 else "any"
    service.metrics.request(method, path, status, seconds)
    if (status >= 500 or seconds > SLOW_SECONDS) and not _is_logged_once(scope, status, began):
        took = round(seconds, 3)
        service.log.note(
            "slow" if status < 500 else "failed",
            {"status": status, **_actor(scope)},
            f"{method} {path}",
            method=scope["method"],
            route=path,
            seconds=took,
            correlation_id=talk.correlation_id,
        )
