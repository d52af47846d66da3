"""The console's way of a request: who is signed in, which page or action is meant, and what is sent back.

A live page is fetched again by its script, with a header `Console-State` that names how far everything was when the
page was made. That request is answered as soon as the journal or a projection has moved on, or after a few seconds. So
a page waits as a reader does who names a `min_position`, but for any of the positions that it may show.
"""

import asyncio
import json
import zlib
from collections.abc import Mapping
from http import HTTPStatus
from time import monotonic
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, quote, urlencode

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

import api.console.pages.all  # noqa: F401  (lists the pages and their actions)
from api.console.actions import ACTIONS, Action, action_at, carry_out, is_filled, new_key
from api.console.assets import with_assets
from api.console.forms import cookie_of, csrf_of, read_form, require_own, require_same_origin, seal_of
from api.console.inside import Inside, Refused, Reply
from api.console.navigation import navigation
from api.console.rendering import SECURITY, files, rendered, version_of_files
from api.console.subjects import facts_of, subject_of
from api.console.turns import Turns
from api.console.view import PAGES, Page, Raw, Sent, Shown, View
from api.http.middleware import refusal_of
from api.http.responses import HTML, Answer, prefers
from api.problems import MethodNotAllowed, PathNotFound, Unauthenticated
from api.security.keys import Key
from api.security.sessions import SESSION_SECONDS, begin_session, end_session
from api.service.service import Service
from domain.model.times import instant

HOME = "/console"
SIGN_IN = "/console/sign-in"
SIGN_OUT = "/console/sign-out"
STATIC = "/console/static/"
COOKIE = "tallystick_session"

TRY = "try"
"""The button of an action's form that sends nothing, and says again what would happen."""

LOOK_EVERY_SECONDS = 0.2
REDRAW_SECONDS = 3.0
"""After this long a page is made again even if no position moved, because deliveries and ages have no position."""

_FOREVER = {"Cache-Control": "public, max-age=31536000, immutable"}
_NEVER = {"Cache-Control": "no-store"}


class Route(NamedTuple):
    """The route of a console's request, as metrics name it."""

    path: str


class Session(NamedTuple):
    """A browser that is signed in: the token of its session, and the key that it acts with."""

    token: str
    caller: Key


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
            await _redirect(HOME).send(send)
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
            return await _sign_in(scope, receive)
        session = await _session(scope)
        if session is None:
            return _to_sign_in(scope)
        if path == SIGN_OUT:
            return await _sign_out(scope, receive, session)
        if method == "POST":
            async with self._turns.of(session.caller):
                return await _act(scope, receive, session)
        if await _has_something_new(scope, session):
            async with self._turns.of(session.caller):
                return await _show(scope, session)
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


# Signing in and out


async def _session(scope: Scope) -> Session | None:
    token = cookie_of(scope["head"].headers, COOKIE)
    service: Service = scope["state"]["service"]
    caller = await service.keys.find_session(token) if token else None
    if caller is None:
        return None
    scope["caller"] = caller
    return Session(token, caller)


async def _sign_in(scope: Scope, receive: Receive) -> Answer:
    """Show the form that asks for a key, or begin a session with the key given."""
    target = _target(dict(parse_qsl(scope["query_string"].decode("latin-1"))).get("next", ""))
    if scope["method"] != "POST":
        return _sign_in_page(target, "")
    require_same_origin(scope)
    form = await read_form(scope, receive)
    target = _target(form.get("next", ""))
    service: Service = scope["state"]["service"]
    caller = await service.keys.find(form.get("key", "").strip())
    if caller is None:
        talk = scope["head"].conversation
        service.log.note(
            "denied",
            {"code": Unauthenticated.code},
            f"POST {SIGN_IN}",
            path=SIGN_IN,
            method="POST",
            correlation_id=talk.correlation_id,
        )
        return _sign_in_page(
            target, "This key is not valid. Check that it is whole, and neither revoked nor expired."
        )
    token = await service.query(lambda connection: begin_session(connection, caller))
    return _redirect(target, _cookie(scope, token, SESSION_SECONDS))


def _sign_in_page(target: str, error: str) -> Answer:
    page = rendered("sign_in.html", {"next": target, "error": error})
    return Answer(403 if error else 200, page, {}, HTML)


async def _sign_out(scope: Scope, receive: Receive, session: Session) -> Answer:
    if scope["method"] != "POST":
        return _redirect(HOME)
    require_own(await read_form(scope, receive), session.token)
    service: Service = scope["state"]["service"]
    await service.query(lambda connection: end_session(connection, session.token))
    service.keys.forget()
    return _redirect(SIGN_IN, _cookie(scope, "", 0))


def _to_sign_in(scope: Scope) -> Answer:
    """Lead to the form that asks for a key, and back from there. A script is told that the session has ended."""
    if b"console-state" in scope["head"].headers:
        return Answer(401)
    query = scope["query_string"].decode("latin-1")
    here = quote(scope["path"], safe="/:@") + (f"?{query}" if query else "")
    return _redirect(f"{SIGN_IN}?{urlencode({'next': here})}" if scope["method"] != "POST" else SIGN_IN)


def _target(wanted: str) -> str:
    """Return where to go after signing in: the page wanted, if it is one of the console."""
    is_own = wanted == HOME or wanted.startswith((f"{HOME}/", f"{HOME}?"))
    return wanted if is_own and wanted.isprintable() and not wanted.startswith(SIGN_IN) else HOME


def _cookie(scope: Scope, token: str, seconds: int) -> str:
    forwarded = scope["head"].headers.get(b"x-forwarded-proto", b"").partition(b",")[0].strip()
    secure = "; Secure" if scope.get("scheme") == "https" or forwarded == b"https" else ""
    return f"{COOKIE}={token}; Path={HOME}; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}"


def _redirect(address: str, cookie: str | None = None) -> Answer:
    headers = {"Location": quote(address, safe="/:@!$&'()*+,;=~?%")}
    return Answer(303, b"", {**headers, "Set-Cookie": cookie} if cookie is not None else headers)


# Pages


async def _show(scope: Scope, session: Session) -> Answer:
    path = scope["path"]
    for page in PAGES:
        if found := page.match(path):
            scope["route"] = Route(page.path)
            view = _view(scope, session, found.groupdict())
            return await _fresh(scope, session, view, page)
    if (found_action := action_at(path)) is not None:
        declared, names = found_action
        scope["route"] = Route(declared.address)
        return await _ask_before(scope, _view(scope, session, names), session, declared)
    raise PathNotFound


def _view(scope: Scope, session: Session, names: Mapping[str, str]) -> View:
    query = dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
    inside = Inside(scope, session.token)
    return View(inside, session.caller, scope["state"]["service"], scope["path"], names, query)


async def _fresh(scope: Scope, session: Session, view: View, page: Page) -> Answer:
    """Return a page as it is now."""
    state = _state(view.service)
    made = await page.handler(view)
    if isinstance(made, Sent):
        return _redirect(made.address)
    if isinstance(made, Raw):
        return _raw(made)
    values = {**made.values, "shown": made, "did": _done(view.query, session), "is_live": page.is_live}
    return _page(scope, view, session, made.template or page.template, values, made.status, state)


def _raw(made: Raw) -> Answer:
    kept = f'attachment; filename="{made.file_name}"'
    headers = {"Content-Disposition": kept} if made.file_name else {}
    return Answer(made.status, made.body, headers, made.media_type)


async def _has_something_new(scope: Scope, session: Session) -> bool:
    """Wait until there may be something that the browser does not show yet.

    Tell whether the session is still valid: its end is noticed at once.
    """
    shown = scope["head"].headers.get(b"console-state", b"").decode("latin-1")
    return not shown or await _has_moved(scope["state"]["service"], session, shown)


async def _has_moved(service: Service, session: Session, shown: str) -> bool:
    until = monotonic() + REDRAW_SECONDS
    while await service.keys.find_session(session.token) is not None:
        if _state(service) != shown or monotonic() > until:
            return True
        await asyncio.sleep(LOOK_EVERY_SECONDS)
    return False


def _state(service: Service) -> str:
    """Return a name for how far everything is: the journal, and each projection with its state."""
    seen = [
        (name, progress.version, progress.position, progress.state, progress.dead_letters)
        for name, progress in sorted(service.waiter.seen.items())
    ]
    return f"{service.position()}-{zlib.crc32(repr(seen).encode()):08x}"


def _page(
    scope: Scope,
    view: View,
    session: Session,
    template: str,
    values: Mapping[str, Any],
    status: int = 200,
    state: str = "",
) -> Answer:
    shared = {
        "view": view,
        "caller": view.caller,
        "csrf": csrf_of(session.token),
        "navigation": navigation(view),
        "state": state,
        "correlation_id": scope["head"].conversation.correlation_id,
        "now": instant,
    }
    return Answer(
        status, rendered(template, {**shared, **values}), {"Console-State": state} if state else {}, HTML
    )


def _done(query: Mapping[str, str], session: Session) -> dict[str, str] | None:
    """Return what the browser has done, if the address says so and this session wrote it there."""
    did, how, correlation_id = (query.get(name, "") for name in ("did", "how", "as"))
    declared = ACTIONS.get(did)
    if declared is None or query.get("seal") != seal_of(session.token, did, how, correlation_id):
        return None
    return {"how": how, "label": declared.label, "correlation_id": correlation_id}


# Actions


async def _ask_before(
    scope: Scope,
    view: View,
    session: Session,
    declared: Action,
    form: Mapping[str, str] | None = None,
    refused: Reply | None = None,
) -> Answer:
    """Show the page of an action: what will happen, and its form. `refused` is the answer to the form when sent."""
    names = {"ledger": view.names.get("ledger")}
    fields = {field.name: view.query.get(field.name, field.given) for field in declared.fields}
    given = {"key": new_key(), **fields, **(form or {})}
    if refused is not None and refused.status == 409:
        given["key"] = new_key()  # the answer under the former key is final
    why_not = view.why_not(declared.method, declared.route, names["ledger"])
    trial, about = None, await subject_of(view, declared)
    if declared.takes_dry_run and refused is None and why_not is None and is_filled(declared, given):
        trial = await carry_out(view, declared, given, is_dry_run=True)
    would_be = trial.content if trial and not trial.is_refusal else None
    values = {
        "shown": Shown(declared.question, declared.consequence),
        "action": declared,
        "given": given,
        "takes_dry_run": declared.takes_dry_run,
        "subject": about,
        "facts": facts_of(declared, about),
        "why_not": why_not,
        "problem": refused.content if refused else None,
        "would_refuse": trial.content if trial and trial.is_refusal else None,
        "foretold": declared.foretell(would_be) if would_be and declared.foretell else "",
        "would_record": await with_assets(view.api, view.ledger, would_be["entries"])
        if would_be and not declared.foretell
        else None,
        "back": declared.result_of(**view.names),
        "is_live": False,
        "did": None,
    }
    return _page(scope, view, session, "action.html", values, refused.status if refused else 200)


async def _act(scope: Scope, receive: Receive, session: Session) -> Answer:
    """Send the request of a form, and lead to the page that shows what became of it."""
    require_same_origin(scope)
    found = action_at(scope["path"])
    if found is None:
        raise PathNotFound
    declared, names = found
    scope["route"] = Route(declared.address)
    form = await read_form(scope, receive)
    require_own(form, session.token)
    view = _view(scope, session, names)
    if TRY in form:
        return await _ask_before(scope, view, session, declared, form)
    reply = await carry_out(view, declared, form)
    if reply.is_refusal:
        return await _ask_before(scope, view, session, declared, form, reply)
    names = {**names, "key": form.get("key", "")}
    made = reply.content if reply.body and reply.headers.get("content-type", "").endswith("json") else {}
    if declared.shows_answer:
        return _page(
            scope,
            view,
            session,
            "answered.html",
            {
                "shown": Shown(declared.label, declared.consequence),
                "action": declared,
                "answer": made,
                "back": declared.result_of(**names),
                "is_live": False,
                "did": None,
            },
        )
    ids = {name: value for name, value in made.items() if isinstance(value, str)}
    correlation_id = reply.headers.get("correlation-id", "")
    how = "Accepted" if reply.status == HTTPStatus.ACCEPTED else "Done"
    seal = seal_of(session.token, declared.name, how, correlation_id)
    query = {"did": declared.name, "how": how, "as": correlation_id, "seal": seal}
    return _redirect(
        f"{declared.result_of(**{**names, **({'made': ids['id']} if 'id' in ids else {})})}?{urlencode(query)}"
    )


# Refusals


def _refusal(
    scope: Scope, problem: Mapping[str, Any], headers: Mapping[str, str] = MappingProxyType({})
) -> Answer:
    """Show a refusal of the API as a page, with the same status. Without a session only the words are shown."""
    status = problem["status"]
    if status == HTTPStatus.UNAUTHORIZED:
        return _to_sign_in(scope)
    values = {"problem": problem, "status": status}
    retry = {"Retry-After": "1"} if status == HTTPStatus.SERVICE_UNAVAILABLE else {}
    return Answer(status, rendered("refusal.html", values), {**retry, **headers}, HTML)
