"""The runner: advances the live version of one projection alone, in a connection of its own.

Releases that know the same shape share a version of it, and any of them may hold its place. A runner that meets an
event of a newer release halts the version, logs that, and leaves the place to a release that can read the event. A
runner that finds a version halted for this reason, and can read the event, resumes it.
"""

import threading
from collections.abc import Callable
from time import monotonic
from typing import Any
from uuid import uuid4

import structlog
from psycopg import Connection

from domain.journal.database import Database
from domain.journal.outage import is_lost, outage_of
from domain.journal.silence import LOST
from projections.engine.batches import (
    Claim,
    Contradicted,
    EventBatch,
    TooManyHeld,
    advance,
    go_on,
    halt,
    read_batch,
    take_over,
)
from projections.engine.journal_listener import JournalListener
from projections.engine.leadership import STANDBY_SECONDS, Loop, Pauses, Standby
from projections.engine.poison import describe
from projections.engine.projection import Projection
from projections.engine.rate import RATE_SECONDS, Rate
from projections.engine.recent_events import RecentEvents
from projections.running.pace import FIRST_BATCH_EVENTS, BatchSize, linger_seconds
from projections.running.positions import projections_channel
from projections.running.standing import (
    LiveStanding,
    clear_error,
    prepare_session,
    record_error,
    standings,
)

POLL_SECONDS = 0.25
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 5.0
RECONNECT_SECONDS = 0.25

ALONE_SECONDS = 2.0
"""How long a projection that left the convoy advances alone, at least."""

Tell = Callable[[Projection, EventBatch, float, float], None]
"""Told of each batch that was written, and when that began and ended, in seconds of `monotonic`."""

_log = structlog.get_logger(__name__)


class Fenced(Exception):
    """Another runner has taken over the version, although this one holds the place."""


class NewerReleaseNeeded(Exception):
    """This release cannot read the next event of the version."""


def tell_nobody(projection: Projection, batch: EventBatch, began_at: float, ended_at: float) -> None:
    """Ignore a batch."""


class Runner:
    """Advances the live version of one projection for as long as it holds the place."""

    def __init__(
        self,
        database: Database,
        projection: Projection,
        stop: threading.Event,
        tail: RecentEvents,
        tell: Tell = tell_nobody,
    ) -> None:
        """`tail` is shared by the runners of a process."""
        self.projection = projection
        self._tail = tail
        self._tell = tell
        self._database = database
        self._stop = stop
        self._id = uuid4()
        self._pauses = Pauses(FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
        self._rate = Rate(RATE_SECONDS)
        self._unreadable_after: int | None = None
        self._size = BatchSize()
        self._return_at: float | None = None
        self._is_done = False

    def run(self) -> None:
        """Run until stopped. After a failure start again, after a pause that grows with each further failure."""
        self._loop().run(self._stop, self._serve)

    def run_until_in_step(self) -> None:
        """Run until stopped, or until the version is close to the head and healthy, or advanced by others."""
        loop = self._loop()
        self._is_done = False
        self._return_at = monotonic() + ALONE_SECONDS
        while not self._stop.is_set() and not self._is_done:
            loop.turn(self._stop, self._serve)
        outage_of(loop.database).ended(loop.part)

    def _loop(self) -> Loop:
        return Loop(
            self._database,
            f"projection {self.projection.name}",
            failed=self._say_failed,
            # Readers wait for it and it works as soon as it connects, so the pause of a lost connection does not grow.
            pause_seconds=lambda error: RECONNECT_SECONDS if is_lost(error) else self._pauses.next_seconds(),
        )

    def _say_failed(self, error: Exception) -> None:
        name = self.projection.name
        if isinstance(error, Fenced):
            _log.warning("projection was taken over by another runner", projection=name)
        elif isinstance(error, NewerReleaseNeeded):
            _log.warning("projection is left to a newer release", projection=name)
        elif isinstance(error, LOST):
            _log.warning("projection interrupted", projection=name, error=describe(error))
        else:
            _log.error("projection failed", projection=name, exc_info=error)

    def _serve(self, connection: Connection[Any]) -> None:
        self._tail.forget()
        # The place may be free and still be left to others, so the loop does not take it.
        standby = Standby()
        while self._is_left_to_others(connection) or not standby.try_acquire(
            connection, "projection", self.projection.of_shape
        ):
            if self._return_at is not None and not self._is_left_to_others(connection):
                self._is_done = True  # others advance it, and the convoy stands by for them
                return
            if self._stop.wait(STANDBY_SECONDS):
                return
        prepare_session(connection)
        try:
            self._follow(connection)
        except (Fenced, NewerReleaseNeeded):
            raise
        except Exception as error:
            record_error(connection, [self.projection.name], self._id, error)
            raise

    def _follow(self, connection: Connection[Any]) -> None:
        claim: Claim | None = None
        listener = JournalListener(connection, self._database)
        while not self._stop.is_set():
            listener.hear()
            standing = self._standing(connection)
            # A switch leaves the version it makes live to nobody, so that it is taken anew.
            if claim is None or claim.version != standing.version or standing.runner is None:
                claim = Claim(self.projection, standing.version, self._id, "running")
                take_over(connection, claim)
            elif standing.runner != self._id:
                raise Fenced
            elif standing.needs_newer_release:
                self._read_on(connection, claim, standing)
            elif self._is_in_step(standing):
                self._is_done = True
                return
            elif standing.state == "running" and standing.lag_events > 0:
                self._advance(connection, claim, standing)
            else:
                if standing.state == "running" and standing.last_error is not None:
                    clear_error(connection, self.projection.name, claim.version, self._id)
                listener.hear(POLL_SECONDS)

    def _is_in_step(self, standing: LiveStanding) -> bool:
        """Tell whether the version can advance with the others again."""
        return (
            self._return_at is not None
            and monotonic() >= self._return_at
            and standing.state == "running"
            and standing.last_error is None
            and standing.lag_events <= FIRST_BATCH_EVENTS
        )

    def _standing(self, connection: Connection[Any]) -> LiveStanding:
        name = self.projection.name
        found = standings(connection, [self.projection])
        if name not in found:
            raise LookupError(f"projection {name} is not installed")
        return found[name]

    def _is_left_to_others(self, connection: Connection[Any]) -> bool:
        """Tell whether the version is still at the event that this release could not read."""
        if self._unreadable_after is None:
            return False
        standing = self._standing(connection)
        return standing.needs_newer_release and standing.position == self._unreadable_after

    def _read_on(self, connection: Connection[Any], claim: Claim, standing: LiveStanding) -> None:
        """Resume a version that another release could not read on. Raises `NewerReleaseNeeded` if this one cannot."""
        batch = read_batch(connection, self.projection, standing.position, standing.position + 1)
        if batch.needs_newer_release:
            self._unreadable_after = standing.position
            raise NewerReleaseNeeded
        go_on(connection, claim, batch)

    def _advance(self, connection: Connection[Any], claim: Claim, standing: LiveStanding) -> None:
        upto = min(standing.head, standing.position + self._size.events)
        if upto < standing.head:
            upto = self._tail.last_whole(connection, standing.position, upto)
        batch = self._tail.batch(connection, self.projection, standing.position, upto) or read_batch(
            connection, self.projection, standing.position, upto
        )
        if batch.upto == batch.after:
            self._halt(connection, claim, batch, batch.obstacle or "")
            return
        channel = projections_channel(self._database)
        rate = self._rate.measure(batch.upto - batch.after)
        self._size.attempt()
        began_at = monotonic()
        try:
            advanced = advance(connection, claim, batch, rate, channel)
        except Contradicted as error:
            self._halt(connection, claim, batch, str(error))
            return
        except TooManyHeld as error:
            _log.error("projection halted", projection=self.projection.name, reason=str(error))
            return
        if advanced:
            ended_at = monotonic()
            self._tell(self.projection, batch, began_at, ended_at)
            self._size.succeed(batch.stored_bytes)
            self._pauses.reset()
            if batch.upto == standing.head:
                took_seconds, is_wanted = ended_at - began_at, bool(batch.events)
                seconds = linger_seconds(
                    self.projection, batch, took_seconds=took_seconds, is_wanted=is_wanted
                )
                self._stop.wait(max(0.0, began_at + seconds - monotonic()))

    def _halt(self, connection: Connection[Any], claim: Claim, batch: EventBatch, reason: str) -> None:
        _log.error("projection halted", projection=self.projection.name, position=batch.after, reason=reason)
        halt(connection, claim, batch, reason)
