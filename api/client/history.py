"""What happened: operations, events, and the story of a request."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

OperationState = Literal["accepted", "in_progress", "completed", "rejected", "reconciling"]


@dataclass(frozen=True, slots=True)
class Operation:
    """What became of a keyed request. `problem` is the refusal if a rule refused it."""

    idempotency_key: str
    state: OperationState
    retry: str
    resource: str
    request_fingerprint: str
    accepted_at: datetime
    completed_at: datetime | None
    correlation_id: str
    position: int
    outcome: Literal["completed", "failed"] | None
    problem: dict[str, Any] | None

    @property
    def is_decided(self) -> bool:
        """Whether the request was carried out or refused."""
        return self.state in ("completed", "rejected")


@dataclass(frozen=True, slots=True)
class Event:
    """An event of the journal. Members that cannot be read are None."""

    position: int
    stream: str
    version: int
    type: str
    schema_version: int | None
    recorded_at: datetime | None
    actor: str | None
    correlation_id: str | None
    causation_id: str | None
    idempotency_key: str | None
    payload: Any
    leaf_hash: str
    ledger: str | None
    traceparent: str | None


@dataclass(frozen=True, slots=True)
class Concern:
    """Something beside the verdict that may surprise, and the thing that its remedy is for."""

    code: str
    remedy: str
    words: str
    safe_to_do: str
    resource: str | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What happened, what is safe to do now, and why."""

    code: str
    remedy: str
    what_happened: str
    safe_to_do: str
    why: str
    concerns: tuple[Concern, ...]


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment of a story. `subject` is what it happened to."""

    time: datetime | None
    position: int | None
    kind: str
    subject: str
    actor: str | None
    words: str


@dataclass(frozen=True, slots=True)
class Trace:
    """The whole story of a request or of a correlation id. `installation` told it; None without a placement."""

    ledger: str
    idempotency_key: str | None
    correlation_id: str
    operations: tuple[Operation, ...]
    timeline: tuple[Moment, ...]
    verdict: Verdict
    position: int
    head: int
    installation: str | None = None
