"""Signing in with a key, the cookie of a session, and signing out."""

from typing import NamedTuple
from urllib.parse import parse_qsl, quote, urlencode

from starlette.types import Receive, Scope

from api.console.forms import cookie_of, read_form, require_own, require_same_origin
from api.console.rendering import rendered
from api.http.responses import HTML, Answer
from api.problems import Unauthenticated
from api.security.keys import Key
from api.security.sessions import SESSION_SECONDS, begin_session, end_session
from api.service.service import Service

HOME = "/console"
SIGN_IN = "/console/sign-in"
SIGN_OUT = "/console/sign-out"
COOKIE = "tallystick_session"


class Session(NamedTuple):
    """A browser that is signed in: the token of its session, and the key that it acts with."""

    token: str
    caller: Key


def has_cookie(scope: Scope) -> bool:
    """Tell whether a request names a session, valid or not."""
    return bool(cookie_of(scope["head"].headers, COOKIE))


async def session_of(scope: Scope) -> Session | None:
    """Return the session of a request, None if its cookie names none that is valid; raise `JournalUnavailable`."""
    token = cookie_of(scope["head"].headers, COOKIE)
    service: Service = scope["state"]["service"]
    caller = await service.keys.find_session(token) if token else None
    if caller is None:
        return None
    scope["caller"] = caller
    return Session(token, caller)


async def sign_in(scope: Scope, receive: Receive) -> Answer:
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
    return redirect(target, _cookie(scope, token, SESSION_SECONDS))


def _sign_in_page(target: str, error: str) -> Answer:
    page = rendered("sign_in.html", {"next": target, "error": error})
    return Answer(403 if error else 200, page, {}, HTML)


async def sign_out(scope: Scope, receive: Receive, session: Session) -> Answer:
    """End a session, and take its cookie back. Reading the address changes nothing."""
    if scope["method"] != "POST":
        return redirect(HOME)
    require_own(await read_form(scope, receive), session.token)
    service: Service = scope["state"]["service"]
    await service.query(lambda connection: end_session(connection, session.token))
    service.keys.forget()
    return redirect(SIGN_IN, _cookie(scope, "", 0))


def to_sign_in(scope: Scope) -> Answer:
    """Lead to the form that asks for a key, and back from there. A script is told that the session has ended."""
    if b"console-state" in scope["head"].headers:
        return Answer(401)
    query = scope["query_string"].decode("latin-1")
    here = quote(scope["path"], safe="/:@") + (f"?{query}" if query else "")
    return redirect(f"{SIGN_IN}?{urlencode({'next': here})}" if scope["method"] != "POST" else SIGN_IN)


def _target(wanted: str) -> str:
    """Return where to go after signing in: the page wanted, if it is one of the console."""
    is_own = wanted == HOME or wanted.startswith((f"{HOME}/", f"{HOME}?"))
    return wanted if is_own and wanted.isprintable() and not wanted.startswith(SIGN_IN) else HOME


def _cookie(scope: Scope, token: str, seconds: int) -> str:
    forwarded = scope["head"].headers.get(b"x-forwarded-proto", b"").partition(b",")[0].strip()
    secure = "; Secure" if scope.get("scheme") == "https" or forwarded == b"https" else ""
    return f"{COOKIE}={token}; Path={HOME}; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}"


def redirect(address: str, cookie: str | None = None) -> Answer:
    """Return an answer that leads to another address of the console, and may set a cookie."""
    headers = {"Location": quote(address, safe="/:@!$&'()*+,;=~?%")}
    return Answer(303, b"", {**headers, "Set-Cookie": cookie} if cookie is not None else headers)
