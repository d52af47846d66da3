"""Testimony: what the journal of a witness says of a log, for whoever verifies that log."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from typing import NamedTuple

from domain.model.times import Instant
from domain.transparency.checkpoints import claimed
from domain.transparency.signed_notes import InvalidNote
from projections.audit.stored import Stored


class Testimony(NamedTuple):
    """A witness recorded the signed note of a checkpoint of `size` events, at a position of its own journal.

    `verifiers` are the keys, as vkeys, that the witness knew to be the log's.
    """

    size: int
    note: str
    verifiers: tuple[str, ...]
    recorded_at: Instant
    position: int


def testimonies(events: Iterable[Stored], origins: Collection[str]) -> list[Testimony]:
    """Return what the events of a witness say of the log with one of these origins, the smallest checkpoint first.

    A checkpoint that was disputed says nothing. One that an operator accepted begins the log anew: what was said of it
    before no longer counts. Raises `ValueError` if an event says something else than its note, which alone is signed.
    """
    found: defaultdict[str, list[Testimony]] = defaultdict(list)
    for event in events:
        if event.topic not in ("checkpoint.witnessed", "checkpoint.dispute_settled"):
            continue
        data = event.data
        if data.get("decision") == "accepted":
            found[event.stream].clear()
        if data["origin"] in origins:
            _require_as_signed(event)
            said = data["size"], data["note"], tuple(data["verifiers"])
            found[event.stream].append(Testimony(*said, event.envelope["recorded_at"], event.position))
    return sorted(testimony for said in found.values() for testimony in said)


def _require_as_signed(event: Stored) -> None:
    data = event.data
    try:
        origin, size, root = claimed(data["note"])
    except InvalidNote as error:
        raise ValueError(f"the note at position {event.position}: {error}") from error
    if (origin, size, root.hex()) != (data["origin"], data["size"], data["root"]):
        raise ValueError(f"the event at position {event.position} is not of the checkpoint in its note")
