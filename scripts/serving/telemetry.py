"""Whether traces are on, by OpenTelemetry's own environment variables, and the tracer of a process.

The SDK reads all other variables itself: the sampler, the service's name, headers, certificates, limits, the queue.
"""

from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from domain.tracing import Tracer

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
"""Either of them turns traces on."""

_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_PROTOCOL = "http/protobuf"

_log = structlog.get_logger(__name__)


def is_wanted(environment: Mapping[str, str]) -> bool:
    """Tell whether the variables ask for traces to be exported by OTLP."""
    is_disabled = environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    exporter = environment.get("OTEL_TRACES_EXPORTER", "").strip() or "otlp"
    return not is_disabled and exporter == "otlp" and any(environment.get(name) for name in ENDPOINTS)


def is_possible(environment: Mapping[str, str]) -> bool:
    """Tell whether wanted traces can be exported. If not, log why."""
    if not _is_installed():
        words = "traces are off: OTEL_EXPORTER_OTLP_… is set, and the extra `telemetry` is not installed"
        _log.warning(words, install="pip install 'tallystick[telemetry]'")
        return False
    protocol = next((value for name in _PROTOCOLS if (value := environment.get(name))), _PROTOCOL)
    if protocol != _PROTOCOL:
        _log.warning(f"traces are off: they are exported by {_PROTOCOL} alone", protocol=protocol)
        return False
    return True


def start_tracer(process: str, environment: Mapping[str, str]) -> "Tracer | None":
    """Return the tracer of a process, by its name. None if traces are not wanted, or, with a line in the log, if they
    are not possible.
    """
    if not is_wanted(environment) or not is_possible(environment):
        return None
    from scripts.serving.span_export import OtlpTracer

    return OtlpTracer(process)


def _is_installed() -> bool:
    try:
        return all(map(find_spec, ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http")))
    except ModuleNotFoundError:  # a package above it is missing
        return False
