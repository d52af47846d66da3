"""Keys to the API: requests and answers."""

from typing import Annotated, Literal, Self, cast

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError, ValidationError
from typing_extensions import TypeAliasType, TypedDict

from api.http.fields import ListQuery, Request, in_parts
from api.http.models.formats import Id, Instant
from api.security import keys
from api.security.keys import (
    MAX_OVERLAP_SECONDS,
    NEEDS_LEDGERS,
    ROLE_MEANINGS,
    ROLES,
    Key,
    Wanted,
)
from domain.model.installation.keys import MAX_NAME_LENGTH, flaw_of_name
from domain.model.streams import LEDGER_PATTERN
from projections.diagnosis.glossary import meanings

GrantedLedger = Annotated[str, Field(pattern=rf"^(?:\*|{LEDGER_PATTERN[1:-1]})$")]
LedgerToCome = Annotated[str, Field(pattern=LEDGER_PATTERN)]

_ROLES = "; ".join(f"`{role}` {meaning}" for role, meaning in ROLE_MEANINGS.items())

Role = TypeAliasType("Role", Annotated[keys.Role, Field(description=_ROLES)])
KeyState = TypeAliasType("KeyState", Annotated[keys.KeyState, Field(description=meanings("key"))])


def _require_flawless(name: str) -> str:
    if flaw := flaw_of_name(name):
        raise PydanticCustomError("name", "{flaw}", {"flaw": flaw})
    return name


class KeyRequest(Request):
    """A key to make. It is granted `ledgers`, which must exist, and `ledgers_to_come`, which need not exist yet."""

    name: Annotated[
        str,
        Field(
            min_length=1,
            max_length=MAX_NAME_LENGTH,
            description="Recorded as the actor of everything done with the key. Printable, unique among valid keys,"
            " and not `tallystick`, `bootstrap`, `service`, `provider:…` or `bridge:…`, which the service uses"
            " for itself.",
        ),
        AfterValidator(_require_flawless),
    ]
    roles: Annotated[
        list[Role],
        Field(min_length=1, max_length=len(ROLES), description="What the key may do."),
        in_parts(len(ROLES), part=len(ROLES)),
    ]
    ledgers: Annotated[
        list[GrantedLedger],
        Field(
            max_length=1000,
            description='`["*"]` is every ledger. An `auditor` or `operator` may have none, and then sees only what'
            " concerns no ledger.",
        ),
        in_parts(1000, part=100),
    ] = Field(default_factory=list)
    ledgers_to_come: Annotated[
        list[LedgerToCome],
        Field(max_length=1000, description="Granted too. These ledgers need not exist yet."),
        in_parts(1000, part=100),
    ] = Field(default_factory=list)

    @model_validator(mode="after")
    def _names_a_ledger_if_needed(self) -> Self:
        if not self.granted and (idle := sorted(NEEDS_LEDGERS.intersection(self.roles))):
            flaw = f"must name a ledger: {' and '.join(idle)} can do nothing without one"
            error = PydanticCustomError("ledgers", "{flaw}", {"flaw": flaw})
            raise ValidationError.from_exception_data(
                type(self).__name__, [InitErrorDetails(type=error, loc=("ledgers",), input=self.ledgers)]
            )
        return self

    @property
    def granted(self) -> list[str]:
        """All ledgers that the key is to be granted."""
        return [*self.ledgers, *self.ledgers_to_come]

    @property
    def wanted(self) -> Wanted:
        """The request in the form that `add_key` takes."""
        return Wanted(self.name, self.roles, self.ledgers, self.ledgers_to_come)


class KeyRotation(Request):
    """A key to replace. The old key stays valid for the overlap."""

    overlap_seconds: Annotated[
        int, Field(ge=0, le=MAX_OVERLAP_SECONDS, description="how long the old key stays valid; default: 0")
    ] = 0


class KeysQuery(ListQuery):
    """The filter of the list of keys. An empty state is no filter."""

    state: KeyState | Literal[""] = ""


class KeyBody(TypedDict):
    """A key in any state, without the key itself.

    `valid_until` is null if the key has no end. `created_by` is null for keys from before this was recorded.
    `revoked_at` and `revoked_by` are null unless the key was revoked.
    """

    id: Id
    name: str
    roles: list[Role]
    ledgers: list[str]
    created_at: Instant
    valid_until: Instant | None
    created_by: str | None
    revoked_at: Instant | None
    revoked_by: str | None
    state: KeyState


class NewKeyBody(TypedDict):
    """A key just made. `key` is shown only now."""

    id: Id
    name: str
    roles: list[Role]
    ledgers: list[str]
    key: str


def key_body(key: Key) -> KeyBody:
    """Return the body for a key."""
    return {
        "id": str(key.id),
        "name": key.name,
        "roles": cast("list[Role]", [*key.roles]),
        "ledgers": list(key.ledgers),
        "created_at": key.created_at,
        "valid_until": key.valid_until,
        "created_by": key.created_by,
        "revoked_at": key.revoked_at,
        "revoked_by": key.revoked_by,
        "state": key.state,
    }


def new_key_body(made: Key, key: str) -> NewKeyBody:
    """Return the body for a key just made, with the key itself."""
    return {
        "id": str(made.id),
        "name": made.name,
        "roles": cast("list[Role]", [*made.roles]),
        "ledgers": list(made.ledgers),
        "key": key,
    }
