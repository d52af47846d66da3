"""Traces as the API answers them and `tallystick trace` prints them."""

from typing import Any

from api.resources.operations.trace_schemas import moment_body, standing_body, verdict_body
from api.resources.payouts.answers import payout_operation_body
from api.resources.transactions.answers import operation_body
from domain.model.payouts.payout import Payout
from domain.model.times import Instant
from projections.diagnosis.trace.story import Made, Story
from projections.diagnosis.trace.timeline import timeline
from projections.diagnosis.trace.verdict import verdict, verdict_of


def trace_body(
    story: Story, ledger: str, now: Instant, *, key: str | None = None, correlation_id: str | None = None
) -> dict[str, Any]:
    """Return the trace of the operation with a key or, without one, of a correlation id."""
    return {
        "ledger": ledger,
        "idempotency_key": key,
        "correlation_id": correlation_id or story.operations[0].correlation_id,
        "operations": [_traced(made, now) for made in story.operations],
        "timeline": [moment_body(moment) for moment in timeline(story)],
        "projections": [standing_body(standing) for standing in story.standings],
        "verdict": verdict_body(verdict(story, now)),
        "position": story.position,
        "head": story.head,
    }


def any_operation_body(made: Made) -> dict[str, Any]:
    """Return the state of a keyed request of any kind."""
    body = payout_operation_body(made) if isinstance(made, Payout) else operation_body(made)
    return {**body}


def _traced(made: Made, now: Instant) -> dict[str, Any]:
    return {**any_operation_body(made), "verdict": verdict_body(verdict_of(made, now))}
