"""The catalogue of what can be stuck: each kind with why it is, and what is safe to do. Kinds never change."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

from domain.model.times import Instant, moment
from projections.diagnosis.remedies import Remedy

StuckKind = Literal[
    "session_blocking",
    "request_waiting",
    "hold_lapsed",
    "payout_accepted",
    "payout_submitted",
    "payout_in_doubt",
    "payout_contradictory",
    "delivery_waiting",
    "delivery_failed",
    "webhook_disabled",
    "stream_held",
    "projection_halted",
    "projection_paused",
    "projection_behind",
    "projection_failing",
    "projection_hanging",
    "projection_rebuilding",
]


class Kind(NamedTuple):
    """What all that is stuck in one way has in common."""

    remedy: Remedy
    why: str


CATALOGUE: Mapping[StuckKind, Kind] = {
    "session_blocking": Kind(
        "end_session",
        "A session of the database holds a lock that the service needs, and does not let go of it.",
    ),
    "request_waiting": Kind("start_worker", "It was accepted, and no worker has carried it out."),
    "hold_lapsed": Kind("start_worker", "Its time is over, and no worker has released it."),
    "payout_accepted": Kind(
        "start_worker", "Its provider was never called: nobody pays, or the provider is not configured."
    ),
    "payout_submitted": Kind("ask_provider", "Its provider has taken it, and has not said how it ended."),
    "payout_in_doubt": Kind("ask_provider", "Its provider has not said whether the money left."),
    "payout_contradictory": Kind("resolve_payout", "Its provider contradicts what was recorded."),
    "delivery_waiting": Kind("wait", "Its receiver does not acknowledge, or no publisher runs."),
    "delivery_failed": Kind("retry_delivery", "All attempts failed, and what is behind it waits."),
    "webhook_disabled": Kind("enable_webhook", "It is disabled, and what is owed to it waits."),
    "stream_held": Kind("decide_dead_letter", "A projection could not apply an event of it."),
    "projection_halted": Kind("mend_projection", "It met what it cannot pass."),
    "projection_paused": Kind("resume_projection", "Somebody has paused it."),
    "projection_behind": Kind("start_projector", "Nobody advances it, or it does not catch up."),
    "projection_failing": Kind("mend_projection", "Whoever advances it fails, and tries again."),
    "projection_hanging": Kind("restart_projector", "Whoever has its place does nothing."),
    "projection_rebuilding": Kind("wait", "It is made anew, and cannot be read before that is done."),
}


class Thresholds(NamedTuple):
    """How old each state may be, in seconds. What somebody must decide is stuck at once."""

    request_seconds: int = 30
    hold_seconds: int = 30
    payout_seconds: int = 300
    delivery_seconds: int = 300
    projection_seconds: int = 60
    session_seconds: int = 5


class Stuck(NamedTuple):
    """Something that is stuck: since when, where it is found (a path), its position if it has one, and details.

    `ledger` is None for what spans ledgers.
    """

    kind: StuckKind
    since: Instant
    ledger: str | None
    resource: str
    position: int | None
    detail: str = ""

    @property
    def remedy(self) -> Remedy:
        """What is safe to do about it."""
        return CATALOGUE[self.kind].remedy

    @property
    def why(self) -> str:
        """Why it is stuck, in words."""
        why = CATALOGUE[self.kind].why
        return f"{why} {self.detail}" if self.detail else why

    @property
    def place(self) -> tuple[Instant, str, str]:
        """Its place in the order of age."""
        return self.since, self.kind, self.resource

    def age_seconds(self, now: Instant) -> float:
        """Return for how long it has been so, not less than 0."""
        return max(0.0, (moment(now) - moment(self.since)).total_seconds())


class Total(NamedTuple):
    """How much of a kind there is, and how old the oldest is; 0 and 0.0 where there is none."""

    kind: StuckKind
    number: int
    oldest_age_seconds: float


def totals(found: Iterable[Stuck], now: Instant) -> list[Total]:
    """Return the total of each kind."""
    counts: Counter[StuckKind] = Counter()
    ages: dict[StuckKind, float] = {}
    for stuck in found:
        counts[stuck.kind] += 1
        ages[stuck.kind] = max(ages.get(stuck.kind, 0.0), stuck.age_seconds(now))
    return [Total(kind, counts[kind], ages.get(kind, 0.0)) for kind in CATALOGUE]
