"""Filling parts of versions that are being rebuilt: `python -m projections.rebuilding.part`.

Several processes fill the parts of a version at once. Each part has a position of its own, which moves in the
transaction that writes: so every event is applied exactly once, and a fenced process writes nothing. A process fills
its part of several projections together, so the journal is read and decoded once for all of them. It may be killed at
any time: another one continues from the positions. While it runs it writes to standard output, so that its parent finds
and replaces one that hangs.
"""

import gc
import json
import os
import sys
import threading
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from queue import SimpleQueue
from time import sleep
from typing import Any
from uuid import UUID, uuid4

import structlog
from psycopg import Connection, errors

from domain.journal.database import Database
from domain.journal.queries import load
from domain.journal.silence import LOST
from projections.engine.batches import EventBatch, Part, advance, read_stretch
from projections.engine.poison import describe
from projections.engine.projection import Projection
from projections.rebuilding.transitions import moves
from projections.registry import find_projection

BATCH_EVENTS = 24_576
"""A part reads this many events of the journal at a time, multiplied by the number of parts, and takes its own.

Batches end at multiples of it, so that blocks of the event index and tiles of the tree are written once. Projections
that read some events only have twice as many at a time: the more of an account's events come together, the fewer rows
change.
"""

# A batch makes some hundred thousand objects and frees them all at once, without cycles. With the default threshold
# the collector would search them again and again, for a third of the time.
COLLECT_AFTER_OBJECTS = 1_000_000

SAY_EVERY_SECONDS = 1.0
DONE = b"\n"

_SQL = load("projections.rebuilding.part")
_log = structlog.get_logger(__name__)


@dataclass
class PartProgress:
    """A part of a version: its position, and the position up to which it is to be filled."""

    projection: Projection
    version: int
    part: Part
    position: int
    upto: int
    runner: UUID

    def values(self, batch: EventBatch) -> dict[str, Any]:
        """Return the values that writing a batch compares and sets."""
        return {
            "name": self.projection.name,
            "version": self.version,
            "number": self.part.number,
            "runner": self.runner,
            "after": batch.after,
            "upto": batch.upto,
            "moves": moves("fill"),
        }


def open_session(connection: Connection[Any]) -> None:
    """Set a connection up for rebuilding."""
    _SQL["session"].run(connection)


def fill(
    connection: Connection[Any],
    versions: Iterable[tuple[Projection, int]],
    number: int,
    go_on: Callable[[], bool] = lambda: True,
) -> None:
    """Fill the part with this number in several versions, until all are filled or none can continue.

    A version that is paused, cancelled or taken over by another process meanwhile is left. One that cannot be filled is
    marked as failed, and the others continue. Raises `psycopg.OperationalError` if the database is out of reach.
    """
    unfinished = [
        taken
        for projection, version in versions
        if (taken := _take_over(connection, projection, version, number))
    ]
    while go_on() and (unfinished := [filled for filled in unfinished if filled.position < filled.upto]):
        unfinished = _fill_some(connection, unfinished)


def _take_over(
    connection: Connection[Any], projection: Projection, version: int, number: int
) -> PartProgress | None:
    """Fence any other process that fills the part; return its progress, None if the part is gone."""
    runner = uuid4()
    wanted = {"name": projection.name, "version": version, "number": number, "runner": runner}
    row = _SQL["take_over"].row(connection, wanted)
    if row is None:
        return None
    parts, position, upto = row
    return PartProgress(projection, version, Part(number, parts), position, upto, runner)


def _fill_some(connection: Connection[Any], unfinished: list[PartProgress]) -> list[PartProgress]:
    """Advance the parts that are furthest behind by one batch; return all parts that are still to be filled."""
    after = min(filled.position for filled in unfinished)
    together = [filled for filled in unfinished if filled.position == after]
    part = together[0].part
    several = BATCH_EVENTS * part.parts
    if not any(filled.projection.all_events for filled in together):
        several *= 2
    upto = min(
        (after // several + 1) * several,
        *(filled.upto for filled in together),
        *(filled.position for filled in unfinished if filled.position > after),
    )
    stretch = read_stretch(connection, [filled.projection for filled in together], after, upto, part)
    left = [
        filled for filled in together if not _advance(connection, filled, stretch.batch(filled.projection))
    ]
    return [filled for filled in unfinished if filled not in left]


def _advance(connection: Connection[Any], filled: PartProgress, batch: EventBatch) -> bool:
    """Write a batch and move the part's position in one transaction; tell whether to continue with the part."""
    if batch.upto == batch.after:
        fail(connection, filled.projection.name, filled.version, _beyond(batch))
        return False
    try:
        if not advance(connection, filled, batch, 0.0, None, _SQL):
            return False
    except (
        errors.DeadlockDetected
    ):  # with another part, on rows that their streams share: the other one goes first
        return True
    except LOST:
        raise
    except Exception as error:  # noqa: BLE001 - any error is recorded, and stops only this version
        _log.exception("version cannot be filled", projection=filled.projection.name, version=filled.version)
        fail(connection, filled.projection.name, filled.version, describe(error))
        return False
    filled.position = batch.upto
    return True


def _beyond(batch: EventBatch) -> str:
    return f"it cannot be rebuilt beyond {batch.upto}: {batch.obstacle}"


def fail(connection: Connection[Any], name: str, version: int, reason: str) -> None:
    """Mark a rebuild as failed, unless it was paused or cancelled meanwhile."""
    wanted = {"name": name, "version": version, "reason": reason, "moves": moves("fail")}
    _SQL["fail"].run(connection, wanted)


def main() -> None:
    """Fill one part after the other: each line of JSON on standard input names one. Say `DONE` after each.

    End as soon as standard input ends. Only the parent holds the other end, so this process ends however the parent
    dies.
    """
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    asked: SimpleQueue[bytes] = SimpleQueue()
    threading.Thread(target=_hear, args=(asked,), name="lifeline", daemon=True).start()
    threading.Thread(target=_say_it_runs, name="sign of life", daemon=True).start()
    gc.set_threshold(COLLECT_AFTER_OBJECTS)
    with ExitStack() as connected:
        connection = None
        while True:
            part = json.loads(asked.get())
            if connection is None:
                database = Database(part["url"], part["schema"])
                connection = connected.enter_context(database.connect("tallystick filling"))
                open_session(connection)
            versions = [(find_projection(name), version) for name, version in part["versions"]]
            fill(connection, versions, part["number"])
            os.write(sys.stdout.fileno(), DONE)


def _say_it_runs() -> None:
    """Say so for as long as the interpreter goes on. A thread of its own, since a batch may take long to be folded.

    What the other one may wait for, within bounds of its own, is the database.
    """
    while True:
        os.write(sys.stdout.fileno(), b".")
        sleep(SAY_EVERY_SECONDS)


def _hear(asked: "SimpleQueue[bytes]") -> None:
    for line in sys.stdin.buffer:
        asked.put(line)
    os._exit(1)


if __name__ == "__main__":
    main()
