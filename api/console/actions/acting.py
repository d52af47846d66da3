"""The pages of actions, and the requests that their forms send."""

from collections.abc import Mapping
from http import HTTPStatus
from urllib.parse import urlencode

from starlette.types import Receive, Scope

from api.console.actions.action import Action, action_at, carry_out, is_filled, new_key
from api.console.actions.subjects import facts_of, subject_of
from api.console.assets import with_assets
from api.console.formats import with_query
from api.console.forms import read_form, require_own, require_same_origin, seal_of
from api.console.inside import Reply
from api.console.showing import Route, page_answer, view_of
from api.console.signing_in import Session, redirect
from api.console.view import Shown, View
from api.http.responses import Answer
from api.problems import PathNotFound
from api.service.body_room import RoomShare

TRY = "try"
"""The button of an action's form that sends nothing, and says again what would happen."""


async def ask(scope: Scope, session: Session) -> Answer:
    """Show the page of the action at an address: what will happen, and its form. Raises `PathNotFound`."""
    found = action_at(scope["path"])
    if found is None:
        raise PathNotFound
    declared, names = found
    scope["route"] = Route(declared.address)
    return await _form_page(scope, view_of(scope, session, names), session, declared)


async def _form_page(
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
        "back": with_query(declared.result_of(**view.names), _on(view)),
        "form_address": with_query(view.address, _on(view)),
        "is_live": False,
        "did": None,
    }
    return page_answer(scope, view, session, "action.html", values, refused.status if refused else 200)


async def act(scope: Scope, receive: Receive, session: Session) -> Answer:
    """Send the request of a form, and lead to the page that shows what became of it."""
    require_same_origin(scope)
    found = action_at(scope["path"])
    if found is None:
        raise PathNotFound
    declared, names = found
    scope["route"] = Route(declared.address)
    view = view_of(scope, session, names)
    room = RoomShare(view.service.room, session.caller.id)
    try:
        form = await read_form(scope, receive, room.grow)
        require_own(form, session.token)
        return await _acted(scope, view, session, declared, form)
    finally:
        room.leave()


async def _acted(
    scope: Scope, view: View, session: Session, declared: Action, form: Mapping[str, str]
) -> Answer:
    if TRY in form:
        return await _form_page(scope, view, session, declared, form)
    reply = await carry_out(view, declared, form)
    if reply.is_refusal:
        return await _form_page(scope, view, session, declared, form, reply)
    names = {**view.names, "key": form.get("key", "")}
    made = reply.content if reply.body and reply.headers.get("content-type", "").endswith("json") else {}
    if declared.shows_answer:
        return page_answer(
            scope,
            view,
            session,
            "answered.html",
            {
                "shown": Shown(declared.label, declared.consequence),
                "action": declared,
                "answer": made,
                "back": with_query(declared.result_of(**names), _on(view)),
                "is_live": False,
                "did": None,
            },
        )
    ids = {name: value for name, value in made.items() if isinstance(value, str)}
    correlation_id = reply.headers.get("correlation-id", "")
    how = "Accepted" if reply.status == HTTPStatus.ACCEPTED else "Done"
    seal = seal_of(session.token, declared.name, how, correlation_id)
    query = {"did": declared.name, "how": how, "as": correlation_id, "seal": seal, **_on(view)}
    return redirect(
        f"{declared.result_of(**{**names, **({'made': ids['id']} if 'id' in ids else {})})}?{urlencode(query)}"
    )


def _on(view: View) -> dict[str, str]:
    """Return the parameter that names the installation, where the address has it."""
    return {"installation": view.installation} if view.installation else {}
