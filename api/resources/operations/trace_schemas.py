"""Traces: the whole story of an operation or a conversation, as it is asked for and shown."""

from typing import Annotated, Any

from pydantic import Field
from typing_extensions import TypedDict

from api.http.correlation import MAX_CORRELATION_ID_LENGTH
from api.http.fields import Query
from api.resources.transactions.operation_schemas import OperationBody
from domain.model.times import Instant
from projections.diagnosis.remedies import Remedy
from projections.diagnosis.trace.story import ProjectionStanding, Reached
from projections.diagnosis.trace.timeline import Moment, MomentKind
from projections.diagnosis.trace.verdict import ConcernCode, Verdict, VerdictCode


class ConversationQuery(Query):
    """Which conversation."""

    correlation_id: Annotated[str, Field(pattern=rf"^[!-~]{{0,{MAX_CORRELATION_ID_LENGTH}}}$")] = Field(
        "", description="without it, that of this request itself: its `Correlation-Id`"
    )


class ConcernBody(TypedDict):
    """What hinders others from seeing what happened, or may surprise."""

    code: ConcernCode
    remedy: Remedy
    words: str
    safe_to_do: str


class VerdictBody(TypedDict):
    """What happened, what is safe to do now, and why. `code` and `remedy` are stable; words are for people."""

    code: VerdictCode
    remedy: Remedy
    what_happened: str
    safe_to_do: str
    why: str
    concerns: list[ConcernBody]


class TracedOperationBody(OperationBody):
    """A keyed request, and the verdict on it alone."""

    verdict: VerdictBody


class MomentBody(TypedDict):
    """A moment. `time` is null where it is not known or has not come; `subject` is what it happened to."""

    time: Instant | None
    position: int | None
    kind: MomentKind
    subject: str
    actor: str | None
    words: str


class StandingBody(TypedDict):
    """How far a projection is with what is traced; `held` is behind a dead letter."""

    name: str
    version: int
    state: str
    position: int
    reached: Reached


class TraceBody(TypedDict):
    """A trace, all of one instant. Replays are best-effort: they are written a moment after they were answered.

    It is complete up to `position`; where there is more than is shown, the verdict has the concern `story_cut`.
    """

    ledger: str
    idempotency_key: str | None
    correlation_id: str
    operations: list[TracedOperationBody]
    timeline: list[MomentBody]
    projections: list[StandingBody]
    verdict: VerdictBody
    position: int
    head: int


def moment_body(moment: Moment) -> dict[str, Any]:
    """Return a moment as it is shown."""
    return moment._asdict()


def standing_body(standing: ProjectionStanding) -> StandingBody:
    """Return how far a projection is, as it is shown."""
    name, version, position, _, state, *_ = standing.progress
    return {
        "name": name,
        "version": version,
        "state": state,
        "position": position,
        "reached": standing.reached,
    }


def verdict_body(verdict: Verdict) -> dict[str, Any]:
    """Return a verdict as it is shown."""
    return {**verdict._asdict(), "concerns": [concern._asdict() for concern in verdict.concerns]}
