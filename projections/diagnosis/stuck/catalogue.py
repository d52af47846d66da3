"""The kinds of stuck things, each with its reason and its remedy. A kind never changes its meaning."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

from domain.model.times import Instant, moment
from projections.diagnosis.remedies import Remedy, not_named, resource_on

StuckKind = Literal[
    "session_blocking",
    "move_unfinished",
    "move_not_arrived",
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
    """What all stuck things of one kind share: how the kind is called, the remedy, and why they are stuck."""

    called: str
    remedy: Remedy
    why: str


CATALOGUE: Mapping[StuckKind, Kind] = {
    "session_blocking": Kind(
        "A database session blocks the service",
        "end_session",
        "A database session holds a lock that the service needs, and does not release it.",
    ),
    "move_unfinished": Kind(
        "The move of a ledger was cut off",
        "finish_or_cancel_move",
        "Writes to the ledger were stopped for the end of its move, and are still refused.",
    ),
    "move_not_arrived": Kind(
        "A ledger has left and not arrived",
        "finish_move",
        "The move of the ledger was cut off between its two places, so everything that is asked of it is refused.",
    ),
    "request_waiting": Kind(
        "An accepted request waits",
        "start_worker",
        "The request was accepted, and no worker has carried it out.",
    ),
    "hold_lapsed": Kind(
        "A hold is past its end", "start_worker", "The hold has expired, and no worker has released it."
    ),
    "payout_accepted": Kind(
        "A payout was never submitted",
        "start_worker",
        "The provider was never called: no payer runs, or the provider is not configured.",
    ),
    "payout_submitted": Kind(
        "A payout has no outcome yet",
        "ask_provider",
        "The provider took the payout, and has not said how it ended.",
    ),
    "payout_in_doubt": Kind(
        "A payout is in doubt", "ask_provider", "The provider has not said whether the money left."
    ),
    "payout_contradictory": Kind(
        "A payout is contradicted by its provider",
        "resolve_payout",
        "The provider contradicts what was recorded.",
    ),
    "delivery_waiting": Kind(
        "Deliveries are not acknowledged", "wait", "The receiver does not acknowledge, or no publisher runs."
    ),
    "delivery_failed": Kind(
        "A delivery was given up",
        "retry_delivery",
        "All attempts failed, and later deliveries of the same stream wait.",
    ),
    "webhook_disabled": Kind(
        "A webhook is disabled", "enable_webhook", "The webhook is disabled, and its deliveries wait."
    ),
    "stream_held": Kind(
        "A stream is held behind a dead letter",
        "decide_dead_letter",
        "A projection could not apply an event of the stream.",
    ),
    "projection_halted": Kind(
        "A projection has halted", "mend_projection", "The projection met an event that it cannot pass."
    ),
    "projection_paused": Kind(
        "A projection is paused", "resume_projection", "An operator paused the projection."
    ),
    "projection_behind": Kind(
        "A projection is behind", "start_projector", "No process advances it, or it cannot keep up."
    ),
    "projection_failing": Kind(
        "A projection fails, and tries again",
        "mend_projection",
        "The process that advances it fails, and tries again.",
    ),
    "projection_hanging": Kind(
        "A projection hangs", "restart_projector", "The process that holds its place does nothing."
    ),
    "projection_rebuilding": Kind(
        "A projection is being rebuilt",
        "wait",
        "It is being rebuilt, and cannot be read before that is done.",
    ),
}


class Thresholds(NamedTuple):
    """How old each state may be, in seconds. A state that needs an operator's decision counts as stuck at once."""

    request_seconds: int = 30
    hold_seconds: int = 30
    payout_seconds: int = 300
    delivery_seconds: int = 300
    projection_seconds: int = 60
    session_seconds: int = 5
    move_seconds: int = 30


class Stuck(NamedTuple):
    """A stuck thing: its kind, since when, its ledger, its path (`resource`), its position if any, and details.

    `ledger` is None for a thing that spans ledgers. `installation` is the one of a placement that has the thing.
    `receiver` is the ledger that a bridge leads to, and `unnamed` its installation if the placement does not name it.
    `bound_for` is where a ledger moves to.
    """

    kind: StuckKind
    since: Instant
    ledger: str | None
    resource: str
    position: int | None
    detail: str = ""
    installation: str | None = None
    receiver: str | None = None
    unnamed: str | None = None
    bound_for: str | None = None

    @property
    def remedy(self) -> Remedy:
        """The code of the remedy. Nobody can be asked in an installation that is not named."""
        return CATALOGUE[self.kind].remedy if self.unnamed is None else "name_installation"

    @property
    def why(self) -> str:
        """Why it is stuck, in words, followed by the details."""
        why = CATALOGUE[self.kind].why if self.unnamed is None else not_named(self.unnamed)
        return f"{why} {self.detail}" if self.detail else why

    def on(self, installation: str) -> "Stuck":
        """Return the same as a thing of one installation of a placement."""
        return self._replace(installation=installation, resource=resource_on(self.resource, installation))

    def leading_to(self, unnamed: Mapping[str, str]) -> "Stuck":
        """Return the same, given the ledgers that are in installations which the placement does not name.

        What its provider contradicts is for a person to decide all the same.
        """
        name = unnamed.get(self.receiver or "")
        return self if name is None or self.kind == "payout_contradictory" else self._replace(unnamed=name)

    @property
    def place(self) -> tuple[Instant, str, str]:
        """The key that sorts stuck things by age, oldest first."""
        return self.since, self.kind, self.resource

    def age_seconds(self, now: Instant) -> float:
        """Return for how many seconds it has been stuck, at least 0."""
        return max(0.0, (moment(now) - moment(self.since)).total_seconds())


class Total(NamedTuple):
    """How many things of a kind are stuck, and the age of the oldest in seconds. 0 and 0.0 if none are."""

    kind: StuckKind
    number: int
    oldest_age_seconds: float


def totals(found: Iterable[Stuck], now: Instant) -> list[Total]:
    """Return the total of every kind, in the order of the catalogue."""
    counts: Counter[StuckKind] = Counter()
    ages: dict[StuckKind, float] = {}
    for stuck in found:
        counts[stuck.kind] += 1
        ages[stuck.kind] = max(ages.get(stuck.kind, 0.0), stuck.age_seconds(now))
    return [Total(kind, counts[kind], ages.get(kind, 0.0)) for kind in CATALOGUE]
