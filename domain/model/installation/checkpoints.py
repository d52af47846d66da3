"""Checkpoints of other installations, as this one has witnessed them: an aggregate for each log.

Whoever owns an installation can rewrite its journal and sign it anew. They cannot rewrite the journals of others that
have recorded what they signed before. The signatures, trees and proofs are judged where checkpoints are fetched
(projections/witnessing), since nothing here knows of them.
"""

import re
from typing import ClassVar, Literal, NamedTuple

from domain.model.events import Event, Recorded
from domain.model.streams import name_of
from domain.model.times import Instant

NAME_PATTERN = r"^[a-z][a-z0-9-]{0,31}$"
"""The name by which an installation calls another. It names the stream, and never changes."""

Basis = Literal["first_use", "configured", "grown", "rotated"]
"""Why a checkpoint is believed.

`first_use`: it is the first, and its key is the one that the log stated then. `configured`: it is the first, and a
configured key signed it. `grown`: a known key signed it, and its tree was proved to begin with the tree witnessed
before. `rotated`: as `grown`, and a key that was not known signed it as well.
"""

Contradiction = Literal["fork", "smaller", "another_root", "another_key", "another_log"]
"""What a checkpoint contradicts.

`fork`: its tree does not begin with the tree that was witnessed. `smaller`: its tree is smaller, and not the beginning
of the witnessed one. `another_root`: it has the size of the witnessed one, and another root. `another_key`: no known
key signed it. `another_log`: its origin is another one.
"""

Decision = Literal["kept", "accepted"]
"""What an operator decided: what was witnessed before still counts, or the log goes on from what was disputed."""

_NAME = re.compile(NAME_PATTERN[1:-1])


class _OfLog(Event):
    """The checkpoint of the log with which the next one is compared, and the keys that signed it, as vkeys.

    `root` is in hex. `note` is the whole signed note, byte for byte.
    """

    origin: str
    size: int
    root: str
    note: str
    verifiers: tuple[str, ...]


class CheckpointWitnessed(_OfLog):
    """A checkpoint of another log is believed. Its tree begins with the one of the first `grown_from` events.

    `grown_from` is 0 if nothing was witnessed before. `cosignature` is the line that this installation signed about it
    (C2SP tlog-cosignature).
    """

    TOPIC: ClassVar[str] = "checkpoint.witnessed"

    grown_from: int
    basis: Basis
    cosignature: str


class CheckpointDisputed(_OfLog):
    """A log showed the note in `disputed`, which contradicts what was witnessed of it. Both notes are the evidence.

    Nothing more is witnessed of the log until an operator has decided. `stated_verifiers` are the keys that it stated.
    """

    TOPIC: ClassVar[str] = "checkpoint.disputed"

    contradiction: Contradiction
    disputed: str
    stated_verifiers: tuple[str, ...]


class CheckpointDisputeSettled(_OfLog):
    """An operator decided how a log goes on, and why. The checkpoint is the one from which it does."""

    TOPIC: ClassVar[str] = "checkpoint.dispute_settled"

    decision: Decision
    reason: str


EVENTS: tuple[type[Event], ...] = (CheckpointWitnessed, CheckpointDisputed, CheckpointDisputeSettled)


class WitnessedLog(NamedTuple):
    """A log of another installation, folded: what was believed last, and the dispute if there is one.

    `recorded_at` is when the newest event was recorded, at `position`. `cosignature` is empty unless that event
    believed a checkpoint.
    """

    name: str
    origin: str
    size: int
    root: bytes
    note: str
    cosignature: str
    verifiers: tuple[str, ...]
    dispute: CheckpointDisputed | None
    recorded_at: Instant
    version: int
    position: int


def evolve(log: WitnessedLog | None, recorded: Recorded) -> WitnessedLog:
    """Return the log after an event of its stream. Each event says all that is known, so the newest one suffices."""
    event = recorded.event
    assert isinstance(event, _OfLog)
    return WitnessedLog(
        name_of(recorded.stream),
        event.origin,
        event.size,
        bytes.fromhex(event.root),
        event.note,
        event.cosignature if isinstance(event, CheckpointWitnessed) else "",
        event.verifiers,
        event if isinstance(event, CheckpointDisputed) else None,
        recorded.envelope.recorded_at,
        recorded.version,
        recorded.position,
    )


def is_witness_name(text: str) -> bool:
    """Tell whether an installation can be called so by another."""
    return _NAME.fullmatch(text) is not None
