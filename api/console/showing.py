"""Pages as they are now, and those that stay up to date.

A live page is fetched again by its script, with a header `Console-State` that names how far everything was when the
page was made. That request is answered as soon as the journal or a projection has moved on, or after a few seconds. So
a page waits as a reader does who names a `min_position`, but for any of the positions that it may show.
"""

import asyncio
import zlib
from collections.abc import Mapping
from time import monotonic
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from starlette.types import Scope

import api.console.pages.all  # noqa: F401  (lists the pages and their actions)
from api.console.actions.action import ACTIONS
from api.console.forms import csrf_of, seal_of
from api.console.inside import Inside
from api.console.navigation import navigation
from api.console.rendering import rendered
from api.console.signing_in import Session, redirect
from api.console.view import PAGES, Page, Raw, Sent, View
from api.http.responses import HTML, Answer
from api.service.service import Service
from domain.model.times import instant

LOOK_EVERY_SECONDS = 0.2
REDRAW_SECONDS = 3.0
"""After this long a page is made again even if no position moved, because deliveries and ages have no position."""


class Route(NamedTuple):
    """The route of a console's request, as metrics name it."""

    path: str


async def show(scope: Scope, session: Session) -> Answer | None:
    """Return the page at an address, None if there is none."""
    path = scope["path"]
    for page in PAGES:
        if found := page.match(path):
            scope["route"] = Route(page.path)
            view = view_of(scope, session, found.groupdict())
            return await _fresh(scope, session, view, page)
    return None


def view_of(scope: Scope, session: Session, names: Mapping[str, str]) -> View:
    """Return what a handler gets of a request."""
    query = dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
    inside = Inside(scope, session.token)
    state = scope["state"]
    return View(inside, session.caller, state["service"], scope["path"], names, query, state["installations"])


async def _fresh(scope: Scope, session: Session, view: View, page: Page) -> Answer:
    """Return a page as it is now."""
    state = _state(view.service)
    made = await page.handler(view)
    if isinstance(made, Sent):
        return redirect(made.address)
    if isinstance(made, Raw):
        return _raw(made)
    values = {**made.values, "shown": made, "did": _done(view.query, session), "is_live": page.is_live}
    return page_answer(scope, view, session, made.template or page.template, values, made.status, state)


def _raw(made: Raw) -> Answer:
    kept = f'attachment; filename="{made.file_name}"'
    headers = {"Content-Disposition": kept} if made.file_name else {}
    return Answer(made.status, made.body, headers, made.media_type)


async def has_something_new(scope: Scope, session: Session) -> bool:
    """Wait until there may be something that the browser does not show yet.

    Tell whether the session is still valid: its end is noticed at once.
    """
    shown = scope["head"].headers.get(b"console-state", b"").decode("latin-1")
    if not shown:
        return True
    began = monotonic()
    is_valid = await _has_moved(scope["state"]["service"], session, shown)
    scope["waited_seconds"] = monotonic() - began
    return is_valid


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


def page_answer(
    scope: Scope,
    view: View,
    session: Session,
    template: str,
    values: Mapping[str, Any],
    status: int = 200,
    state: str = "",
) -> Answer:
    """Return a page of a signed-in browser: the template with its values, and what all pages share."""
    shared = {
        "view": view,
        "caller": view.caller,
        "csrf": csrf_of(session.token),
        "navigation": navigation(view),
        "log": view.log,
        "unanswered": (),
        "state": state,
        "correlation_id": scope["head"].conversation.correlation_id,
        "now": instant,
        "is_copy": view.service.replica is not None,
        "copied_position": None if view.installations else view.service.position(),
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
