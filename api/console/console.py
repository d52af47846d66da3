"""The console's way of a request: who is signed in, which page or action is meant, and how refusals are shown."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from api.console.acting import act, ask
from api.console.inside import Refused
from api.console.rendering import SECURITY, files, rendered
from api.console.showing import Route, show
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
from api.http.responses import HTML, Answer, prefers
from api.problems import MethodNotAllowed, PathNotFound, problem_of, status_of
from domain.model.errors import LedgerError

STATIC = "/console/static/"

_FOREVER = {"Cache-Control": "public, max-age=31536000, immutable"}
_NEVER = {"Cache-Control": "no-store"}


class Console:
    """Answers what is below `/console`, and leads a browser from `/` there. Anything else goes on."""

    def __init__(self, otherwise: ASGIApp) -> None:
        """`otherwise` gets all other requests."""
        self._otherwise = otherwise

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
        path, method = scope["path"], scope["method"]
        if path.startswith(STATIC):
            return _static(path)
        if method not in ("GET", "HEAD", "POST"):
            raise MethodNotAllowed(headers={"Allow": "GET, HEAD, POST"})
        try:
            if path == SIGN_IN:
                return await sign_in(scope, receive)
            session = await session_of(scope)
            if session is None:
                return to_sign_in(scope)
            if path == SIGN_OUT:
                return await sign_out(scope, receive, session)
            if method == "POST":
                return await act(scope, receive, session)
            return await show(scope, session) or await ask(scope, session)
        except Refused as refused:
            return await _refusal(scope, refused.reply.status, refused.reply.content)
        except LedgerError as error:
            talk = scope["head"].conversation
            return await _refusal(scope, status_of(type(error)), problem_of(error, path, talk.correlation_id))


def _wants_page(scope: Scope) -> bool:
    accept = scope["head"].headers.get(b"accept", b"").decode("latin-1")
    return scope["method"] in ("GET", "HEAD") and prefers(accept, "text/html", "application/json")


def _static(path: str) -> Answer:
    found = files().get(path.rpartition("/")[2])
    if found is None:
        raise PathNotFound
    content, media_type = found
    return Answer(200, content, _FOREVER, media_type)


async def _refusal(scope: Scope, status: int, problem: Mapping[str, Any]) -> Answer:
    """Show a refusal of the API as a page, with the same status. Without a session only the words are shown."""
    if status == HTTPStatus.UNAUTHORIZED:
        return to_sign_in(scope)
    values = {"problem": problem, "status": status}
    retry = {"Retry-After": "1"} if status == HTTPStatus.SERVICE_UNAVAILABLE else {}
    return Answer(status, rendered("refusal.html", values), retry, HTML)
