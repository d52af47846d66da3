"""The verdict on a story: what happened, what is safe to do, and why. Codes are stable; words are for people.

The verdict depends only on what the request has become. Anything that delays others from seeing it, or may surprise, is
a concern beside the verdict. A concern never makes unsafe what the verdict calls safe.
"""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Literal, NamedTuple

from domain.model.payouts.payout import Payout, PayoutState
from domain.model.times import Instant, later
from domain.model.transactions import Acceptance, Transaction
from projections.diagnosis.moves import Between, LedgerMove
from projections.diagnosis.remedies import Remedy, not_named, on_installation, resource_on, safe_to_do
from projections.diagnosis.trace.story import Made, ProjectionStanding, Story, is_bridge_under_way
from projections.outbox.deliveries import Delivery
from projections.registry import NATS

VerdictCode = Literal[
    "nothing_recorded",
    "recorded",
    "request_waiting",
    "posted",
    "partly_reversed",
    "reversed",
    "hold_released",
    "rejected",
    "hold_pending",
    "hold_lapsed",
    "hold_settled",
    "hold_voided",
    "hold_expired",
    "payout_accepted",
    "payout_submitted",
    "payout_in_doubt",
    "payout_contradictory",
    "payout_completed",
    "payout_failed",
    "all_done",
    "some_unfinished",
    "some_need_an_operator",
]
ConcernCode = Literal[
    "key_mismatched",
    "request_overdue",
    "payout_overdue",
    "dead_letter_open",
    "projection_halted",
    "projection_paused",
    "projection_behind",
    "delivery_failed",
    "delivery_waiting",
    "delivery_duplicated",
    "story_cut",
    "ledger_moving",
    "ledger_between",
]

REQUEST_OVERDUE_SECONDS = 30.0
PAYOUT_OVERDUE_SECONDS = 300.0
"""A request or payout that is unfinished after this long is a concern."""

MOVE_OVERDUE_SECONDS = 30.0
"""A move whose end takes longer was cut off."""


class Concern(NamedTuple):
    """Something that hinders or may surprise: what it is, and what is safe to do about it.

    `resource` is the path of the thing that the remedy is for, None if there is no single one.
    """

    code: ConcernCode
    remedy: Remedy
    words: str
    safe_to_do: str
    resource: str | None

    def on(self, installation: str) -> "Concern":
        """Return the same about a thing of one installation of a placement."""
        resource = self.resource and resource_on(self.resource, installation)
        return self._replace(safe_to_do=on_installation(self.safe_to_do, installation), resource=resource)


class Verdict(NamedTuple):
    """What happened, what is safe to do, and why."""

    code: VerdictCode
    remedy: Remedy
    what_happened: str
    safe_to_do: str
    why: str
    concerns: tuple[Concern, ...] = ()

    def on(self, installation: str) -> "Verdict":
        """Return the same about a request to one installation of a placement."""
        concerns = tuple(concern.on(installation) for concern in self.concerns)
        return self._replace(safe_to_do=on_installation(self.safe_to_do, installation), concerns=concerns)


class Finding(NamedTuple):
    """A verdict before its remedy is put into words."""

    code: VerdictCode
    remedy: Remedy
    what_happened: str
    why: str


_FINAL = "A recorded answer under a key never changes."
_ALL_NAMED: Mapping[str, str] = MappingProxyType({})

_OF_PAYOUT: dict[PayoutState, Finding] = {
    "accepted": Finding(
        "payout_accepted",
        "wait",
        "The amount is held. The provider has not been called yet.",
        "The ledger calls the provider by itself, always under the same key.",
    ),
    "submitted": Finding(
        "payout_submitted",
        "wait",
        "The amount is held, and the provider was called or is about to be. How it ends is not known yet.",
        "The ledger asks the provider by itself until it knows.",
    ),
    "in_doubt": Finding(
        "payout_in_doubt",
        "ask_provider",
        "The amount is held. The provider did not answer, or its answer did not say how the payout ended.",
        "A time-out is not a failure: the money may have left. The ledger asks under the same key until it knows.",
    ),
    "stuck": Finding(
        "payout_contradictory",
        "resolve_payout",
        "The provider's answer contradicts what was recorded. No money was moved because of it.",
        "Only somebody who can see the provider's own books can tell which is right.",
    ),
    "completed": Finding(
        "payout_completed", "nothing", "The money has left, and the hold is settled.", _FINAL
    ),
    "failed": Finding(
        "payout_failed",
        "pay_out_again",
        "The money did not leave, and the hold is void.",
        "The failure is recorded under this key, and the provider's key is used up with it.",
    ),
    "rejected": Finding(
        "rejected", "use_new_key", "A rule of the ledger refused the payout. No money moved.", _FINAL
    ),
}

_OF_HOLD: dict[str, Finding] = {
    "settled": Finding(
        "hold_settled", "nothing", "The hold was settled; any amount not posted was released.", _FINAL
    ),
    "voided": Finding("hold_voided", "hold_again", "The hold was voided. No money moved.", _FINAL),
    "expired": Finding(
        "hold_expired", "hold_again", "The hold expired, and was released. No money moved.", _FINAL
    ),
}
_LAPSED = Finding(
    "hold_lapsed",
    "hold_again",
    "The hold has expired, and is not released yet. No money moved.",
    "From its expires_at on a hold can be neither settled nor voided. The ledger releases it by itself.",
)
_PENDING = Finding(
    "hold_pending",
    "end_hold",
    "The amounts are held. No money moved yet.",
    "A hold ends once: settled, voided or expired, whichever comes first.",
)
_WAITING = Finding(
    "request_waiting",
    "wait",
    "The request is recorded, and not carried out yet.",
    "A worker carries it out exactly once, even after a crash. The ledger's rules are checked at that moment.",
)


def verdict(story: Story, now: Instant) -> Verdict:
    """Return the verdict on a story."""
    finding = _overall(story, now)
    resource = _resource(story.operations[0]) if len(story.operations) == 1 else ""
    return _verdict(finding, resource, _concerns(story, now))


def verdict_of(made: Made, now: Instant, unnamed: Mapping[str, str] = _ALL_NAMED) -> Verdict:
    """Return the verdict on what one request has become. The only possible concern is that it takes too long.

    `unnamed` is as in a story.
    """
    return _verdict(finding_of(made, now, unnamed), _resource(made), _overdue(made, now, unnamed))


def _verdict(finding: Finding, resource: str, concerns: Iterator[Concern]) -> Verdict:
    code, remedy, what_happened, why = finding
    return Verdict(code, remedy, what_happened, safe_to_do(remedy, resource), why, tuple(concerns))


def _resource(made: Made) -> str:
    """Return the path at which the result of a request is found."""
    kind = "payouts" if isinstance(made, Payout) else "transactions"
    return f"/v1/ledgers/{made.ledger}/{kind}/{made.id}"


def finding_of(made: Made, now: Instant, unnamed: Mapping[str, str] = _ALL_NAMED) -> Finding:
    """Return what one request has become. `unnamed` is as in a story."""
    if isinstance(made, Payout):
        finding, name = _OF_PAYOUT[made.state], _unnamed_receiver(made, unnamed)
        if name is None:
            return finding
        return finding._replace(remedy="name_installation", why=not_named(name))
    if isinstance(made, Acceptance):
        return _WAITING
    if made.rejection is not None:
        code, words, _ = made.rejection
        what = f"A rule of the ledger refused the request: {code}. {words} No money moved."
        return Finding("rejected", "use_new_key", what, _FINAL)
    if made.kind == "hold":
        return _of_hold(made, now)
    return _of_posting(made)


def _unnamed_receiver(payout: Payout, unnamed: Mapping[str, str]) -> str | None:
    """Return the installation that a bridge under way waits for, None if it is none or the placement names it."""
    return unnamed.get(payout.destination["ledger"]) if is_bridge_under_way(payout) else None


def _of_hold(hold: Transaction, now: Instant) -> Finding:
    if hold.status == "pending":
        return _LAPSED if hold.has_expired(now) else _PENDING
    return _OF_HOLD[hold.status]


def _of_posting(made: Transaction) -> Finding:
    if made.kind == "void":
        return Finding("hold_released", "nothing", "The hold was released. No money moved.", _FINAL)
    if not made.related.reversed_by:
        what = {"settlement": "The hold was settled: money moved.", "reversal": "Money moved back."}
        return Finding(
            "posted", "nothing", what.get(made.kind, "The transaction was posted: money moved."), _FINAL
        )
    if made.reversible_amount:
        return Finding("partly_reversed", "nothing", "Money moved, and part of it was reversed.", _FINAL)
    return Finding("reversed", "nothing", "Money moved, and all of it was reversed.", _FINAL)


def _overall(story: Story, now: Instant) -> Finding:
    found = [finding_of(made, now, story.unnamed) for made in story.operations]
    if len(found) == 1:
        return found[0]
    if not found:
        return _without_operations(story)
    counted = ", ".join(
        f"{count} {code}" for code, count in _counts([finding.code for finding in found]).items()
    )
    what = f"{len(found)} requests: {counted}."
    remedies = {finding.remedy for finding in found}
    if remedies & {"ask_provider", "resolve_payout"}:
        return Finding(
            "some_need_an_operator",
            "see_operations",
            what,
            "At least one needs information from its provider.",
        )
    if "name_installation" in remedies:
        why = "At least one leads to an installation that the placement does not name."
        return Finding("some_need_an_operator", "see_operations", what, why)
    if remedies & {"wait", "end_hold"}:
        return Finding("some_unfinished", "see_operations", what, "At least one has not ended yet.")
    return Finding("all_done", "see_operations", what, _FINAL)


def _without_operations(story: Story) -> Finding:
    if story.events:
        what = f"{len(story.events)} events were recorded, none of them for a request with a key."
        return Finding("recorded", "nothing", what, "Requests without a key are harmless to repeat.")
    what = f"Nothing is recorded of this conversation, up to position {story.position} of {story.head}."
    why = "Every answer is sent only after recording it. With the key, the operation itself can be asked for."
    return Finding("nothing_recorded", "send_again", what, why)


def _counts(codes: Sequence[str]) -> dict[str, int]:
    return {code: codes.count(code) for code in dict.fromkeys(codes)}


def _concerns(story: Story, now: Instant) -> Iterator[Concern]:
    for made in story.operations:
        yield from _overdue(made, now, story.unnamed)
    mismatched = sum(replays.times for replays in story.replays if replays.kind == "mismatched")
    if mismatched:
        words = f"Different requests came under the key, and were refused: {mismatched}."
        yield _concern("key_mismatched", "use_new_key", words)
    for letter in story.letters:
        if letter.state == "open":
            words = f"{letter.projection} holds {letter.stream} behind the dead letter {letter.id}."
            yield _concern("dead_letter_open", "decide_dead_letter", words, f"/v1/dead-letters/{letter.id}")
    for standing in story.standings:
        yield from _of_standing(standing)
    yield from _of_deliveries(story)
    if story.stopped is not None:
        yield _of_stopped(story.stopped, now)
    if story.between is not None:
        yield _of_between(story.between, now)
    if not story.is_whole:
        yield _concern("story_cut", "nothing", "There is more than is shown here. The oldest is shown.")


def _of_stopped(move: LedgerMove, now: Instant) -> Concern:
    words = f"The ledger is being moved to {move.installation}, and writes to it are refused until that has ended."
    remedy: Remedy = "finish_or_cancel_move" if _is_cut_off(move.since, now) else "wait"
    return _concern("ledger_moving", remedy, words, f"/v1/ledgers/{move.ledger}", move.installation)


def _is_cut_off(since: Instant, now: Instant) -> bool:
    return later(since, MOVE_OVERDUE_SECONDS) <= now


def _of_between(of: Between, now: Instant) -> Concern:
    words = (
        f"The ledger has left {of.left} and has not arrived at {of.bound_for}, so what is asked of it is refused."
        " What is shown is all that was recorded of it."
    )
    remedy: Remedy = "finish_move" if _is_cut_off(of.since, now) else "wait"
    return _concern("ledger_between", remedy, words, f"/v1/ledgers/{of.ledger}", of.bound_for)


def _overdue(made: Made, now: Instant, unnamed: Mapping[str, str]) -> Iterator[Concern]:
    if isinstance(made, Acceptance) and later(made.accepted_at, REQUEST_OVERDUE_SECONDS) <= now:
        words = f"The request has waited since {made.accepted_at}: no worker has carried it out."
        yield _concern("request_overdue", "start_worker", words, _resource(made))
    if isinstance(made, Payout) and later(made.accepted_at, PAYOUT_OVERDUE_SECONDS) <= now:
        words = f"The payout was requested at {made.accepted_at}, and has not ended."
        remedies: dict[PayoutState, Remedy] = {"accepted": "start_worker", "submitted": "ask_provider"}
        if made.state in remedies:
            is_unnamed = _unnamed_receiver(made, unnamed) is not None
            remedy = "name_installation" if is_unnamed else remedies[made.state]
            yield _concern("payout_overdue", remedy, words, _resource(made))


def _of_standing(standing: ProjectionStanding) -> Iterator[Concern]:
    progress = standing.progress
    if standing.reached != "behind":
        return
    lacks = "has not published it yet" if progress.name == NATS else "does not show it yet"
    words = f"{progress.name} {lacks}: it is {progress.state} at {progress.position}."
    resource = f"/v1/projections/{progress.name}"
    match progress.state:
        case "halted":
            yield _concern("projection_halted", "mend_projection", words, resource)
        case "paused":
            yield _concern("projection_paused", "resume_projection", words, resource)
        case _:
            yield _concern("projection_behind", "wait", words, resource)


def _of_deliveries(story: Story) -> Iterator[Concern]:
    failed = [delivery for delivery in story.deliveries if delivery.state == "failed"]
    if failed:
        words = f"Deliveries given up: {len(failed)}."
        yield _concern("delivery_failed", "retry_delivery", words, _place(failed[0]))
    waiting = [delivery for delivery in story.deliveries if delivery.state in ("pending", "sent")]
    if waiting:
        words = f"Deliveries not acknowledged yet: {len(waiting)}."
        yield _concern("delivery_waiting", "wait", words, _place(waiting[0]))
    duplicated = sum(
        any(attempt.duplicated for attempt in delivery.attempts) for delivery in story.deliveries
    )
    if duplicated:
        words = f"{duplicated} events may have been delivered twice, under the same id each time."
        yield _concern("delivery_duplicated", "nothing", words)


def _place(delivery: Delivery) -> str:
    return f"/v1/webhooks/{delivery.webhook_id}/deliveries/{delivery.position}"


def _concern(
    code: ConcernCode, remedy: Remedy, words: str, resource: str = "", bound_for: str | None = None
) -> Concern:
    return Concern(code, remedy, words, safe_to_do(remedy, resource, bound_for=bound_for), resource or None)
