"""Switching to a filled version: create its indexes, catch up, compare, and put it in the live one's place.

The comparison reads one snapshot in which both versions are at the same position. To take it, the live version is
locked only while the new one catches up the rest. Both advance while the snapshot is read, however large they are. The
same code applies later events to both, and the switch happens where they meet again.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import Any, NamedTuple
from uuid import uuid4

import structlog
from psycopg import Connection
from psycopg.sql import SQL, Identifier
from pydantic_core import to_json

from domain.journal.queries import load
from domain.journal.silence import LOST
from projections.engine.batches import Claim, advance, read_batch, take_over
from projections.engine.comparison import TableComparison, compare
from projections.engine.live_version import one_instant
from projections.engine.poison import describe
from projections.engine.projection import Projection
from projections.engine.rate import RATE_SECONDS, Rate
from projections.rebuilding.part import fail
from projections.rebuilding.requests import Rebuild, find_rebuild, lock_out_requests
from projections.rebuilding.transitions import moves
from projections.registry import create_indexes

BATCH_EVENTS = 20_000
PINNED_SECONDS = 60
"""If a process is stopped just before it compares, it holds the live version up for at most this long."""

_SQL = load(__name__)
_log = structlog.get_logger(__name__)


class Interrupted(Exception):
    """The rebuild was paused, cancelled or taken over, or this process is to end. The rebuild keeps its state."""


class Failed(Exception):
    """The rebuild cannot continue. The message says why."""


class Live(NamedTuple):
    """The live version of the shape: its number, position and state."""

    version: int
    position: int
    state: str


class Switching:
    """Takes one filled version from filled to live, on a connection of its own, and on another while it compares."""

    def __init__(
        self,
        connect: Callable[[], AbstractContextManager[Connection[Any]]],
        connection: Connection[Any],
        projection: Projection,
        rebuild: Rebuild,
        go_on: Callable[[], bool],
    ) -> None:
        self._connect = connect
        self._connection = connection
        self._projection = projection
        self._version = rebuild.version
        self._go_on = go_on
        self._claim = Claim(projection, rebuild.version, uuid4(), "rebuilding")
        self._rate = Rate(RATE_SECONDS)
        self._named = {"name": projection.name, "version": rebuild.version, "shape": projection.shape}

    def run(self) -> None:
        """Continue until the version is live or a difference stops it. A failure is recorded.

        Raises `Interrupted`, and `psycopg.OperationalError` if the database is out of reach.
        """
        try:
            take_over(self._connection, self._claim)
            self._make_ready()
            if self._live().version == self._version:
                self._arrive()
            elif self._compare():
                self._switch()
        except Failed as failure:
            fail(self._connection, self._projection.name, self._version, str(failure))

    def _make_ready(self) -> None:
        create_indexes(self._connection, self._projection, self._version)
        for table in self._projection.table_names(self._version):
            self._connection.execute(SQL("ANALYZE {}").format(Identifier(table)))
        self._catch_up()

    def _catch_up(self) -> None:
        """Advance the version to the live one's position and never beyond, since they are compared there."""
        position = self._position()
        while position < (target := self._target()):
            if not self._go_on():
                raise Interrupted
            position = self._advance(position, min(target, position + BATCH_EVENTS))

    def _advance(self, position: int, upto: int) -> int:
        batch = read_batch(self._connection, self._projection, position, upto)
        if batch.upto == position:
            raise Failed(f"it cannot be rebuilt beyond {position}: {batch.obstacle}")
        rate = self._rate.measure(batch.upto - position)
        try:
            advanced = advance(self._connection, self._claim, batch, rate, None)
        except LOST:
            raise
        except Exception as error:
            _log.exception("version cannot be advanced", projection=self._projection.name)
            raise Failed(describe(error)) from error
        if not advanced:
            raise Interrupted
        return batch.upto

    def _arrive(self) -> None:
        """Make a version readable that is the only one of its shape. There is nothing to compare it with."""
        self._set_comparing()
        with self._connection.transaction():
            self._execute("durable")
            self._end()
            self._execute("promote", state="running")
        _log.info("projection arrived", projection=self._projection.name, version=self._version)

    def _compare(self) -> bool:
        """Compare with the live version and record the result; tell whether to switch."""
        self._set_comparing()
        with ExitStack() as pinned:
            self._pin_live(pinned)
            self._catch_up()
            with one_instant(self._connection):
                live = self._live()
                if live.position != self._position():
                    raise Interrupted
                pinned.close()
                # Without a comparison, an operator decides whether the new version is wanted all the same.
                missing = self._missing(live)
                found = (
                    []
                    if missing
                    else compare(self._connection, self._projection, live.version, self._version)
                )
                expected = (
                    f"version {live.version} lacks {', '.join(missing)}" if missing else self._expected(live)
                )
        is_equal = not missing and all(comparison.equal for comparison in found)
        return self._record(live, found, expected, is_equal=is_equal)

    def _missing(self, live: Live) -> list[str]:
        """Return the tables of the live version that do not exist, because somebody dropped or renamed them."""
        wanted = {"names": self._projection.table_names(live.version)}
        return [table for (table,) in _SQL["missing_tables"].rows(self._connection, wanted)]

    def _pin_live(self, pinned: ExitStack) -> None:
        """Hold the live version at its position until the stack is closed."""
        connection = pinned.enter_context(self._connect())
        pinned.enter_context(connection.transaction())
        _SQL["bound"].run(connection, {"silence": f"{PINNED_SECONDS}s"})
        _SQL["lock_version"].run(connection, {**self._named, "version": self._live().version})

    def _expected(self, live: Live) -> str | None:
        """Return why the versions may differ: either may have dead letters that the other lacks. None if no reason."""
        wanted = {**self._named, "live": live.version}
        letters = _SQL["letters"].rows(self._connection, wanted)
        lacking = [f"version {version} lacks what {count} dead letters hold" for version, count in letters]
        return " and ".join(lacking) or None

    def _record(
        self, live: Live, found: list[TableComparison], expected: str | None, *, is_equal: bool
    ) -> bool:
        rebuild = find_rebuild(self._connection, self._projection.name, self._version)
        is_refused = not is_equal and rebuild.accept_difference is None
        recorded = self._execute(
            "compared",
            replaced=live.version,
            position=live.position,
            comparison=to_json([comparison._asdict() for comparison in found]).decode(),
            expected=None if is_equal else expected,
            moves=moves("differ" if is_refused else "agree"),
        )
        if not recorded:
            raise Interrupted
        if not is_equal:
            _log.warning("versions differ", projection=self._projection.name, version=self._version)
        return not is_refused

    def _switch(self) -> None:
        self._catch_up()
        with self._connection.transaction():
            self._execute("durable")
            # Requests lock in this order too: the projection, whose row `switch_older` changes, the rebuild, a version.
            lock_out_requests(self._connection, self._projection.name)
            self._end()
            _SQL["lock_version"].run(self._connection, {**self._named, "version": self._live().version})
            self._catch_up()
            live = self._live()
            # An operator's pause outlasts a rebuild. A halt does not: mending its cause is what a rebuild is for.
            state = "paused" if live.state == "paused" else "running"
            self._execute("retire", replaced=live.version)
            self._execute("promote", state=state)
            self._execute("switch_older", replaced=live.version)
        _log.info("projection switched", projection=self._projection.name, version=self._version)

    def _set_comparing(self) -> None:
        if not self._execute("set_comparing", moves=moves("compare")):
            raise Interrupted

    def _end(self) -> None:
        if not self._execute("switched", moves=moves("switch")):
            raise Interrupted

    def _target(self) -> int:
        live = self._live()
        return live.position if live.version != self._version else int(self._fetch("head")[0])

    def _live(self) -> Live:
        return Live(*self._fetch("live"))

    def _position(self) -> int:
        return int(self._fetch("position")[0])

    def _execute(self, name: str, **values: Any) -> int:
        return _SQL[name].run(self._connection, {**self._named, **values}).rowcount

    def _fetch(self, name: str) -> tuple[Any, ...]:
        row: tuple[Any, ...] | None = _SQL[name].row(self._connection, self._named)
        if row is None:  # the version, or the live one, was dropped
            raise Interrupted
        return row
