"""Dead letters: requests, decisions and answers."""

from typing import Annotated, Any, Literal, NotRequired

from pydantic import AfterValidator, Field, WithJsonSchema
from typing_extensions import TypeAliasType, TypedDict

from api.http.fields import DryRun, InstallationName, InstallationQuery, ListQuery, Query
from api.http.models.formats import Id, Instant
from api.http.words import one_of
from projections.diagnosis.glossary import meanings
from projections.engine.dead_letters import DeadLetter, LetterState
from projections.registry import PROJECTIONS

NAMES = ["", *sorted(PROJECTIONS)]
ProjectionName = TypeAliasType(
    "ProjectionName", Annotated[str, WithJsonSchema({"type": "string", "enum": sorted(PROJECTIONS)})]
)
DeadLetterState = TypeAliasType(
    "DeadLetterState", Annotated[LetterState, Field(description=meanings("dead_letter"))]
)


def _is_name(name: str) -> str:
    if name not in NAMES:
        raise ValueError(one_of(NAMES))
    return name


class DeadLettersQuery(ListQuery, InstallationQuery):
    """The filters of the list of dead letters. An empty filter is no filter."""

    projection: Annotated[ProjectionName | Literal[""], AfterValidator(_is_name)] = ""
    state: DeadLetterState | Literal[""] = ""


class RetryQuery(Query):
    """How to carry out a retry."""

    dry_run: DryRun = False


class DeadLetterClosingBody(TypedDict):
    """How a dead letter was closed. `by` is null if its version of the projection was replaced.

    `followed_by` is the dead letter of a later event of the stream that failed when the held events were replayed.
    """

    at: Instant
    by: str | None
    reason: str | None
    correlation_id: str | None
    followed_by: Id | None


class DeadLetterBody(TypedDict):
    """An event that a version of a projection could not apply, and why.

    `shape` and `release` belong to the code that failed last. `schema_version`, `correlation_id` and `actor` belong to
    the event; they are null if it does not have them. `held_events` counts the events that wait behind it in its
    stream.
    """

    id: Id
    projection: str
    projection_version: int
    shape: int
    state: DeadLetterState
    stream: str
    stream_version: int
    position: int
    type: str
    schema_version: int | None
    correlation_id: str | None
    actor: str | None
    exception: str
    message: str
    release: str
    attempts: int
    first_failed_at: Instant
    last_failed_at: Instant
    held_events: int
    closed: DeadLetterClosingBody | None
    installation: NotRequired[InstallationName]


_RENAMED = {"topic": "type", "event_version": "schema_version", "closing": "closed"}


def dead_letter_body(letter: DeadLetter) -> dict[str, Any]:
    """Return the body for a dead letter."""
    body = {_RENAMED.get(name, name): value for name, value in letter._asdict().items()}
    return {**body, "closed": letter.closing and letter.closing._asdict()}
