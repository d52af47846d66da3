"""What is recorded of another installation's log, without such an installation."""

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Any
from uuid import uuid4

from psycopg import Connection

from domain.model.events import Context, Event
from domain.model.installation.checkpoints import (
    CheckpointDisputed,
    CheckpointDisputeSettled,
    CheckpointWitnessed,
)
from projections.witnessing.logs import read_logs, record, watch

NAME = "west"
_ORIGIN = f"tallystick/{NAME}"


def grow(connection: Connection[Any]) -> None:
    """Record a checkpoint of the log, which has grown by one event."""
    log = read_logs(connection, NAME).get(NAME)
    size = log.size if log else 0
    event = CheckpointWitnessed(**_told(size + 1), grown_from=size, basis="grown", cosignature="")
    _record(connection, [event])


def dispute(connection: Connection[Any]) -> None:
    """Record a checkpoint that contradicts a log of one event, and that an operator keeps what was witnessed."""
    told = _told(1)
    _record(
        connection,
        [
            CheckpointDisputed(**told, contradiction="fork", disputed=f"{_ORIGIN}\n2\n", stated_verifiers=()),
            CheckpointDisputeSettled(**told, decision="kept", reason="it was a test"),
        ],
    )


def _told(size: int) -> dict[str, Any]:
    note = f"{_ORIGIN}\n{size}\n"
    return {"origin": _ORIGIN, "size": size, "root": "00" * 32, "note": note, "verifiers": ()}


def _record(connection: Connection[Any], events: Sequence[Event]) -> None:
    watch(connection, NAME)
    for event in events:
        log = read_logs(connection, NAME).get(NAME)
        by = Context("tallystick", str(uuid4()))
        assert record(connection, NAME, log, partial(_at_any_time, event), by)


def _at_any_time(event: Event, _: datetime) -> Event:
    return event
