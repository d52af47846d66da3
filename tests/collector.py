"""A collector of traces: a real receiver of OTLP over HTTP on loopback, which keeps the spans that it is sent."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from tests.projecting import eventually


class Collected(NamedTuple):
    """A span as it came. Ids are in hexadecimal; `process` is the process of the service that sent it."""

    process: str
    service: str
    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    links: tuple[str, ...]
    attributes: Mapping[str, Any]
    is_error: bool
    began: int
    ended: int

    @property
    def traceparent(self) -> str:
        """The context of whatever it caused."""
        return f"00-{self.trace_id}-{self.span_id}-01"


class Collector:
    """The spans in the order they came."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.paths: set[str] = set()
        self.is_asked = threading.Event()
        """Set by the first request, also if it is not answered."""
        self.answers = threading.Event()
        """Requests are answered once it is set, as it is at first."""
        self.answers.set()
        self._spans: list[Collected] = []
        self._lock = threading.Lock()

    def of_trace(self, trace_id: str) -> Sequence[Collected]:
        """The spans of a trace that came so far."""
        with self._lock:
            return [span for span in self._spans if span.trace_id == trace_id]

    def await_spans(
        self, trace_id: str, are_enough: Callable[[Sequence[Collected]], bool]
    ) -> Sequence[Collected]:
        """Wait until enough spans of a trace have come, and return them."""
        eventually(lambda: are_enough(self.of_trace(trace_id)))
        return self.of_trace(trace_id)

    def take(self, body: bytes) -> None:
        """Keep the spans of a request."""
        request = ExportTraceServiceRequest.FromString(body)
        found = [
            _collected(_values(resource.resource.attributes), span)
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]
        with self._lock:
            self._spans += found


@contextmanager
def collecting(port: int = 0) -> Iterator[Collector]:
    """A collector that runs meanwhile."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            collector.is_asked.set()
            collector.answers.wait()
            collector.paths.add(self.path)
            collector.take(body)
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *arguments: Any) -> None:
            """Log nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

        def handle_error(self, request: Any, client_address: Any) -> None:
            """Ignore senders that went away."""

    server = Server(("127.0.0.1", port), Handler)
    collector = Collector(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield collector
    finally:
        collector.answers.set()
        server.shutdown()
        thread.join()
        server.server_close()


def _collected(resource: Mapping[str, Any], span: Span) -> Collected:
    return Collected(
        resource["tallystick.process"],
        resource["service.name"],
        span.name,
        Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        tuple(link.span_id.hex() for link in span.links),
        _values(span.attributes),
        span.status.code == Status.STATUS_CODE_ERROR,
        span.start_time_unix_nano,
        span.end_time_unix_nano,
    )


def _values(attributes: Sequence[KeyValue]) -> dict[str, Any]:
    return {
        of.key: getattr(of.value, kind)
        for of in attributes
        if (kind := of.value.WhichOneof("value")) is not None
    }
