"""Keys to the API, as they are asked for and shown."""

from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from api.schemas.common import ListQuery, Request
from api.security import Key, Role
from domain.addresses import LEDGER_PATTERN
from domain.times import Instant

GrantedLedger = Annotated[str, Field(pattern=rf"^(?:\*|{LEDGER_PATTERN[1:-1]})$")]


class KeyRequest(Request):
    """A key to make. `["*"]` grants every ledger; a ledger need not exist yet to be granted."""

    name: Annotated[str, Field(min_length=1, max_length=255)]
    roles: Annotated[list[Role], Field(min_length=1, max_length=3)]
    ledgers: Annotated[list[GrantedLedger], Field(max_length=1000)] = Field(default_factory=list)


class KeysQuery(ListQuery):
    """The list of valid keys, by when they were made."""


class KeyBody(TypedDict):
    """A key, without the key itself."""

    id: str
    name: str
    roles: list[str]
    ledgers: list[str]
    created_at: Instant


class NewKeyBody(TypedDict):
    """A key just made: the key itself is shown this once."""

    id: str
    name: str
    roles: list[str]
    ledgers: list[str]
    key: str


def key_body(key: Key) -> KeyBody:
    """Return a key as it is shown."""
    return {
        "id": str(key.id),
        "name": key.name,
        "roles": list(key.roles),
        "ledgers": list(key.ledgers),
        "created_at": key.created_at,
    }
