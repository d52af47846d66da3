"""The spans of a projection's batch: one in each sampled trace whose events were applied."""

from typing import Any

import msgspec

from domain.model.events import Recorded
from domain.tracing import BATCH_EVENTS, POSITION, PROJECTION, Kind, Tracer, is_sampled
from projections.engine.batches import EventBatch
from projections.engine.projection import Projection

MAX_TRACES = 20
"""In how many traces a batch is told, the first of those that it has events of.

A span takes longer to tell than an event to apply. A projection that catches up applies thousands at once.
"""


class BatchSpans:
    """Tells a tracer of each batch that was written."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def __call__(
        self, projection: Projection, batch: EventBatch, began_at_seconds: float, ended_at_seconds: float
    ) -> None:
        """Tell of a batch: when its writing began and ended, in seconds of `monotonic`."""
        if not batch.events:
            return
        for traceparent, position in sampled_traces(batch).items():
            span = self._tracer.begin(
                Kind.INTERNAL,
                f"project {projection.name}",
                traceparent,
                {PROJECTION: projection.name, POSITION: position, BATCH_EVENTS: len(batch.events)},
                began_at_seconds=began_at_seconds,
            )
            if span:
                span.end(ended_at_seconds=ended_at_seconds)


def sampled_traces(batch: EventBatch) -> dict[str, int]:
    """Return the sampled contexts of a batch's events, at most `MAX_TRACES`, each with its last position."""
    found: dict[str, int] = {}
    for event in batch.events:
        traceparent, position = _context_of(event)
        if traceparent in found or (len(found) < MAX_TRACES and is_sampled(traceparent)):
            found[str(traceparent)] = position
    return found


class _Stored(msgspec.Struct):
    traceparent: str | None = None


_decode = msgspec.json.Decoder(_Stored).decode


def _context_of(event: Any) -> tuple[str | None, int]:
    """Return the trace context and position of an event, decoded or as a row of the journal."""
    if isinstance(event, Recorded):
        return event.envelope.traceparent, event.position
    *_, state, position = event
    try:
        return _decode(state).traceparent, position
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None, position
