"""Carrying out rebuilds: a new version is filled beside the live one, compared with it, and put in its place.

Any number of processes may carry out rebuilds. For each rebuild one of them holds the place. The place is free as soon
as the holder's connection is gone, for whatever reason, and the next holder continues from the positions. The live
version is read and advanced all the time.
"""

import os
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from time import monotonic, sleep
from typing import Any

import structlog
from psycopg import Connection

from domain.journal.database import Database
from domain.journal.silence import HOLDERS_OF_REBUILT, LOST, Watch
from projections.engine.leadership import Loop, Standby, release
from projections.engine.projection import Projection
from projections.rebuilding.group import PAUSE_AFTER_FAULT_SECONDS, Group
from projections.rebuilding.requests import (
    Rebuild,
    current_rebuilds,
    drop_cancelled,
    find_rebuilds,
    request_rebuild,
)
from projections.rebuilding.transitions import UNDER_WAY
from projections.registry import PROJECTIONS, find_projection, install, is_installed

LOOK_SECONDS = 0.5
REPORT_SECONDS = 0.05
SILENCE_SECONDS = 30.0
"""How long a session that rebuilds may say nothing while others wait for it, also where no timer of the server runs."""

_log = structlog.get_logger(__name__)

_OUT_OF_REACH = LOST


Report = Callable[[Sequence[Rebuild]], None]
"""A callback that gets the progress of rebuilds several times a second."""


class Rebuilder:
    """Carries out the rebuilds of this release's shapes that it finds, until stopped."""

    def __init__(
        self,
        database: Database,
        stop: threading.Event,
        projections: Collection[Projection] | None = None,
        workers: int | None = None,
        patience_seconds: float = 0.0,
    ) -> None:
        """Serves all projections unless some are given. `workers` is how many things are done at once, such as portions
        filled: by default the number of cores. For `patience_seconds` after the start, rebuilds are left to others.
        """
        self._database = database
        self._stop = stop
        chosen = PROJECTIONS.values() if projections is None else projections
        self._known = {projection.name: projection for projection in chosen}
        self._workers = workers or len(os.sched_getaffinity(0))
        self._not_before = monotonic() + patience_seconds
        self._standby = Standby()
        self._groups: list[Group] = []

    def run(self) -> None:
        """Run until stopped. A failure of the database only interrupts it."""
        Loop(
            self._database,
            "rebuilds",
            failed=_say_failed,
            pause_seconds=lambda _: PAUSE_AFTER_FAULT_SECONDS,
            ended=self._end_groups,
        ).run(self._stop, self._serve)

    def _end_groups(self) -> None:
        """End the groups. Their places are lost with the connection."""
        for group in self._groups:
            group.end()
        self._groups = []

    def _serve(self, connection: Connection[Any]) -> None:
        # One connection holds many places, so the loop takes none.
        held: set[str] = set()
        watch = Watch(HOLDERS_OF_REBUILT, {"silence": SILENCE_SECONDS})
        while not self._stop.is_set():
            busy = {name for group in self._groups for name in group.names()}
            for name in held - busy:
                release(connection, "rebuild", self._known[name].of_shape)
            held &= busy
            self._groups = [group for group in self._groups if group.names()]
            if not is_installed(connection, self._known.values()):
                install(self._database, self._known.values())
            if monotonic() >= self._not_before and (taken := self._take(connection, held)):
                held |= {rebuild.name for rebuild in taken}
                self._groups.append(Group(self._database, self._known, taken, self._workers))
            if self._groups:
                watch.look(connection)
            drop_cancelled(connection)
            self._stop.wait(LOOK_SECONDS)

    def _take(self, connection: Connection[Any], held: Collection[str]) -> list[Rebuild]:
        """Take the free places of rebuilds that are to be carried out; return these rebuilds."""
        return [
            rebuild
            for rebuild in current_rebuilds(connection, self._known.values())
            if rebuild.state in UNDER_WAY
            and rebuild.name not in held
            and self._standby.try_acquire(connection, "rebuild", self._known[rebuild.name].of_shape)
        ]


def _say_failed(error: Exception) -> None:
    if isinstance(error, _OUT_OF_REACH):
        _log.warning("rebuilds interrupted", error=str(error))
    else:
        _log.error("rebuilds interrupted", exc_info=error)


def rebuild_together(
    database: Database,
    names: Sequence[str],
    *,
    requested_by: str = "tallystick",
    reason: str | None = None,
    accept_difference: str | None = None,
    report: Report = lambda rebuilds: None,
    workers: int | None = None,
    patience_seconds: float = 0.0,
) -> list[Rebuild]:
    """Request rebuilds and see them through; return them once each has ended or waits for an operator.

    They are carried out here unless another process takes them within `patience_seconds`. Raises `ProjectionNotFound`,
    and `psycopg.OperationalError` if the database is out of reach. The requests then remain.
    """
    projections = [find_projection(name) for name in names]
    with database.connect("tallystick replay") as connection:
        # At once, so that whoever takes one of them takes all; in an order, so that nobody waits in a circle.
        with connection.transaction():
            asked = {
                name: request_rebuild(connection, name, requested_by, reason, accept_difference)
                for name in sorted(names)
            }
        versions = [(name, asked[name].version) for name in names]
        with rebuilding(database, projections, workers, patience_seconds):
            while True:
                found = find_rebuilds(connection, versions)
                report(found)
                if all(rebuild.state not in UNDER_WAY for rebuild in found):
                    return found
                sleep(REPORT_SECONDS)


def rebuild(database: Database, name: str, **options: Any) -> Rebuild:
    """Rebuild one projection as `rebuild_together` does."""
    return rebuild_together(database, [name], **options)[0]


@contextmanager
def rebuilding(
    database: Database,
    projections: Collection[Projection] | None = None,
    workers: int | None = None,
    patience_seconds: float = 0.0,
) -> Iterator[None]:
    """Carry out requested rebuilds for as long as the context lasts."""
    stop = threading.Event()
    rebuilder = Rebuilder(database, stop, projections, workers, patience_seconds)
    thread = threading.Thread(target=rebuilder.run, name="rebuilds", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
