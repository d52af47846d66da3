"""Traces, the whole story of an operation or a correlation id: requests and answers."""

from typing import Annotated, Any, NotRequired, cast

from pydantic import Discriminator, Field
from typing_extensions import TypeAliasType, TypedDict

from api.http.fields import InstallationName, Query, ReflectedBody
from api.http.models.choices import ProjectionState, Remedy
from api.http.models.formats import Instant, Path
from api.http.words import VISIBLE_PATTERN
from api.resources.transactions.operation_schemas import (
    CompletedOperationBody,
    RejectedOperationBody,
    UndecidedOperationBody,
)
from projections.diagnosis.trace import story, timeline, verdict
from projections.diagnosis.trace.story import ProjectionStanding
from projections.diagnosis.trace.timeline import Moment
from projections.diagnosis.trace.verdict import Verdict

Reached = TypeAliasType("Reached", story.Reached)
MomentKind = TypeAliasType("MomentKind", timeline.MomentKind)
ConcernCode = TypeAliasType("ConcernCode", verdict.ConcernCode)
VerdictCode = TypeAliasType("VerdictCode", verdict.VerdictCode)


class ConversationQuery(Query):
    """The correlation id to trace."""

    correlation_id: str = Field(
        min_length=1,
        pattern=VISIBLE_PATTERN,
        description="the correlation id to trace: the `Correlation-Id` of an answer",
        examples=["checkout-17"],
    )


class ConcernBody(TypedDict):
    """Something that keeps others from seeing what happened, or that may surprise.

    `resource` is the path of the thing that the remedy is for, null if there is no single one.
    """

    code: ConcernCode
    remedy: Remedy
    words: str
    safe_to_do: str
    resource: Path | None


class VerdictBody(TypedDict):
    """What happened, what is safe to do now, and why. `code` and `remedy` are stable; the texts are for people."""

    code: VerdictCode
    remedy: Remedy
    what_happened: str
    safe_to_do: str
    why: str
    concerns: list[ConcernBody]


class TracedUndecidedOperationBody(UndecidedOperationBody):
    """A keyed request whose end is not known yet, and the verdict on it alone."""

    verdict: VerdictBody


class TracedCompletedOperationBody(CompletedOperationBody):
    """A keyed request to which nothing more will come, and the verdict on it alone."""

    verdict: VerdictBody


class TracedRejectedOperationBody(RejectedOperationBody):
    """A keyed request that a rule refused, and the verdict on it alone."""

    verdict: VerdictBody


TracedOperationBody = TypeAliasType(
    "TracedOperationBody",
    Annotated[
        TracedUndecidedOperationBody | TracedCompletedOperationBody | TracedRejectedOperationBody,
        Discriminator("state"),
    ],
)


class MomentBody(TypedDict):
    """A moment. `time` is null if it is not known or has not come; `subject` is what it happened to."""

    time: Instant | None
    position: int | None
    kind: MomentKind
    subject: str
    actor: str | None
    words: str


class ProjectionStandingBody(TypedDict):
    """How far a projection is with the traced events. `held` means that a dead letter holds back a stream of theirs."""

    name: str
    version: int
    state: ProjectionState
    position: int
    reached: Reached


class LedgerTraceBody(TypedDict):
    """What a ledger has of a trace, read at one instant, without the timeline. It is complete up to `position`."""

    ledger: str
    idempotency_key: str | None
    correlation_id: str
    operations: list[TracedOperationBody]
    projections: list[ProjectionStandingBody]
    verdict: VerdictBody
    position: int
    head: int
    installation: NotRequired[InstallationName]


class TraceBody(LedgerTraceBody):
    """A trace, read at one instant.

    It is complete up to `position`. If more exists than is shown, the verdict has the concern `story_cut`. Replays are
    best effort: each is written a moment after it was answered.
    """

    timeline: list[MomentBody]


class ConversationMomentBody(MomentBody):
    """A moment in one of the ledgers of a conversation. `position` is one of its installation's journal."""

    ledger: str
    installation: NotRequired[InstallationName]


class ConversationBody(TypedDict):
    """The whole story of a correlation id in all ledgers: one timeline, and what each ledger has beside it.

    Each ledger is read at an instant of its own. Moments are in the order of their times, by the clocks of their
    databases. Only a placement has `unanswered`, the installations that could not answer, whose part is missing; and
    `reflected`, by installation, in place of the headers with positions.
    """

    correlation_id: str
    traces: list[LedgerTraceBody]
    timeline: list[ConversationMomentBody]
    unanswered: NotRequired[list[InstallationName]]
    reflected: NotRequired[dict[str, ReflectedBody]]


def moment_body(moment: Moment) -> dict[str, Any]:
    """Return the body for a moment."""
    return moment._asdict()


def standing_body(standing: ProjectionStanding) -> ProjectionStandingBody:
    """Return the body for a projection's progress."""
    name, version, position, _, state, *_ = standing.progress
    return {
        "name": name,
        "version": version,
        "state": cast(ProjectionState, state),
        "position": position,
        "reached": standing.reached,
    }


def verdict_body(verdict: Verdict, installation: str | None = None) -> dict[str, Any]:
    """Return the body for a verdict, with the words for a thing of an installation of a placement if it is given."""
    if installation is not None:
        verdict = verdict.on(installation)
    return {**verdict._asdict(), "concerns": [concern._asdict() for concern in verdict.concerns]}
