"""The console's way of a request: who is signed in, which page or action is meant, and how refusals are shown."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from api.console.actions.acting import act, ask
from api.console.inside import Refused
from api.console.rendering import SECURITY, files, rendered, version_of_files
from api.console.showing import Route, has_something_new, show
from api.console.signing_in import (
    HOME,
    SIGN_IN,
    SIGN_OUT,
    redirect,
    session_of,
    sign_in,
    sign_out,
    to_sign_in,
)
from api.console.turns import Turns
from api.http.middleware import refusal_of
from api.http.responses import HTML, Answer, prefers
from api.problems import MethodNotAllowed, PathNotFound

STATIC = "/console/static/"

_FOREVER = {"Cache-Control": "public, max-age=31536000, immutable"}
_NEVER = {"Cache-Control": "no-store"}


class Console:
    """Answers what is below `/console`, and leads a browser from `/` there. Anything else goes on."""

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
            answer = await self._answer(scope, receive)
            await answer._replace(headers={**_NEVER, **SECURITY, **answer.headers}).send(send)
        else:
            await self._otherwise(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        try:
            return await self._found(scope, receive)
        except Refused as refused:
            return _refusal(scope, refused.reply.content)
        except Exception as error:
            if isinstance(error, ClientDisconnect):
                raise
            answer = refusal_of(error, scope)
            return _refusal(scope, json.loads(answer.body), answer.headers)

    async def _found(self, scope: Scope, receive: Receive) -> Answer:
        path, method = scope["path"], scope["method"]
        if path.startswith(STATIC):
            return _static(path)
        if method not in ("GET", "HEAD", "POST"):
            raise MethodNotAllowed(headers={"Allow": "GET, HEAD, POST"})
        if path == SIGN_IN:
            return await sign_in(scope, receive)
        session = await session_of(scope)
        if session is None:
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
