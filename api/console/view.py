"""What the handler of a page gets, and what it returns. `@page` lists the pages."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

from starlette.routing import compile_path

from api.console.inside import Inside, Reply
from api.console.permission import why_not
from api.security.keys import Key
from api.service.installations import Installations
from api.service.service import Service


class View(NamedTuple):
    """A request of a browser for a page: who asks, for what, and the API as it may be called.

    `names` are the names in the path, `query` the parameters behind it. `placed` are the installations of the process.
    """

    api: Inside
    caller: Key
    service: Service
    path: str
    names: Mapping[str, str]
    query: Mapping[str, str]
    placed: Installations

    @property
    def ledger(self) -> str:
        """The ledger in the path."""
        return self.names["ledger"]

    @property
    def address(self) -> str:
        """The path of the page as it stands in an address. A name in it may contain what an address gives a meaning."""
        return quote(self.path, safe="/:@")

    @property
    def resource(self) -> str:
        """The path of the page's thing in the API, below `/v1`."""
        return self.path.removeprefix("/console")

    @property
    def installation(self) -> str | None:
        """The installation of a placement that the address names, None if it names none."""
        return self.query.get("installation") or None

    @property
    def installations(self) -> Sequence[str]:
        """The names of the installations of a placement; empty without a placement."""
        return self.placed.names if self.placed.is_placement else ()

    @property
    def log(self) -> str | None:
        """The installation whose signed log is meant: the one in the address, else home. None without a placement."""
        return self.installation or next(iter(self.installations), None)

    @property
    def sees_all(self) -> bool:
        """Whether the caller was granted every ledger. Any other sees only part of what concerns several."""
        return self.caller.granted is None

    def asked(self, *names: str) -> dict[str, str | None]:
        """Return parameters of the address, None for those that are missing or empty."""
        return {name: self.query.get(name) or None for name in names}

    def why_not(self, method: str, route: str, ledger: str | None = None) -> str | None:
        """Return why the caller may not use a route of the API, None if it may. `route` is as in the document."""
        replica = self.service.replica
        if method != "GET" and replica is not None and not replica.forwards:
            return "This server only reads a copy of the ledger. Act on the primary."
        return why_not(self.caller, method, route, self.names.get("ledger") if ledger is None else ledger)


class Shown(NamedTuple):
    """A page as its template shows it: one sentence on how things are, and values.

    `position` is the position of the journal that the page reflects, None if it reflects several or none.
    """

    title: str
    sentence: str
    values: Mapping[str, Any] = {}
    position: int | None = None
    status: int = 200
    template: str = ""


class Sent(NamedTuple):
    """An answer that leads to another address, with status 303."""

    address: str


class Raw(NamedTuple):
    """An answer that is no page: text or JSON for a page's script, or for a file that somebody keeps.

    `file_name` is the name under which browsers save it, empty if they show it.
    """

    status: int
    body: bytes
    media_type: str
    file_name: str = ""

    @classmethod
    def of(cls, reply: Reply, file_name: str = "") -> "Raw":
        """Return what the API answered, as it is."""
        return cls(reply.status, reply.body, reply.headers.get("content-type", ""), file_name)


Handler = Callable[[View], Awaitable[Shown | Sent | Raw]]


class Page(NamedTuple):
    """A page: its address, its handler, and its template. `path` is the address with the names of its parts.

    A page that `is_live` shows what is new by itself.
    """

    path: str
    match: Callable[[str], Any]
    handler: Handler
    template: str
    is_live: bool


PAGES: list[Page] = []
"""All pages, in the order in which their addresses are compared."""


def page(path: str, *, template: str = "", is_live: bool = True) -> Callable[[Handler], Handler]:
    """List the decorated function as the handler of a page. The template is named after its module, unless given."""

    def listed(handler: Handler) -> Handler:
        name = template or f"{handler.__module__.rpartition('.')[2]}.html"
        PAGES.append(Page(path, compile_path(path)[0].fullmatch, handler, name, is_live))
        return handler

    return listed
