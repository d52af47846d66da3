"""What is stuck: requests and answers."""

from typing import Annotated, Literal, NotRequired

from pydantic import BeforeValidator, Field
from typing_extensions import TypeAliasType, TypedDict

from api.http.fields import InstallationName, InstallationQuery, ListQuery, ReflectedBody, whole_number
from api.http.models.choices import Remedy
from api.http.models.formats import Instant, Path
from projections.diagnosis.remedies import safe_to_do
from projections.diagnosis.stuck import catalogue
from projections.diagnosis.stuck.catalogue import Stuck, Thresholds, Total

StuckKind = TypeAliasType("StuckKind", catalogue.StuckKind)

_LONGEST_SECONDS = 10 * 366 * 24 * 60 * 60
_DEFAULTS = Thresholds()

Seconds = Annotated[int, Field(ge=0, le=_LONGEST_SECONDS), BeforeValidator(whole_number)]


class StuckQuery(ListQuery, InstallationQuery):
    """Which kind is listed, and from which age each kind counts as stuck, in seconds."""

    kind: StuckKind | Literal[""] = Field("", description="only this kind; the totals are of all kinds")
    request_seconds: Seconds = Field(
        _DEFAULTS.request_seconds, description="accepted requests that were not carried out"
    )
    hold_seconds: Seconds = Field(_DEFAULTS.hold_seconds, description="holds past their expires_at")
    payout_seconds: Seconds = Field(_DEFAULTS.payout_seconds, description="payouts that have not ended")
    delivery_seconds: Seconds = Field(
        _DEFAULTS.delivery_seconds, description="deliveries that were not acknowledged"
    )
    projection_seconds: Seconds = Field(
        _DEFAULTS.projection_seconds, description="projections, by the oldest event that they lack"
    )
    session_seconds: Seconds = Field(
        _DEFAULTS.session_seconds, description="database sessions that keep the service waiting"
    )
    move_seconds: Seconds = Field(
        _DEFAULTS.move_seconds, description="ledgers whose move to another installation was cut off"
    )

    @property
    def thresholds(self) -> Thresholds:
        """The ages as `find_stuck` takes them."""
        return Thresholds(*(getattr(self, name) for name in Thresholds._fields))


class StuckBody(TypedDict):
    """Something that is stuck. `kind` and `remedy` are stable codes; `why` and `safe_to_do` are for people."""

    kind: StuckKind
    since: Instant
    age_seconds: float
    ledger: str | None
    resource: Path
    position: int | None
    why: str
    remedy: Remedy
    safe_to_do: str
    installation: NotRequired[InstallationName]


class StuckTotalBody(TypedDict):
    """How many of a kind are stuck, and how old the oldest is."""

    kind: StuckKind
    count: int
    oldest_age_seconds: float


class StuckPage(TypedDict):
    """A page of what is stuck, oldest first, and the totals of each kind over all pages.

    At most the oldest thousand of each kind are found and counted.
    """

    data: list[StuckBody]
    next_cursor: str | None
    totals: list[StuckTotalBody]
    unanswered: NotRequired[list[InstallationName]]
    reflected: NotRequired[dict[str, ReflectedBody]]


def stuck_body(stuck: Stuck, now: Instant) -> StuckBody:
    """Return the body for something that is stuck."""
    body: StuckBody = {
        "kind": stuck.kind,
        "since": stuck.since,
        "age_seconds": stuck.age_seconds(now),
        "ledger": stuck.ledger,
        "resource": stuck.resource,
        "position": stuck.position,
        "why": stuck.why,
        "remedy": stuck.remedy,
        "safe_to_do": safe_to_do(stuck.remedy, stuck.resource, stuck.installation, stuck.bound_for),
    }
    if stuck.installation is not None:
        body["installation"] = stuck.installation
    return body


def total_body(total: Total) -> StuckTotalBody:
    """Return the body for a total."""
    return {"kind": total.kind, "count": total.number, "oldest_age_seconds": total.oldest_age_seconds}
