"""The console's way of a request: who is signed in, which page or action is meant, and how refusals are shown."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from api.console.actions.acting import act, ask
from api.console.forms import MAX_FORM_BYTES, require_same_origin
from api.console.inside import NeedsPrimary, Refused, require_primary
from api.console.rendering import SECURITY, files, rendered, version_of_files
from api.console.showing import Route, has_something_new, show
from api.console.signing_in import (
    HOME,
    SIGN_IN,
    SIGN_OUT,
    has_cookie,
    redirect,
    session_of,
    sign_in,
    sign_out,
    to_sign_in,
)
from api.console.turns import Turns
from api.http.middleware import refusal_of
from api.http.replicas.forwarding import pass_on
from api.http.responses import HTML, Answer, prefers
from api.problems import MethodNotAllowed, PathNotFound
from api.service.replica import Replica
from domain.model.errors import LedgerError

STATIC = "/console/static/"

_FOREVER = {"Cache-Control": "public, max-age=31536000, immutable"}
_NEVER = {"Cache-Control": "no-store"}


class Console:
    """Answers what is below `/console`, and leads a browser from `/` there. Anything else goes on.

    On a replica, pages show the copy. What only the primary can do is refused, or the browser's whole request is passed
    on to it.
    """

    def __init__(self, otherwise: ASGIApp) -> None:
        """`otherwise` gets all other requests."""
        self._otherwise = otherwise
        self._turns = Turns()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        path = scope["path"]
        if path == "/" and _wants_page(scope):
            await redirect(HOME).send(send)
        elif path == HOME or path.startswith(f"{HOME}/"):
            scope["route"] = Route(HOME)
            try:
                answer = await self._answer(scope, receive)
            except NeedsPrimary as needs:
                try:
                    await pass_on(scope, receive, send, needs.replica, MAX_FORM_BYTES, None)
                    return
                except LedgerError as error:
                    answer = _refused(scope, error)
            await answer._replace(headers={**_NEVER, **SECURITY, **answer.headers}).send(send)
        else:
            await self._otherwise(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        try:
            return await self._found(scope, receive)
        except Refused as refused:
            return _refusal(scope, refused.reply.content)
        except Exception as error:
            if isinstance(error, ClientDisconnect | NeedsPrimary):
                raise
            return _refused(scope, error)

    async def _found(self, scope: Scope, receive: Receive) -> Answer:
        path, method = scope["path"], scope["method"]
        if path.startswith(STATIC):
            return _static(path)
        if method not in ("GET", "HEAD", "POST"):
            raise MethodNotAllowed(headers={"Allow": "GET, HEAD, POST"})
        replica: Replica | None = scope["state"]["service"].replica
        if replica is not None and method == "POST":
            require_same_origin(scope)
            require_primary(replica)
        if path == SIGN_IN:
            return await sign_in(scope, receive)
        session = await session_of(scope)
        if session is None:
            if replica is not None and replica.forwards and has_cookie(scope):
                raise NeedsPrimary(replica)  # it may have begun a moment ago
            return to_sign_in(scope)
        if path == SIGN_OUT:
            return await sign_out(scope, receive, session)
        if method == "POST":
            async with self._turns.of(session.caller):
                return await act(scope, receive, session)
        if await has_something_new(scope, session):
            async with self._turns.of(session.caller):
                return await show(scope, session) or await ask(scope, session)
        return Answer(HTTPStatus.UNAUTHORIZED)


def _wants_page(scope: Scope) -> bool:
    accept = scope["head"].headers.get(b"accept", b"").decode("latin-1")
    return scope["method"] in ("GET", "HEAD") and prefers(accept, "text/html", "application/json")


def _static(path: str) -> Answer:
    found = files().get(path.rpartition("/")[2])
    if found is None:
        raise PathNotFound
    content, media_type = found
    # Another release may ask for its own version of the file. What this one has must not be kept under that address.
    is_own = path == f"{STATIC}{version_of_files()}/{path.rpartition('/')[2]}"
    return Answer(200, content, _FOREVER if is_own else _NEVER, media_type)


def _refused(scope: Scope, error: Exception) -> Answer:
    answer = refusal_of(error, scope)
    return _refusal(scope, json.loads(answer.body), answer.headers)


def _refusal(
    scope: Scope, problem: Mapping[str, Any], headers: Mapping[str, str] = MappingProxyType({})
) -> Answer:
    """Show a refusal of the API as a page, with the same status. Without a session only the words are shown."""
    status = problem["status"]
    if status == HTTPStatus.UNAUTHORIZED:
        return to_sign_in(scope)
    values = {"problem": problem, "status": status}
    retry = {"Retry-After": "1"} if status == HTTPStatus.SERVICE_UNAVAILABLE else {}
    return Answer(status, rendered("refusal.html", values), {**retry, **headers}, HTML)
