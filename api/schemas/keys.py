"""Keys to the API, as they are asked for and shown."""

from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from api.schemas.common import ListQuery, Request, in_parts
from api.security import MAX_OVERLAP_SECONDS, Key, Role
from domain.addresses import LEDGER_PATTERN
from domain.times import Instant

GrantedLedger = Annotated[str, Field(pattern=rf"^(?:\*|{LEDGER_PATTERN[1:-1]})$")]


class KeyRequest(Request):
    """A key to make. `["*"]` grants every ledger; a ledger need not exist yet to be granted."""

    name: Annotated[str, Field(min_length=1, max_length=255)]
    roles: Annotated[list[Role], Field(min_length=1, max_length=3), in_parts(3, part=3)]
    ledgers: Annotated[list[GrantedLedger], Field(max_length=1000), in_parts(1000, part=100)] = Field(
        default_factory=list
    )


class Rotation(Request):
    """A key to replace by a new one, the old one being valid for the overlap."""

    overlap_seconds: Annotated[int, Field(ge=0, le=MAX_OVERLAP_SECONDS)] = 0


class KeysQuery(ListQuery):
    """The list of valid keys, by when they were made."""


class KeyBody(TypedDict):
    """A key, without the key itself; `valid_until` is null if it has no end."""

    id: str
    name: str
    roles: list[str]
    ledgers: list[str]
    created_at: Instant
    valid_until: Instant | None


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
        "valid_until": key.valid_until,
    }


def new_key_body(made: Key, key: str) -> NewKeyBody:
    """Return a key just made as it is shown this once."""
    return {
        "id": str(made.id),
        "name": made.name,
        "roles": list(made.roles),
        "ledgers": list(made.ledgers),
        "key": key,
    }
