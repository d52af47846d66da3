"""Traces as the API answers them and `tallystick trace` prints them."""

from collections.abc import Mapping, Sequence
from heapq import merge
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
    story: Story,
    ledger: str,
    now: Instant,
    *,
    key: str | None = None,
    correlation_id: str | None = None,
    installation: str | None = None,
) -> dict[str, Any]:
    """Return the trace of the operation with a key or, without one, of a correlation id.

    `installation` is the one of a placement that holds the ledger.
    """
    body = {
        "ledger": ledger,
        "idempotency_key": key,
        "correlation_id": correlation_id or story.operations[0].correlation_id,
        "operations": [_traced(made, story, now, installation) for made in story.operations],
        "timeline": [moment_body(moment) for moment in timeline(story)],
        "projections": [standing_body(standing) for standing in story.standings],
        "verdict": verdict_body(verdict(story, now), installation),
        "position": story.position,
        "head": story.head,
    }
    return body if installation is None else {**body, "installation": installation}


def any_operation_body(made: Made) -> dict[str, Any]:
    """Return the state of a keyed request of any kind."""
    body = payout_operation_body(made) if isinstance(made, Payout) else operation_body(made)
    return {**body}


def _traced(made: Made, story: Story, now: Instant, installation: str | None) -> dict[str, Any]:
    found = verdict_of(made, now, story.unnamed)
    return {**any_operation_body(made), "verdict": verdict_body(found, installation)}


def conversation_body(traces: Sequence[Mapping[str, Any]], correlation_id: str) -> dict[str, Any]:
    """Return the story of a correlation id, given its trace in each ledger that has one."""
    timelines = ([{**_home_of(trace), **moment} for moment in trace["timeline"]] for trace in traces)
    return {
        "correlation_id": correlation_id,
        "traces": [
            {member: value for member, value in trace.items() if member != "timeline"} for trace in traces
        ],
        "timeline": list(merge(*timelines, key=_when)),
    }


def _home_of(trace: Mapping[str, Any]) -> dict[str, Any]:
    return {member: trace[member] for member in ("ledger", "installation") if member in trace}


def _when(moment: Mapping[str, Any]) -> tuple[bool, Instant]:
    """Return the key by which the moments of several ledgers are merged. Those without a time come last."""
    return moment["time"] is None, moment["time"] or ""
