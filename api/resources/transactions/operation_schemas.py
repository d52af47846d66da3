"""The body for an operation: what became of a keyed request."""

from typing import Annotated, Literal

from pydantic import Field
from typing_extensions import TypedDict

from api.http.fields import Problem
from domain.model.times import Instant
from projections.diagnosis.glossary import meanings

State = Literal["accepted", "in_progress", "completed", "rejected", "reconciling"]


class OperationBody(TypedDict):
    """A keyed request. `problem` is the first answer if a rule refused the request, else null.

    `outcome` says whether the money of an ended payout left: `completed`, or `failed` if the account has it again. It
    is null for everything else. The operation of a failed payout is `completed`: nothing more will come.
    """

    idempotency_key: str
    state: Annotated[State, Field(description=meanings("operation"))]
    retry: Literal["unnecessary"]
    resource: str
    request_fingerprint: str
    accepted_at: Instant
    completed_at: Instant | None
    correlation_id: str
    position: int
    outcome: Literal["completed", "failed"] | None
    problem: Problem | None
