"""What an event is, and what is known of every event that was recorded.

An event type has an explicit topic and version, never a module path, so that code can move while history stays
readable (DESIGN.md, The journal). The envelope says when, by whom, because of what and under which key.
"""

from typing import Any, ClassVar, NamedTuple

from pydantic import BaseModel, ConfigDict

from domain.times import Instant


class Event(BaseModel):
    """Something that happened to one aggregate; `TOPIC` and `class_version` name its stored form.

    When `class_version` is raised, a static method `upcast_v{n}_v{n+1}(data)` changes stored data of version n,
    in place, into that of n+1, as the eventsourcing library has it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    TOPIC: ClassVar[str]
    class_version: ClassVar[int] = 1


class Envelope(BaseModel):
    """The circumstances of a recorded event, the same for all events of one command."""

    model_config = ConfigDict(frozen=True)

    recorded_at: Instant
    actor: str
    correlation_id: str
    causation_id: str
    idempotency_key: str | None
    traceparent: str | None


class Context(NamedTuple):
    """Who asks and in which conversation: what the edge knows of a command beside its content."""

    actor: str
    correlation_id: str
    traceparent: str | None = None


class Recorded(NamedTuple):
    """An event at its place in the journal.

    `version` counts the events of the stream from 1, `position` those of the whole journal from 1, both without gaps.
    """

    stream: str
    version: int
    position: int
    envelope: Envelope
    event: Event

    @property
    def originator_id(self) -> str:
        """The stream, by the name that the eventsourcing library gives it."""
        return self.stream

    @property
    def originator_version(self) -> int:
        """The version, by the name that the eventsourcing library gives it."""
        return self.version


State = Any
"""The folded state of an aggregate: an `Account`, `Transaction`, `Ledger` or `None` before its first event."""
