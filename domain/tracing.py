"""Tracing: how the parts of the service tell what they do for a request whose trace is sampled.

Whoever starts a process plugs a `Tracer` into its parts, or None. Without one nothing is told. The parts know nothing
of where spans go.

A trace goes on by its `traceparent` (W3C Trace Context): that of a request, or the one that is stored with an event. So
it needs no memory of any process, and a process that takes over from another continues it.

The names of spans and attributes are those of OpenTelemetry's semantic conventions. Names that begin with `tallystick`
are our own. No attribute has a secret, a path or an address: paths of requests name people, and those of webhooks may
have a token in them.
"""

import re
from collections.abc import Mapping
from enum import Enum, auto
from typing import Final, Protocol

Attributes = Mapping[str, str | int]

HTTP_METHOD: Final = "http.request.method"
HTTP_ROUTE: Final = "http.route"
HTTP_STATUS: Final = "http.response.status_code"
HTTP_RESEND_COUNT: Final = "http.request.resend_count"
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"
MESSAGING_SYSTEM: Final = "messaging.system"
MESSAGING_OPERATION_NAME: Final = "messaging.operation.name"
MESSAGING_OPERATION_TYPE: Final = "messaging.operation.type"
MESSAGING_DESTINATION: Final = "messaging.destination.name"
MESSAGING_MESSAGE_ID: Final = "messaging.message.id"

LEDGER: Final = "tallystick.ledger"
CORRELATION_ID: Final = "tallystick.correlation_id"
ACTOR: Final = "tallystick.actor"
COMMANDS: Final = "tallystick.commands"
OUTCOME: Final = "tallystick.outcome"
POSITION: Final = "tallystick.position"
PROJECTION: Final = "tallystick.projection"
BATCH_EVENTS: Final = "tallystick.batch.events"
BATCH_COMMANDS: Final = "tallystick.batch.commands"
EVENT_TYPE: Final = "tallystick.event.type"
WEBHOOK_ID: Final = "tallystick.webhook.id"
PROVIDER: Final = "tallystick.provider"
CALL: Final = "tallystick.provider.call"

# The last digit of the flags has the bit `sampled`. Later versions may append fields (W3C Trace Context §3.2, §3.3).
_SAMPLED = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f][13579bdf](?:-.*)?"
)


class Kind(Enum):
    """On which side of a call the work of a span is done."""

    SERVER = auto()
    CLIENT = auto()
    PRODUCER = auto()
    INTERNAL = auto()


class Span(Protocol):
    """Work under way, as a part of a sampled trace. It is told once it has ended. No method raises anything."""

    @property
    def traceparent(self) -> str:
        """The context of everything that this work causes."""

    def end(
        self,
        attributes: Attributes | None = None,
        *,
        name: str | None = None,
        error: str | None = None,
        ended_at_seconds: float | None = None,
    ) -> None:
        """End the work: now, or at a time of the monotonic clock.

        `name` replaces the name it began with. `error` is the kind of its failure, in one word or a status.
        """


class Tracer(Protocol):
    """Takes spans, of any thread, without ever waiting for whoever collects them. No method raises anything."""

    def begin(
        self,
        kind: Kind,
        name: str,
        parent: str | None,
        attributes: Attributes,
        *,
        began_at_seconds: float | None = None,
        linked: str | None = None,
    ) -> Span | None:
        """Return work that has begun: now, or at a time of the monotonic clock. None if its trace is not sampled.

        `parent` is the valid context in which it is done, None for a trace of its own, which the operator's sampler
        decides about. `linked` is the context of other work that it depends on.
        """

    def close(self) -> None:
        """Hand over the spans that have ended, within about a second, and take no more."""


def is_sampled(traceparent: str | None) -> bool:
    """Tell whether a trace is to be followed. False for what is not a valid context."""
    return traceparent is not None and _SAMPLED.fullmatch(traceparent) is not None
