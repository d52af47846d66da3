"""Actions: forms that send one request to the API, after saying what will happen.

An action has a page of its own, at the address of its route with `/console` in place of `/v1`. Reading the page changes
nothing: it says what will happen, and asks for what the route takes. Sending the form makes the request, under an
idempotency key that the form already carries, so that a form sent twice acts once.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote
from uuid import uuid4

from starlette.routing import compile_path

from api.console.actions.fields import Field
from api.console.formats import with_query
from api.console.inside import Reply
from api.console.permission import endpoint_of
from api.console.view import View

DRY_RUN = {"dry_run": "true"}


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
        return with_query(filled(self.address, names), given or {})

    def result_of(self, **names: Any) -> str:
        """Return the address of the page that shows what became of it. Names that are not known yet are left out."""
        address = f"/console{self.leads_to}" if self.leads_to else self.address.rpartition("/")[0]
        return filled(address, names).partition("/{")[0]

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
    """Return the body of the request for a filled form; raise `MalformedRequest`."""
    body: dict[str, Any] = {}
    for field in declared.fields:
        body |= field.members(form)
    return body


def is_filled(declared: Action, form: Mapping[str, str]) -> bool:
    """Return whether a form has everything that it requires. One that does not cannot be tried out."""
    return all(field.members(form) for field in declared.fields if field.is_required)


async def carry_out(
    view: View, declared: Action, form: Mapping[str, str], *, is_dry_run: bool = False
) -> Reply:
    """Send the request of a filled form to the API; return the answer. A dry run records nothing."""
    route = endpoint_of(declared.method, declared.route).declared
    body = body_of(declared, form) if route.body else None
    headers = {"idempotency-key": form.get("key", "")} if route.is_keyed else {}
    path = filled(declared.route.removeprefix("/v1"), view.names, escape=False)
    query = {**(DRY_RUN if is_dry_run else {}), **named_installation(view, declared.method, declared.route)}
    return await view.api.call(declared.method, path, query=query, body=body, headers=headers)


def named_installation(view: View, method: str, route: str) -> Mapping[str, str]:
    """Return the parameter that names the installation of the address, where a route takes one."""
    takes_one = view.installation and endpoint_of(method, route).declared.takes_installation
    return {"installation": view.installation} if view.installation and takes_one else {}


def filled(path: str, names: Mapping[str, Any], *, escape: bool = True) -> str:
    """Return a path with the names of its parts filled in, as it stands in an address unless told otherwise."""
    for name, value in names.items():
        path = path.replace(f"{{{name}}}", quote(str(value), safe=":@") if escape else str(value))
    return path
