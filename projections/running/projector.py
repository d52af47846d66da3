"""The projector: advances the live version of every projection, each in a thread and connection of its own.

It advances only the versions whose shapes this release knows. The projectors of other releases advance theirs. Any
number of projectors may run: for each projection and shape one runner holds the place, and the others stand by. A place
is free as soon as the connection of its holder is gone. A runner is woken by a notification when events arrive. Since a
notification can be missed, it polls as well.

Releases that know the same shape share a version of it, and any of them may hold its place. A runner that meets an
event of a newer release halts the version, logs that, and leaves the place to a release that can read the event. A
runner that finds a version halted for this reason, and can read the event, resumes it.
"""

import threading
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import psycopg
import structlog
from psycopg import Connection

from domain.journal.database import Database
from domain.journal.encoding import NewerVersion
from domain.journal.outage import DATABASE, is_lost
from domain.journal.queries import load
from domain.journal.silence import LOST
from domain.tracing import Tracer
from projections.engine.batches import (
    MAX_BATCH_BYTES,
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
from projections.read_models import seals
from projections.rebuilding.rebuilder import Rebuilder
from projections.registry import PROJECTIONS, install
from projections.running.batch_spans import TracedAdvance
from projections.running.positions import projections_channel
from projections.transparency.signer import Sealer

MAX_BATCH_EVENTS = 5_000
FIRST_BATCH_EVENTS = 500
POLL_SECONDS = 0.25
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 5.0
RECONNECT_SECONDS = 0.25

# Small batches cost more per event than large ones, so events are collected for a moment. The longer moment applies
# when many events come: otherwise a projector that follows each of them takes as much of the machine as the writers
# (measured at 4,000 transfers/s: a fifth less for projector and database together), and the lag is at most this long.
# It also applies when none of the last events concerned the projection.
LINGER_SECONDS = 0.01
LONG_LINGER_SECONDS = 0.1
BUSY_EVENTS_PER_SECOND = 3_000

_SQL = load(__name__)
_log = structlog.get_logger(__name__)

# Lost connections, deadlocks, a full disk: failures that may pass are retried for ever.
_OUT_OF_REACH = LOST


class Fenced(Exception):
    """Another runner has taken over the version, although this one holds the place."""


class NewerReleaseNeeded(Exception):
    """This release cannot read the next event of the version."""


class LiveStanding(NamedTuple):
    """The position and state of a projection's live version, and the head of the journal."""

    version: int
    position: int
    state: str
    runner: UUID | None
    last_error: str | None
    head: int

    @property
    def needs_newer_release(self) -> bool:
        """Whether a release that could not read the next event halted it."""
        return self.state == "halted" and (self.last_error or "").startswith(f"{NewerVersion.reason}:")


def run_projector(
    database: Database,
    stop: threading.Event,
    projections: Iterable[Projection] = tuple(PROJECTIONS.values()),
    signing_seeds: Sequence[bytes] = (),
    tracer: Tracer | None = None,
) -> None:
    """Install projections, run them and carry out their rebuilds until `stop` is set. Failures are retried.

    If the seals are among the projections, checkpoints are signed as well: with the keys of `signing_seeds`, or with a
    stored key if none are given. `tracer` is told of the batches that have events of sampled traces.
    """
    projections = tuple(projections)
    _prepare(database, stop, projections)
    tail, arrivals = RecentEvents(), JournalListener(database)
    write = advance if tracer is None else TracedAdvance(tracer)
    runners = [Runner(database, projection, stop, tail, arrivals, write) for projection in projections]
    threads = [
        threading.Thread(target=runner.run, name=f"projection {runner.projection.name}", daemon=True)
        for runner in runners
    ]
    threads.append(threading.Thread(target=arrivals.run, args=(stop,), name="arrivals", daemon=True))
    rebuilder = Rebuilder(database, stop, projections)
    threads.append(threading.Thread(target=rebuilder.run, name="rebuilds", daemon=True))
    if seals.PROJECTION in projections:
        sealer = Sealer(database, signing_seeds, stop)
        threads.append(threading.Thread(target=sealer.run, name="sealer", daemon=True))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _prepare(database: Database, stop: threading.Event, projections: Collection[Projection]) -> None:
    pauses = Pauses(FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
    while not stop.is_set():
        try:
            install(database, projections)
            DATABASE.back("installation")
            return
        except psycopg.Error as error:
            if is_lost(error):
                DATABASE.lost("installation", error)
            else:
                _log.warning("projections cannot be installed yet", error=str(error))
            stop.wait(pauses.next_seconds())


class Runner:
    """Advances the live version of one projection for as long as it holds the place."""

    def __init__(
        self,
        database: Database,
        projection: Projection,
        stop: threading.Event,
        tail: RecentEvents,
        arrivals: JournalListener,
        write: Callable[[Connection[Any], Claim, EventBatch, float, str | None], bool] = advance,
    ) -> None:
        """`tail` and `arrivals` are shared by the runners of a process. `write` is `advance`, or does it as well."""
        self.projection = projection
        self._tail = tail
        self._arrivals = arrivals
        self._write = write
        self._database = database
        self._stop = stop
        self._id = uuid4()
        self._pauses = Pauses(FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
        self._rate = Rate(RATE_SECONDS)
        self._unreadable_after: int | None = None
        self._max_events = FIRST_BATCH_EVENTS

    def run(self) -> None:
        """Run until stopped. After a failure start again, after a pause that grows with each further failure."""
        Loop(
            self._database,
            f"projection {self.projection.name}",
            failed=self._say_failed,
            # Readers wait for it and it works as soon as it connects, so the pause of a lost connection does not grow.
            pause_seconds=lambda error: RECONNECT_SECONDS if is_lost(error) else self._pauses.next_seconds(),
        ).run(self._stop, self._serve)

    def _say_failed(self, error: Exception) -> None:
        name = self.projection.name
        if isinstance(error, Fenced):
            _log.warning("projection was taken over by another runner", projection=name)
        elif isinstance(error, NewerReleaseNeeded):
            _log.warning("projection is left to a newer release", projection=name)
        elif isinstance(error, _OUT_OF_REACH):
            _log.warning("projection interrupted", projection=name, error=describe(error))
        else:
            _log.error("projection failed", projection=name, exc_info=error)

    def _serve(self, connection: Connection[Any]) -> None:
        # The place may be free and still be left to others, so the loop does not take it.
        standby = Standby()
        while self._is_left_to_others(connection) or not standby.try_acquire(
            connection, "projection", self.projection.of_shape
        ):
            if self._stop.wait(STANDBY_SECONDS):
                return
        _SQL["session"].run(connection)
        try:
            self._follow(connection)
        except (Fenced, NewerReleaseNeeded):
            raise
        except Exception as error:
            self._record(connection, error)
            raise

    def _follow(self, connection: Connection[Any]) -> None:
        claim: Claim | None = None
        while not self._stop.is_set():
            known = self._arrivals.count
            standing = self._standing(connection)
            # A switch leaves the version it makes live to nobody, so that it is taken anew.
            if claim is None or claim.version != standing.version or standing.runner is None:
                claim = Claim(self.projection, standing.version, self._id, "running")
                take_over(connection, claim)
            elif standing.runner != self._id:
                raise Fenced
            elif standing.needs_newer_release:
                self._read_on(connection, claim, standing)
            elif standing.state == "running" and standing.head > standing.position:
                self._advance(connection, claim, standing)
            else:
                if standing.state == "running" and standing.last_error is not None:
                    # It failed when there was nothing to project, so no advance will clear the error.
                    wanted = {"name": self.projection.name, "version": claim.version, "runner": self._id}
                    _SQL["clear_error"].run(connection, wanted)
                self._arrivals.wait(known, POLL_SECONDS)

    def _standing(self, connection: Connection[Any]) -> LiveStanding:
        wanted = {"name": self.projection.name, "shape": self.projection.shape}
        row = _SQL["standing"].row(connection, wanted, prepare=True)
        if row is None:
            raise LookupError(f"projection {self.projection.name} is not installed")
        return LiveStanding(*row)

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
        upto = min(standing.head, standing.position + min(self._max_events, MAX_BATCH_EVENTS))
        batch = self._tail.batch(connection, self.projection, standing.position, upto) or read_batch(
            connection, self.projection, standing.position, upto
        )
        if batch.upto == batch.after:
            self._halt(connection, claim, batch, batch.obstacle or "")
            return
        channel = projections_channel(self._database)
        rate = self._rate.measure(batch.upto - batch.after)
        # Halved in advance: if the advance takes so long that the place is lost, the next batch is smaller.
        before, self._max_events = self._max_events, max(1, self._max_events // 2)
        try:
            advanced = self._write(connection, claim, batch, rate, channel)
        except Contradicted as error:
            self._halt(connection, claim, batch, str(error))
            return
        except TooManyHeld as error:
            _log.error("projection halted", projection=self.projection.name, reason=str(error))
            return
        if advanced:
            is_large = batch.stored_bytes > MAX_BATCH_BYTES
            self._max_events = max(1, before // 2) if is_large else min(2 * before, MAX_BATCH_EVENTS)
            self._pauses.reset()
            if batch.upto == standing.head:
                may_linger = rate > BUSY_EVENTS_PER_SECOND or not batch.events
                linger_seconds = LONG_LINGER_SECONDS if may_linger else LINGER_SECONDS
                self._stop.wait(max(linger_seconds, self.projection.linger_seconds))

    def _halt(self, connection: Connection[Any], claim: Claim, batch: EventBatch, reason: str) -> None:
        _log.error("projection halted", projection=self.projection.name, position=batch.after, reason=reason)
        halt(connection, claim, batch, reason)

    def _record(self, connection: Connection[Any], error: Exception) -> None:
        projection = self.projection
        wanted = {
            "name": projection.name,
            "shape": projection.shape,
            "runner": self._id,
            "error": describe(error),
        }
        try:
            _SQL["record_error"].run(connection, wanted)
        except _OUT_OF_REACH as lost:
            if not is_lost(lost):
                _log.warning("error could not be recorded", projection=self.projection.name)
