"""What a route says of itself: who may call, what it takes and gives, how consistent it is.

From this one declaration a request is judged (`endpoint.py`) and the OpenAPI document is made (`openapi.py`).
"""

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, NamedTuple, Protocol

from psycopg import Connection
from pydantic import BaseModel

from api.http.body import MAX_BODY_BYTES, MAX_BODY_VALUES
from api.http.consistency import Consistency
from api.http.fields import Query
from api.security.keys import Role
from domain.model.errors import LedgerError

CLIENT: frozenset[Role] = frozenset({"client"})
POSTER: frozenset[Role] = frozenset({"client", "poster"})
READER: frozenset[Role] = frozenset({"client", "poster", "auditor"})
OPERATOR: frozenset[Role] = frozenset({"operator"})
OVERSEER: frozenset[Role] = frozenset({"operator", "auditor"})
ANYBODY: frozenset[Role] = frozenset()


class Concerns(Enum):
    """Whose ledgers a route concerns; the value is what is asked of a key beside its roles, in words."""

    LEDGER = "was granted the ledger in the path"
    THING = "was granted every ledger that what the path names concerns"
    GRANTED = "is shown, and can decide, what concerns no other ledger than those that it was granted"
    EVERY = "was granted every ledger"
    NONE = "need not be granted any ledger"

    @property
    def described(self) -> dict[str, str]:
        """What is asked of a key, as the document shows it."""
        return {"class": self.name.lower(), "the_key": self.value}


class LedgersOf(Protocol):
    """Returns the ledgers that a thing concerns, given the names in the path; None if there is no such thing."""

    def __call__(self, connection: Connection[Any], names: Mapping[str, str]) -> Sequence[str] | None:
        """Return the names of the ledgers."""


class NoQuery(Query):
    """No parameters."""


class Returns(NamedTuple):
    """An answer that is no problem. `headers` are those of its own; what all answers carry is not repeated."""

    status: int
    meaning: str
    model: Any = None
    example: Any = None
    headers: tuple[str, ...] = ()
    media_type: str = "application/json"


class Declaration(NamedTuple):
    """A route.

    `roles` are those that may call, of which a caller needs one; none at all is a route for anybody, but for one that
    `is_signed`: who calls it is known by the signature of the body. `concerns` says whose ledgers are asked for, of a
    thing those that `ledgers_of` finds; it is judged with the roles, before anything else of the request. What
    `may_be_public` is for anybody where the settings say so. Where `is_body_optional`, no body is as good as `{}`.
    `max_body_bytes` is how large its body may be, and `max_body_values` how many values of JSON it may hold;
    body.py says why so many. `is_deferrable` is what `Prefer: respond-async` can be asked of. `place` is the type
    of what cursors of a list hold.
    `problems` are the refusals of its own, beside those that follow from the rest.
    """

    method: str
    path: str
    operation_id: str
    tag: str
    summary: str
    consistency: Consistency
    roles: frozenset[Role]
    returns: tuple[Returns, ...]
    query: type[BaseModel] = NoQuery
    body: type[BaseModel] | None = None
    body_example: Any = None
    is_body_optional: bool = False
    max_body_bytes: int = MAX_BODY_BYTES
    max_body_values: int = MAX_BODY_VALUES
    is_keyed: bool = False
    is_deferrable: bool = False
    may_be_public: bool = False
    if_match: bool = False
    concerns: Concerns = Concerns.LEDGER
    ledgers_of: LedgersOf | None = None
    is_signed: bool = False
    place: Any = None
    problems: tuple[type[LedgerError], ...] = ()

    @property
    def is_public(self) -> bool:
        """Whether anybody may call, without a key."""
        return not self.roles and not self.is_signed

    @property
    def names_ledger(self) -> bool:
        """Whether the path names a ledger."""
        return "{ledger}" in self.path

    @property
    def writes(self) -> bool:
        """Whether it goes through the writer."""
        return self.method != "GET" and self.consistency is Consistency.LINEARIZABLE

    @property
    def projected(self) -> bool:
        """Whether it can read a projection."""
        return self.consistency in (Consistency.PROJECTION, Consistency.CHOSEN)

    @property
    def may_lag(self) -> bool:
        """Whether what it shows may be behind the head."""
        return self.projected or self.consistency is Consistency.JOURNAL
