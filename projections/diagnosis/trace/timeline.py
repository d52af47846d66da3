"""The timeline of a story: every known moment in the order of time, without I/O.

A moment that is not an event of the journal has the position of the event it is about, and the time recorded with it.
What another ledger recorded for a bridge is among the moments. Its `subject` names that ledger.
"""

from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple

from domain.model.payouts.payout import Payout, Step
from domain.model.streams import transaction_stream
from domain.model.times import EARLIEST, Instant
from domain.model.transactions import Acceptance, Transaction
from projections.diagnosis.request_replays import Replays
from projections.diagnosis.trace.story import Made, ProjectionStanding, Story, Suppression
from projections.engine.dead_letters import DeadLetter
from projections.outbox.deliveries import Attempt, Delivery
from projections.read_models.event_history import JournalEvent

MomentKind = Literal[
    "request_accepted",
    "request_decided",
    "request_refused",
    "request_replayed",
    "key_mismatched",
    "event_recorded",
    "provider_called",
    "provider_silent",
    "provider_answered",
    "provider_called_back",
    "payout_resolved",
    "projection_reached",
    "projection_behind",
    "projection_held",
    "delivery_waiting",
    "delivery_sent",
    "delivery_duplicated",
    "delivery_acknowledged",
    "delivery_failed",
    "delivery_suppressed",
    "dead_letter_opened",
    "dead_letter_closed",
]


class Moment(NamedTuple):
    """Something that happened or was found: when, at which position, to what (`subject`), by whom, in words.

    `time` is None if it is unknown or still to come.
    """

    time: Instant | None
    position: int | None
    kind: MomentKind
    subject: str
    actor: str | None
    words: str


def timeline(story: Story) -> list[Moment]:
    """Return the moments of a story by time, those without a time last. Equal times are ordered by position."""
    made = {of.id: of for of in story.operations}
    begun: dict[str, int] = {}
    for event in story.events:
        begun.setdefault(event.row[0], event.position)
    moments = [
        *(moment for of in story.operations for moment in _of_operation(of, begun)),
        *map(_of_event, story.events),
        *map(_of_event, story.received),
        *(_of_replays(replays, made[replays.operation_id]) for replays in story.replays),
        *(moment for standing in story.standings for moment in _of_standing(standing)),
        *(moment for delivery in story.deliveries for moment in _of_delivery(delivery)),
        *(moment for suppression in story.suppressions for moment in _of_suppression(suppression)),
        *(moment for letter in story.letters for moment in _of_letter(letter)),
    ]
    return sorted(moments, key=_place)


def _place(moment: Moment) -> tuple[bool, Instant, bool, int, bool]:
    time, position, kind = moment[:3]
    return time is None, time or EARLIEST, kind != "request_accepted", position or 0, kind != "event_recorded"


def _of_operation(made: Made, begun: Mapping[str, int]) -> Iterator[Moment]:
    """Yield the moments of a request. `begun` maps each stream of the story to its first position."""
    if isinstance(made, Payout):
        yield from _of_payout(made)
        return
    first = made.as_first_answered()
    actor = first.envelope.actor if isinstance(first, Acceptance) else first.actor
    position = begun.get(transaction_stream(made.ledger, made.id))
    words = "the request was accepted"
    if isinstance(first, Acceptance):
        words += ", to be carried out later"
    yield Moment(first.accepted_at, position, "request_accepted", made.idempotency_key, actor, words)
    if isinstance(first, Transaction):
        yield _of_decision(first)


def _of_decision(made: Transaction) -> Moment:
    subject, at, position = made.idempotency_key, made.recorded_at, made.made_position
    if made.rejection is not None:
        words = f"it was refused: {made.rejection.code}. {made.rejection.detail}"
        return Moment(at, position, "request_refused", subject, made.actor, words)
    words = f"it was carried out: {made.kind}, {made.status}"
    return Moment(at, position, "request_decided", subject, made.actor, words)


def _of_payout(payout: Payout) -> Iterator[Moment]:
    subject, first = payout.idempotency_key, payout.history[0]
    yield Moment(
        first.at, first.position, "request_accepted", subject, first.actor, "the request was accepted"
    )
    if payout.rejection is not None:
        words = f"it was refused: {payout.rejection.code}. {payout.rejection.detail}"
        yield Moment(first.at, first.position, "request_refused", subject, first.actor, words)
    for step in payout.history[1:]:
        yield from _of_step(payout, step)
        if step.event in ("completed", "failed"):
            words = f"the payout ended: {step.event}"
            yield Moment(step.at, step.position, "request_decided", subject, step.actor, words)


def _of_step(payout: Payout, step: Step) -> Iterator[Moment]:
    kind: MomentKind
    said = f": {step.detail}" if step.detail else ""
    match step.event, step.source:
        case "submitted", _:
            kind, words = (
                "provider_called",
                f"{payout.provider} is called under the key {payout.provider_key}",
            )
        case "unanswered", source:
            kind, words = "provider_silent", f"no answer to the {source}{said}"
        case _, "callback":
            kind, words = "provider_called_back", f"the provider said by itself: {step.event}{said}"
        case _, "submission" | "inquiry":
            kind, words = (
                "provider_answered",
                f"the provider's answer to the {step.source}: {step.event}{said}",
            )
        case "reconciliation_requested", _:
            kind, words = "payout_resolved", f"an operator wants the provider to be asked{said}"
        case _, "operator":
            kind, words = "payout_resolved", f"an operator says: {step.event}{said}"
        case _:
            return  # a decision of the ledger itself is shown by its event
    yield Moment(step.at, step.position, kind, f"payouts/{payout.id}", step.actor, words)


def _of_event(event: JournalEvent) -> Moment:
    stream, version, topic, _, position = event.row
    words = f"{topic}, version {version} of its stream"
    content = event.content
    return Moment(
        content.text("recorded_at"), position, "event_recorded", stream, content.text("actor"), words
    )


def _of_replays(replays: Replays, made: Made) -> Moment:
    times = "once" if replays.times == 1 else f"{replays.times} times since {replays.first_at}"
    if replays.kind == "mismatched":
        words = f"a different request came under this key, {times}, and was refused; it was not recorded"
    else:
        words = f"the same request came again, {times}, and was answered as before"
    kind: MomentKind = "key_mismatched" if replays.kind == "mismatched" else "request_replayed"
    position = made.as_first_answered().position
    return Moment(replays.last_at, position, kind, made.idempotency_key, replays.actor, words)


def _of_standing(standing: ProjectionStanding) -> Iterator[Moment]:
    progress = standing.progress
    where = f"it is at {progress.position} of {progress.head}, {progress.state}"
    subject = f"projections/{progress.name}"
    match standing.reached:
        case "reached":
            words = f"reached by then: {where}"
            yield Moment(standing.advanced_at, progress.position, "projection_reached", subject, None, words)
        case "behind":
            yield Moment(None, progress.position, "projection_behind", subject, None, f"not reached: {where}")
        case "held":
            words = f"held behind a dead letter: {where}"
            yield Moment(None, progress.position, "projection_held", subject, None, words)


def _of_delivery(delivery: Delivery) -> Iterator[Moment]:
    subject, position = f"webhooks/{delivery.webhook_id}", delivery.position
    for attempt in delivery.attempts:
        yield from _of_attempt(subject, position, attempt)
    if delivery.state == "failed":
        words = "given up: later deliveries of the same stream wait for an operator"
        yield Moment(None, position, "delivery_failed", subject, None, words)
    elif delivery.state == "pending":
        due = delivery.next_attempt_at
        words = (
            f"the next attempt is due at {due}" if due else "it waits for earlier deliveries of its stream"
        )
        yield Moment(None, position, "delivery_waiting", subject, None, words)
    elif delivery.state == "suppressed" and not delivery.attempts:
        words = delivery.reason or "not sent"
        yield Moment(None, position, "delivery_suppressed", subject, None, words)


def _of_attempt(subject: str, position: int, attempt: Attempt) -> Iterator[Moment]:
    said = f"attempt {attempt.number}"
    if attempt.outcome == "suppressed":
        words = attempt.reason or "not sent"
        yield Moment(attempt.ended_at, position, "delivery_suppressed", subject, None, words)
        return
    if attempt.duplicated:
        words = f"{said}: sent again; a receiver that already has it recognises it by its id"
        yield Moment(attempt.sent_at, position, "delivery_duplicated", subject, None, words)
    else:
        yield Moment(attempt.sent_at, position, "delivery_sent", subject, None, f"{said}: sent")
    if attempt.outcome == "acknowledged":
        words = f"{said}: acknowledged with {attempt.status_code}"
        yield Moment(attempt.ended_at, position, "delivery_acknowledged", subject, None, words)
    elif attempt.outcome == "failed":
        words = f"{said}: {attempt.reason or f'answered with {attempt.status_code}'}"
        yield Moment(attempt.ended_at, position, "delivery_failed", subject, None, words)


def _of_suppression(suppression: Suppression) -> Iterator[Moment]:
    words = f"version {suppression.version} of the outbox read it again, and sent nothing"
    for position in suppression.positions:
        subject = f"webhooks/{suppression.webhook_id}"
        yield Moment(suppression.last_at, position, "delivery_suppressed", subject, None, words)


def _of_letter(letter: DeadLetter) -> Iterator[Moment]:
    subject, of = f"dead-letters/{letter.id}", f"{letter.projection}, version {letter.projection_version}"
    words = f"{of} could not apply {letter.topic} of {letter.stream}: {letter.exception}"
    yield Moment(letter.first_failed_at, letter.position, "dead_letter_opened", subject, letter.actor, words)
    if letter.closing is not None:
        words = f"{of}: {letter.state}"
        yield Moment(
            letter.closing.at, letter.position, "dead_letter_closed", subject, letter.closing.by, words
        )
