"""A group: rebuilds that were found at the same time, carried out together in threads of its own.

There are as many threads as cores. Each takes the next thing to do: to see one portion filled by a process, or to
switch to one version that is filled. So the indexes of one version are made while others are still filled, and every
core has something to do until nearly the end.
"""

import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from typing import Any

import psycopg
import structlog
from psycopg import Connection

from domain.journal.database import Database
from domain.journal.outage import is_lost, outage_of
from domain.journal.queries import load
from domain.journal.silence import LOST
from projections.engine.poison import describe
from projections.engine.projection import Projection
from projections.engine.rate import RATE_SECONDS, Rate
from projections.rebuilding.division import Portion, divide
from projections.rebuilding.part import fill, open_session
from projections.rebuilding.part_processes import PartProcess
from projections.rebuilding.requests import Rebuild, find_rebuild, find_rebuilds
from projections.rebuilding.switchover import Interrupted, Switching
from projections.rebuilding.transitions import UNDER_WAY, moves
from projections.rebuilding.unread_versions import drop_retired

LOOK_SECONDS = 0.2
PAUSE_AFTER_FAULT_SECONDS = 1.0

_SQL = load(__name__)
_log = structlog.get_logger(__name__)


class Group:
    """Carries out rebuilds until each has ended, waits for an operator, or is interrupted."""

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
        self._is_ended = False
        self._over = threading.Event()
        self._connections: set[Connection[Any]] = set()
        self._idle: SimpleQueue[Connection[Any]] = SimpleQueue()
        """The connections that nobody uses at the moment. To open one takes 10 ms of the machine's time."""
        self._rebuilds = {rebuild.name: rebuild for rebuild in rebuilds}
        self._rates = {rebuild.name: (rebuild.position, Rate(RATE_SECONDS)) for rebuild in rebuilds}
        self._portions: deque[Portion] = deque()
        self._unfilled: Counter[str] = Counter()
        """How many portions of each projection are still to be filled."""
        self._counting = threading.Lock()
        self._processes: SimpleQueue[PartProcess] = SimpleQueue()
        """The processes that have nothing to fill at the moment."""
        self._pool = ThreadPoolExecutor(workers, "rebuild")
        self._tasks: list[Future[None]] = []
        self._thread = threading.Thread(target=self._run, name="rebuild", daemon=True)
        self._thread.start()

    def names(self) -> set[str]:
        """Return the projections whose rebuilds it still carries out."""
        return set(self._rebuilds)

    def end(self) -> None:
        """Stop at once, even in the middle of a statement. The rebuilds keep their state."""
        self._is_ended = True
        self._over.set()
        while self._thread.is_alive():
            for connection in tuple(self._connections):
                with suppress(psycopg.Error):
                    connection.cancel_safe(timeout=1.0)
            self._thread.join(0.1)

    def _go_on(self) -> bool:
        return not self._over.is_set()

    def _run(self) -> None:
        try:
            with self._connect() as connection, self._pool:
                try:
                    self._begin(connection)
                    self._watch(connection)
                finally:
                    self._over.set()
            for task in self._tasks:
                task.result()
        except Exception as error:  # noqa: BLE001 - the next holder of the place tries again
            self._note(error, tuple(self._rebuilds.values()))
        finally:
            self._end_processes()
            for connection in self._connections:
                connection.close()
            self._rebuilds.clear()

    def _begin(self, connection: Connection[Any]) -> None:
        """Start all that can be done at once: first the processes, since that takes longest."""
        for rebuild in self._rebuilds.values():
            wanted = {"name": rebuild.name, "version": rebuild.version, "moves": moves("begin")}
            _SQL["begin"].run(connection, wanted)
        self._leave(connection)
        rebuilds = tuple(self._rebuilds.values())
        self._portions.extend(divide(connection, self._known, rebuilds, self._workers))
        self._unfilled.update(name for portion in self._portions for name, _ in portion.versions)
        for _ in range(min(self._workers, sum(not portion.is_short for portion in self._portions))):
            process = PartProcess()
            process.start()
            self._processes.put(process)
        # Before any version is switched to: the one that it replaces is kept.
        for rebuild in rebuilds:
            drop_retired(connection, rebuild.name, rebuild.shape)
        for _ in tuple(self._portions):
            self._submit(self._fill)
        for rebuild in rebuilds:
            if not self._unfilled[rebuild.name]:
                self._submit(self._finish, rebuild)

    def _submit(self, task: Callable[..., None], *given: Any) -> None:
        self._tasks.append(self._pool.submit(task, *given))

    def _watch(self, connection: Connection[Any]) -> None:
        """Look after the rebuilds, and measure how fast they are filled, until nothing is left to do."""
        while unended := [task for task in self._tasks if not task.done()]:
            wait(unended, LOOK_SECONDS)
            if unfilled := self._leave(connection):
                self._measure(connection, unfilled)

    def _leave(self, connection: Connection[Any]) -> list[Rebuild]:
        """Drop from the group the rebuilds that were paused or cancelled or have failed; return those being filled.

        One that is filled is left to whoever switches to it.
        """
        versions = [(rebuild.name, rebuild.version) for rebuild in tuple(self._rebuilds.values())]
        found = find_rebuilds(connection, versions)
        for rebuild in found:
            if rebuild.state not in UNDER_WAY and (self._unfilled[rebuild.name] or not self._tasks):
                self._rebuilds.pop(rebuild.name, None)
        return [rebuild for rebuild in found if self._unfilled[rebuild.name]]

    def _measure(self, connection: Connection[Any], rebuilds: Sequence[Rebuild]) -> None:
        rates: dict[str, float] = {}
        for rebuild in rebuilds:
            last, rate = self._rates[rebuild.name]
            rates[rebuild.name] = rate.measure(max(0, rebuild.position - last))
            self._rates[rebuild.name] = rebuild.position, rate
        versions = [rebuild.version for rebuild in rebuilds]
        wanted = {"names": list(rates), "versions": versions, "rates": list(rates.values())}
        _SQL["measured"].run(connection, wanted)

    def _fill(self) -> None:
        """See the next portion filled, and begin to switch to the versions that are filled with it."""
        portion = self._portions.popleft()
        if portion.is_short:
            with self._connect() as connection:
                versions = [(self._known[name], version) for name, version in portion.versions]
                fill(connection, versions, portion.number, lambda: self._wants(portion))
        else:
            process = self._idle_process()
            try:
                process.fill(self._database, portion, lambda: self._wants(portion))
            finally:
                self._processes.put(process)
                if not self._portions:
                    self._end_processes()
        for rebuild in portion.rebuilds:
            if self._is_filled(rebuild):
                self._submit(self._finish, rebuild)

    def _idle_process(self) -> PartProcess:
        try:
            return self._processes.get_nowait()
        except Empty:
            return PartProcess()

    def _end_processes(self) -> None:
        """End the processes that have nothing to fill."""
        with suppress(Empty):
            while True:
                self._processes.get_nowait().end()

    def _wants(self, portion: Portion) -> bool:
        return self._go_on() and any(name in self._rebuilds for name, _ in portion.versions)

    def _is_filled(self, rebuild: Rebuild) -> bool:
        """Count a portion that is filled; tell whether it was the last of a rebuild that is still carried out."""
        with self._counting:
            self._unfilled[rebuild.name] -= 1
            return not self._unfilled[rebuild.name] and self._go_on() and rebuild.name in self._rebuilds

    def _finish(self, rebuild: Rebuild) -> None:
        try:
            with self._connect() as connection:
                _SQL["unite"].run(connection, {"name": rebuild.name, "version": rebuild.version})
                if find_rebuild(connection, rebuild.name, rebuild.version).state in UNDER_WAY:
                    projection = self._known[rebuild.name]
                    Switching(self._connect, connection, projection, rebuild, self._go_on).run()
        except Interrupted:
            pass
        except Exception as error:  # noqa: BLE001
            self._note(error, [rebuild])
        finally:
            self._rebuilds.pop(rebuild.name, None)

    def _note(self, error: Exception, rebuilds: Sequence[Rebuild]) -> None:
        is_usual = isinstance(error, LOST)
        if is_lost(error):
            outage_of(self._database).lost("rebuilding", error, when_asked=True)
        else:
            _log.warning("rebuild interrupted", error=repr(error), exc_info=None if is_usual else error)
        if self._is_ended:
            return
        with suppress(*LOST), self._database.connect("tallystick rebuild") as connection:
            for rebuild in rebuilds:
                wanted = {"name": rebuild.name, "version": rebuild.version, "moves": moves("note")}
                _SQL["note"].run(connection, {**wanted, "error": describe(error)})
        self._over.wait(PAUSE_AFTER_FAULT_SECONDS)

    @contextmanager
    def _connect(self) -> Iterator[Connection[Any]]:
        """Yield a connection for rebuilding. It is kept for others, unless this one ends with an exception."""
        connection = self._kept() or self._opened()
        try:
            yield connection
        except BaseException:
            self._close(connection)
            raise
        self._idle.put(connection)

    def _kept(self) -> Connection[Any] | None:
        """Return a connection that nobody uses, None if there is none. Those that the server has ended are left."""
        with suppress(Empty):
            while True:
                connection = self._idle.get_nowait()
                with suppress(*LOST):
                    open_session(connection)
                    return connection
                self._close(connection)
        return None

    def _opened(self) -> Connection[Any]:
        connection = self._database.connect("tallystick rebuild")
        self._connections.add(connection)
        open_session(connection)
        return connection

    def _close(self, connection: Connection[Any]) -> None:
        self._connections.discard(connection)
        connection.close()
