"""The body for an operation: what became of a keyed request. Its `state` says which of three forms it has."""

from typing import Annotated, Literal

from pydantic import Discriminator, Field
from typing_extensions import TypeAliasType, TypedDict

from api.http.models.formats import Instant, Path
from api.http.models.named_members import Problem
from projections.diagnosis.glossary import meanings

State = Literal["accepted", "in_progress", "completed", "rejected", "reconciling"]

_MEANINGS = Field(description=meanings("operation"))

PayoutOutcome = TypeAliasType("PayoutOutcome", Literal["completed", "failed"])


class _Request(TypedDict):
    """What every operation says of its request."""

    idempotency_key: str
    retry: Literal["unnecessary"]
    resource: Path
    request_fingerprint: str
    accepted_at: Instant
    correlation_id: str
    position: int


class UndecidedOperationBody(_Request):
    """A keyed request whose end is not known yet. The service goes on by itself."""

    state: Annotated[Literal["accepted", "in_progress", "reconciling"], _MEANINGS]
    completed_at: None
    outcome: None
    problem: None


class CompletedOperationBody(_Request):
    """A keyed request to which nothing more will come.

    `outcome` says whether the money of an ended payout left: `completed`, or `failed` if the account has it again. It
    is null for everything else.
    """

    state: Annotated[Literal["completed"], _MEANINGS]
    completed_at: Instant
    outcome: PayoutOutcome | None
    problem: None


class RejectedOperationBody(_Request):
    """A keyed request that a rule refused. `problem` is the first answer."""

    state: Annotated[Literal["rejected"], _MEANINGS]
    completed_at: Instant
    outcome: None
    problem: Problem


OperationBody = TypeAliasType(
    "OperationBody",
    Annotated[
        UndecidedOperationBody | CompletedOperationBody | RejectedOperationBody, Discriminator("state")
    ],
)
