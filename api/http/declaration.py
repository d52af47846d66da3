"""What a route declares: who may call it, what it takes and returns, how consistent it is.

Requests are judged by this declaration (`endpoint.py`), and the OpenAPI document is made from it (`openapi.py`).
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from enum import Enum
from functools import cached_property
from types import NoneType
from typing import Any, NamedTuple, Protocol, get_args, get_type_hints

from psycopg import Connection
from pydantic import BaseModel

from api.http.body import MAX_BODY_BYTES, MAX_BODY_VALUES, Usual
from api.http.consistency import Consistency
from api.http.fields import Query
from api.http.spanning.spans import Spans
from api.security.keys import Role
from domain.model.errors import LedgerError

CLIENT: frozenset[Role] = frozenset({"client"})
POSTER: frozenset[Role] = frozenset({"client", "poster"})
READER: frozenset[Role] = frozenset({"client", "poster", "auditor"})
OPERATOR: frozenset[Role] = frozenset({"operator"})
OVERSEER: frozenset[Role] = frozenset({"operator", "auditor"})
ANYBODY: frozenset[Role] = frozenset()

LEDGERS = "/v1/ledgers"


class Concerns(Enum):
    """Which ledgers a key must be granted to call a route. The value says so in words."""

    LEDGER = "must be granted the ledger in the path"
    THING = "must be granted every ledger that the resource in the path concerns"
    GRANTED = "sees and decides nothing that concerns a ledger that it is not granted"
    EVERY = "must be granted every ledger"
    NONE = "needs no ledger"

    @property
    def described(self) -> dict[str, str]:
        """The demand on a key, as the document shows it."""
        return {"class": self.name.lower(), "the_key": self.value}


class LedgersOf(Protocol):
    """Returns the ledgers of a resource, given the names in the path; None if there is no such resource."""

    def __call__(self, connection: Connection[Any], names: Mapping[str, str]) -> Sequence[str] | None:
        """Return the names of the ledgers."""


class NoQuery(Query):
    """Takes no query parameters."""


class Returns(NamedTuple):
    """A successful answer. `headers` are only its own; those of all answers are not repeated."""

    status: int
    meaning: str
    model: Any = None
    example: Any = None
    headers: tuple[str, ...] = ()
    media_type: str = "application/json"


def unchanged(thing: str) -> Returns:
    """Declare the answer to a client that has the current version of a thing. `Endpoint` gives it."""
    return Returns(304, f"The {thing} is unchanged: If-None-Match has its ETag.", headers=("ETag",))


@dataclass(frozen=True)
class Declaration:
    """A route. `@endpoint` takes everything but the handler, which stands below it.

    The handler names the operation and describes it. Its signature says which query parameters and body it takes.

    `roles`: a caller needs one of them. No roles means that anybody may call, unless the route `is_signed`: then the
    signature of the body tells who calls.

    `concerns`: which ledgers the key must be granted. For `Concerns.THING`, `ledgers_of` finds them. This is judged
    with the roles, before anything else about the request. A route that `may_be_public` is open to anybody if the
    settings say so.

    `is_body_optional`: no body means `{}`. `max_body_bytes` and `max_body_values` limit the body's size and its number
    of JSON values; body.py gives the reasons. `is_deferrable`: the route understands `Prefer: respond-async`.

    `spans`: which installations answer in a placement. A route whose path names no ledger must say so.

    `usual_body` reads bodies of the usual form, in a quarter of the time that their model takes. It makes of them what
    the model would, with the same attributes. The model judges all others.

    `place`: the type of the place in a list that cursors hold. `problems`: the route's own refusals; the others follow
    from the rest of the declaration.
    """

    handler: Callable[..., Any]
    method: str
    path: str
    _: KW_ONLY
    summary: str
    tag: str
    consistency: Consistency
    roles: frozenset[Role]
    returns: Sequence[Returns]
    problems: Sequence[type[LedgerError]] = ()
    concerns: Concerns = Concerns.LEDGER
    ledgers_of: LedgersOf | None = None
    spans: Spans = Spans.LEDGER
    body_example: Any = None
    is_body_optional: bool = False
    max_body_bytes: int = MAX_BODY_BYTES
    max_body_values: int = MAX_BODY_VALUES
    usual_body: Usual | None = None
    is_keyed: bool = False
    is_deferrable: bool = False
    is_signed: bool = False
    if_match: bool = False
    may_be_public: bool = False
    place: Any = None

    @property
    def operation_id(self) -> str:
        """The name of the operation: its handler's name."""
        return self.handler.__name__

    @property
    def description(self) -> str | None:
        """What the operation does: its handler's docstring."""
        return inspect.getdoc(self.handler)

    @cached_property
    def query(self) -> type[BaseModel]:
        """The model of the query parameters: the first type of the handler's `Call`."""
        return self._taken[0]

    @cached_property
    def body(self) -> type[BaseModel] | None:
        """The model of the body: the second type of the handler's `Call`. None if the route takes no body."""
        return self._taken[1]

    @cached_property
    def _taken(self) -> tuple[type[BaseModel], type[BaseModel] | None]:
        query, body = get_args(get_type_hints(self.handler)["call"])
        return query, None if body is NoneType else body

    @property
    def is_public(self) -> bool:
        """Whether anybody may call without a key."""
        return not self.roles and not self.is_signed

    @cached_property
    def may_be_unchanged(self) -> bool:
        """Whether a client that names the current ETag in If-None-Match is answered 304."""
        return any(returned.status == 304 for returned in self.returns)

    @property
    def names_ledger(self) -> bool:
        """Whether the path names a ledger."""
        return "{ledger}" in self.path

    @property
    def takes_installation(self) -> bool:
        """Whether the query may name an installation: to act on it, to read from it, or to list only what it has."""
        return self.spans in (Spans.NAMED, Spans.CHOSEN) or self.spans_list

    @property
    def names_installation(self) -> bool:
        """Whether one installation of a placement answers, which the answer names."""
        opens_ledger = self.spans is Spans.BODY and bool(self.roles)
        return opens_ledger or self.spans not in (Spans.ALL, Spans.BODY, Spans.PROCESS)

    @property
    def spans_list(self) -> bool:
        """Whether it lists what all installations have."""
        return self.spans is Spans.ALL and self.place is not None

    @cached_property
    def awaits_any(self) -> bool:
        """Whether it lists what all installations have, at a `min_position` that may be of any of them."""
        return self.spans_list and self.projected

    @cached_property
    def writes(self) -> bool:
        """Whether requests go through the writer."""
        return self.method != "GET" and self.consistency is Consistency.LINEARIZABLE

    @cached_property
    def needs_primary(self) -> bool | None:
        """Whether only the primary may answer: what writes, and what must see every write. None if the request says."""
        if self.consistency is Consistency.CHOSEN:
            return None
        return self.method != "GET" or self.consistency is Consistency.LINEARIZABLE

    @cached_property
    def states_position(self) -> bool:
        """Whether its answers say which position they reflect: those about ledgers, and all that is read with a key.

        What says how each installation stands has the head of each in its body.
        """
        says_how_each_stands = (
            self.spans is Spans.ALL and self.place is None and self.consistency is Consistency.PROCESS
        )
        is_read = self.method == "GET" and bool(self.roles) and not says_how_each_stands
        return is_read or self.path.startswith(LEDGERS)

    @property
    def states_head(self) -> bool:
        """Whether its answers say besides what the newest position is."""
        return self.states_position and (self.may_lag or not self.path.startswith(LEDGERS))

    @property
    def projected(self) -> bool:
        """Whether it can read a projection."""
        return self.consistency in (Consistency.PROJECTION, Consistency.CHOSEN)

    @property
    def may_lag(self) -> bool:
        """Whether its answer may be behind the head."""
        return self.projected or self.consistency is Consistency.JOURNAL
