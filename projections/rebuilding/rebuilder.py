"""Carrying out rebuilds: a new version is filled beside the live one, compared with it, and put in its place.

Any number of processes may carry out rebuilds. For each rebuild one of them holds the place. The place is free as soon
as the holder's connection is gone, for whatever reason, and the next holder continues from the positions. The live
version is read and advanced all the time.
"""

import os
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from time import monotonic, sleep
from typing import Any

import psycopg
import structlog
from psycopg import Connection

from domain.journal.database import Database
from domain.journal.outage import DATABASE, is_lost
from domain.journal.queries import load
from domain.journal.silence import HOLDERS_OF_REBUILT, LOST, Watch
from projections.engine.leadership import Loop, Standby, release
from projections.engine.poison import describe
from projections.engine.projection import Projection
from projections.rebuilding.part import open_session
from projections.rebuilding.part_processes import fill_together
from projections.rebuilding.requests import (
    Rebuild,
    current_rebuilds,
    drop_cancelled,
    find_rebuild,
    request_rebuild,
)
from projections.rebuilding.switchover import Interrupted, Switching
from projections.rebuilding.transitions import UNDER_WAY, moves
from projections.rebuilding.unread_versions import drop_retired
from projections.registry import PROJECTIONS, find_projection, install, is_installed

LOOK_SECONDS = 0.5
REPORT_SECONDS = 0.1
PAUSE_AFTER_FAULT_SECONDS = 1.0
SILENCE_SECONDS = 30.0
"""How long a session that rebuilds may say nothing while others wait for it, also where no timer of the server runs."""

_SQL = load(__name__)
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
        """Serves all projections unless some are given. `workers` is the number of parts that long rebuilds are divided
        into, by default the number of cores. For `patience_seconds` after the start, rebuilds are left to others.
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


class Group:
    """Carries out rebuilds that were found at the same time, in threads of its own. They are filled together."""

    def __init__(
        self,
        database: Database,
        known: Mapping[str, Projection],
        rebuilds: Sequence[Rebuild],
        workers: int,
    ) -> None:
        self._database = database
        self._known = known
        self._workers = workers
        self._ending = threading.Event()
        self._connections: set[Connection[Any]] = set()
        self._rebuilds = {rebuild.name: rebuild for rebuild in rebuilds}
        self._thread = threading.Thread(target=self._run, name="rebuild", daemon=True)
        self._thread.start()

    def names(self) -> set[str]:
        """Return the projections whose rebuilds it still carries out."""
        return set(self._rebuilds)

    def end(self) -> None:
        """Stop at once, even in the middle of a statement. The rebuilds keep their state."""
        self._ending.set()
        while self._thread.is_alive():
            for connection in tuple(self._connections):
                with suppress(psycopg.Error):
                    connection.cancel_safe(timeout=1.0)
            self._thread.join(0.1)

    def _go_on(self) -> bool:
        return not self._ending.is_set()

    def _run(self) -> None:
        try:
            with self._connect() as connection:
                self._fill(connection)
                filled = self._largest_first(connection)
            with ThreadPoolExecutor(self._workers) as pool:
                list(pool.map(self._finish, filled))
        except Exception as error:  # noqa: BLE001 - the next holder of the place tries again
            self._note(error, tuple(self._rebuilds.values()))
        finally:
            self._rebuilds.clear()

    def _fill(self, connection: Connection[Any]) -> None:
        for rebuild in tuple(self._rebuilds.values()):
            drop_retired(connection, rebuild.name, rebuild.shape)
            wanted = {"name": rebuild.name, "version": rebuild.version, "moves": moves("begin")}
            _SQL["begin"].run(connection, wanted)
        self._leave(connection)

        def look() -> bool:
            self._leave(connection)
            return self._go_on() and bool(self._rebuilds)

        rebuilds = tuple(self._rebuilds.values())
        fill_together(self._database, connection, self._known, rebuilds, self._workers, look)
        self._leave(connection)

    def _leave(self, connection: Connection[Any]) -> None:
        """Drop from the group the rebuilds that were paused or cancelled or have failed."""
        for rebuild in tuple(self._rebuilds.values()):
            if find_rebuild(connection, rebuild.name, rebuild.version).state not in UNDER_WAY:
                del self._rebuilds[rebuild.name]

    def _largest_first(self, connection: Connection[Any]) -> list[Rebuild]:
        """Return the filled rebuilds, the longest first, so that no long one is left for the end."""
        versions = [rebuild.version for rebuild in self._rebuilds.values()]
        wanted = {"names": list(self._rebuilds), "versions": versions}
        return [self._rebuilds[name] for (name,) in _SQL["largest_first"].rows(connection, wanted)]

    def _finish(self, rebuild: Rebuild) -> None:
        try:
            with self._connect() as connection:
                Switching(self._database, connection, self._known[rebuild.name], rebuild, self._go_on).run()
        except Interrupted:
            pass
        except Exception as error:  # noqa: BLE001
            self._note(error, [rebuild])
        finally:
            self._rebuilds.pop(rebuild.name, None)

    def _note(self, error: Exception, rebuilds: Sequence[Rebuild]) -> None:
        is_usual = isinstance(error, _OUT_OF_REACH)
        if is_lost(error):
            DATABASE.lost("rebuilding", error, when_asked=True)
        else:
            _log.warning("rebuild interrupted", error=repr(error), exc_info=None if is_usual else error)
        with suppress(*_OUT_OF_REACH), self._database.connect("tallystick rebuild") as connection:
            for rebuild in rebuilds if self._go_on() else ():
                wanted = {"name": rebuild.name, "version": rebuild.version, "moves": moves("note")}
                _SQL["note"].run(connection, {**wanted, "error": describe(error)})
        self._ending.wait(PAUSE_AFTER_FAULT_SECONDS)

    @contextmanager
    def _connect(self) -> Iterator[Connection[Any]]:
        with self._database.connect("tallystick rebuild") as connection:
            open_session(connection)
            self._connections.add(connection)
            try:
                yield connection
            finally:
                self._connections.discard(connection)


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
        asked = [request_rebuild(connection, name, requested_by, reason, accept_difference) for name in names]
        with rebuilding(database, projections, workers, patience_seconds):
            while True:
                found = [find_rebuild(connection, rebuild.name, rebuild.version) for rebuild in asked]
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
