"""What became of a keyed request, as it is shown."""

from typing import Literal

from typing_extensions import TypedDict

from api.http.fields import Problem
from domain.model.times import Instant

State = Literal["accepted", "in_progress", "completed", "rejected", "reconciling"]


class OperationBody(TypedDict):
    """A keyed request. `problem` is the first answer's when a rule refused it, else null.

    `outcome` says of a payout that has ended whether its money left: `completed`, or `failed` if it is the account's
    again. It is null for everything else. A payout that failed is `completed` as a request: nothing more will come.
    """

    idempotency_key: str
    state: State
    retry: Literal["unnecessary"]
    resource: str
    request_fingerprint: str
    accepted_at: Instant
    completed_at: Instant | None
    correlation_id: str
    position: int
    outcome: Literal["completed", "failed"] | None
    problem: Problem | None
