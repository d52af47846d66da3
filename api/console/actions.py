"""Actions: forms that send one request to the API, after saying what will happen.

An action has a page of its own, at the address of its route with `/console` in place of `/v1`. Reading the page changes
nothing: it says what will happen, and asks for what the route takes. Sending the form makes the request, under an
idempotency key that the form already carries, so that a form sent twice acts once.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple
from urllib.parse import quote
from uuid import uuid4

from starlette.routing import compile_path

from api.console.formats import with_query
from api.console.inside import Reply
from api.console.permission import endpoint_of
from api.console.view import View
from api.problems import MalformedRequest

DRY_RUN = {"dry_run": "true"}
NO_LIMIT = "none"
"""How a form says that there is no limit."""


class Field(NamedTuple):
    """A field of a form, and the member of the request's body that it becomes.

    `kind` says how it is shown and read. A `whole` number becomes a JSON number, and so does a `limit`, which may be
    negative or `none`. A `list` becomes a JSON array, of words or of the `choices` that are ticked, and `json` is
    written as JSON. A field left empty is left out. `given` is its value at first. A `fixed` field is not shown. A
    `body` is the whole body as JSON, and is not shown either. `meanings` say what choices mean.
    """

    name: str
    label: str
    kind: Literal["text", "whole", "limit", "list", "json", "choice", "confirm", "fixed", "body"] = "text"
    is_required: bool = False
    hint: str = ""
    choices: tuple[str, ...] = ()
    given: str = ""
    meanings: Mapping[Any, str] = {}

    def text_in(self, form: Mapping[str, str]) -> str:
        """Return what a filled form says of the field: its text, or the choices that are ticked."""
        if self.kind == "fixed":
            return self.given
        if self.kind == "list" and self.choices:
            return " ".join(choice for choice in self.choices if f"{self.name}.{choice}" in form)
        return form.get(self.name, "").strip()


REASON = Field("reason", "Reason", is_required=True, hint="Kept for ever, with your key's name.")
"""The reason that routes demand."""

ANY_REASON = REASON._replace(is_required=False)


class Action(NamedTuple):
    """An action. `name` is its stable name, `label` what its button says, `question` the heading of its page.

    `consequence` says what will happen. `route` is the API's, such as `/v1/dead-letters/{id}/retry`. `path` is the
    action's address below `/console`, by default as the route. `leads_to` is the address below `/console` of the page
    that shows the result; by default the thing's page, without the action's last segment. `is_grave` marks what moves
    money or discards anything: its button is set apart. One that `shows_answer` shows the API's answer, which cannot be
    read again, such as a new key's secret. `foretell` says in words what the answer to a dry run means.
    """

    name: str
    label: str
    question: str
    consequence: str
    route: str
    method: str = "POST"
    path: str = ""
    fields: tuple[Field, ...] = ()
    leads_to: str = ""
    is_grave: bool = False
    shows_answer: bool = False
    foretell: Callable[[Any], str] | None = None

    @property
    def address(self) -> str:
        """The path of its page, with the names of its parts."""
        return f"/console{self.path or self.route.removeprefix('/v1')}"

    def page_of(self, given: Mapping[str, Any] | None = None, **names: Any) -> str:
        """Return the address of its page for one thing. `given` are values that its form has at first."""
        return with_query(_filled(self.address, names), given or {})

    def result_of(self, **names: Any) -> str:
        """Return the address of the page that shows what became of it. Names that are not known yet are left out."""
        address = f"/console{self.leads_to}" if self.leads_to else self.address.rpartition("/")[0]
        return _filled(address, names).partition("/{")[0]

    @property
    def takes_dry_run(self) -> bool:
        """Whether the API can say what would happen without recording it."""
        return "dry_run" in endpoint_of(self.method, self.route).declared.query.model_fields


ACTIONS: dict[str, Action] = {}
"""All actions, by name."""

_MATCHES: list[tuple[Callable[[str], Any], Action]] = []


def action(declared: Action) -> Action:
    """List an action, and return it."""
    ACTIONS[declared.name] = declared
    _MATCHES.append((compile_path(declared.address)[0].fullmatch, declared))
    return declared


def action_at(path: str) -> tuple[Action, dict[str, str]] | None:
    """Return the action whose page has this path, and the names in the path."""
    for match, declared in _MATCHES:
        if found := match(path):
            return declared, found.groupdict()
    return None


def new_key() -> str:
    """Return a new idempotency key, which says where it came from."""
    return f"console-{uuid4()}"


def body_of(declared: Action, form: Mapping[str, str]) -> dict[str, Any]:
    """Return the body of the request for a filled form."""
    body: dict[str, Any] = {}
    for field in declared.fields:
        if field.kind == "body":
            return _whole_body(form.get(field.name, ""))
        if given := field.text_in(form):
            body[field.name] = _value_of(field, given)
    return body


def _whole_body(text: str) -> dict[str, Any]:
    try:
        body = json.loads(text)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise MalformedRequest("The form cannot be read.")
    return body


def is_filled(declared: Action, form: Mapping[str, str]) -> bool:
    """Return whether a form has everything that it requires. One that does not cannot be tried out."""
    return all(field.text_in(form) for field in declared.fields if field.is_required)


def _value_of(field: Field, text: str) -> Any:
    """Return the JSON value of a field. What cannot be read stays text, and the API says what is wrong with it."""
    if field.kind == "limit" and text == NO_LIMIT:
        return None
    if field.kind in ("whole", "limit") and text.isascii() and text.removeprefix("-").isdecimal():
        return int(text)
    if field.kind == "list":
        return text.replace(",", " ").split()
    if field.kind == "json":
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text


async def carry_out(
    view: View, declared: Action, form: Mapping[str, str], *, is_dry_run: bool = False
) -> Reply:
    """Send the request of a filled form to the API; return the answer. A dry run records nothing."""
    route = endpoint_of(declared.method, declared.route).declared
    body = body_of(declared, form) if route.body else None
    headers = {"idempotency-key": form.get("key", "")} if route.is_keyed else {}
    path = _filled(declared.route.removeprefix("/v1"), view.names, escape=False)
    query = DRY_RUN if is_dry_run else None
    return await view.api.call(declared.method, path, query=query, body=body, headers=headers)


def _filled(path: str, names: Mapping[str, Any], *, escape: bool = True) -> str:
    for name, value in names.items():
        path = path.replace(f"{{{name}}}", quote(str(value), safe=":@") if escape else str(value))
    return path
