"""Spans as OpenTelemetry's SDK makes them, sent by OTLP over HTTP to a collector. The only module that knows the SDK.

Spans wait in the SDK's queue, which is bounded and drops what does not fit, and a thread of the SDK sends them. So a
collector that is down or hangs delays nothing but spans.
"""

import logging
import os
import threading
from collections.abc import Sequence
from time import monotonic, monotonic_ns, time_ns

import structlog
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from domain.journal.outage import Outage
from domain.release import RELEASE
from domain.tracing import Attributes, Kind

CLOSE_SECONDS = 1.0
"""How long a stopping process waits for the collector to take the last spans."""

REMIND_SECONDS = 60.0

MAX_DRIFT_NANOSECONDS = 1_000_000
"""How far the times of spans may be from the machine's clock, which is slowed and sped up to keep it right."""

_KINDS = {
    Kind.SERVER: SpanKind.SERVER,
    Kind.CLIENT: SpanKind.CLIENT,
    Kind.PRODUCER: SpanKind.PRODUCER,
    Kind.INTERNAL: SpanKind.INTERNAL,
}

_log = structlog.get_logger(__name__)


class OtlpSpan:
    """A span of the SDK under way."""

    def __init__(self, span: trace.Span) -> None:
        self._span = span
        self.traceparent = _traceparent(span.get_span_context())
        """The context of everything that this work causes."""

    def end(
        self,
        attributes: Attributes | None = None,
        *,
        name: str | None = None,
        error: str | None = None,
        ended_at_seconds: float | None = None,
    ) -> None:
        """End the work: now, or at a time of the monotonic clock."""
        span = self._span
        if name is not None:
            span.update_name(name)
        if attributes:
            span.set_attributes(attributes)
        if error is not None:
            span.set_attribute("error.type", error)
            span.set_status(Status(StatusCode.ERROR))
        span.end(_CLOCK.at(ended_at_seconds))


class OtlpTracer:
    """Sends spans to the collector that the environment names."""

    def __init__(self, process: str) -> None:
        """`process` is the name of this process. Configures the SDK's logging of this process."""
        told = _Troubles()
        for name in ("opentelemetry.exporter", "opentelemetry.sdk"):
            logger = logging.getLogger(name)
            logger.propagate = False
            logger.handlers = [told]
        # Whatever the operator's variables name counts.
        resource = Resource.create(
            {
                "service.name": "tallystick",
                "service.version": RELEASE,
                "process.pid": os.getpid(),
                "tallystick.process": process,
                **OTELResourceDetector().detect().attributes,
            }
        )
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(_WatchedExporter(OTLPSpanExporter(), told)))
        self._tracer = self._provider.get_tracer("tallystick", RELEASE)

    def begin(
        self,
        kind: Kind,
        name: str,
        parent: str | None,
        attributes: Attributes,
        *,
        began_at_seconds: float | None = None,
        linked: str | None = None,
    ) -> OtlpSpan | None:
        """Return work that has begun: now, or at a time of the monotonic clock. None if its trace is not sampled."""
        # A context of its own: what belongs together is said by contexts in texts alone.
        context = Context()
        if parent is not None:
            context = trace.set_span_in_context(NonRecordingSpan(_span_context(parent)), context)
        span = self._tracer.start_span(
            name,
            context,
            _KINDS[kind],
            attributes,
            [Link(_span_context(linked))] if linked is not None else (),
            start_time=_CLOCK.at(began_at_seconds),
        )
        return OtlpSpan(span) if span.is_recording() else None

    def close(self) -> None:
        """Hand over the spans that have ended, within about a second, and take no more."""
        # The SDK waits longer than a process may take to stop. This thread may hang with it: it ends with the process.
        closing = threading.Thread(target=self._provider.shutdown, name="last spans", daemon=True)
        closing.start()
        closing.join(CLOSE_SECONDS)


class _Troubles(logging.Handler):
    """What the SDK says about spans it cannot send, in few lines. It says each failure and each span that is dropped.

    `reason` is why the last export failed.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.reason = "unknown"
        self._remind_at = 0.0

    def emit(self, record: logging.LogRecord) -> None:
        """Note why an export failed, or say that spans are dropped."""
        if record.name.startswith("opentelemetry.exporter"):
            self.reason = record.getMessage()
        elif monotonic() >= self._remind_at:
            self._remind_at = monotonic() + REMIND_SECONDS
            _log.warning("spans are lost", error=record.getMessage())


class _WatchedExporter(SpanExporter):
    """Exports, and logs an outage of the collector once, once a minute while it lasts, and once when it is over."""

    def __init__(self, exporter: SpanExporter, troubles: _Troubles) -> None:
        self._exporter = exporter
        self._troubles = troubles
        self._outage = Outage("collector of traces")

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send spans; return whether they were taken."""
        result = self._exporter.export(spans)
        if result is SpanExportResult.SUCCESS:
            self._outage.back("export")
        else:
            self._outage.lost("export", ConnectionError(self._troubles.reason))
        return result

    def shutdown(self) -> None:
        """Take no more, and give up what is being sent."""
        self._exporter.shutdown()


def _span_context(traceparent: str) -> SpanContext:
    """Return the context of a valid `traceparent`."""
    _, trace_id, span_id, flags = traceparent[:55].split("-")
    return SpanContext(
        int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16))
    )


def _traceparent(context: SpanContext) -> str:
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


class _WallClock:
    """Turns times of the monotonic clock into nanoseconds since 1970, in the same way for all spans of a process.

    So within a process no span begins before what caused it, unless the machine's clock was set meanwhile.
    """

    def __init__(self) -> None:
        self._offset = 0

    def at(self, seconds: float | None) -> int:
        """Return a time of the monotonic clock in nanoseconds since 1970. None is now."""
        offset = time_ns() - monotonic_ns()
        if abs(offset - self._offset) > MAX_DRIFT_NANOSECONDS:
            self._offset = offset
        return self._offset + int((monotonic() if seconds is None else seconds) * 1e9)


_CLOCK = _WallClock()
