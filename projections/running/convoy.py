"""The convoy: advances the live versions of the projections that keep step, all in one connection.

Each turn advances those that have something to do in one transaction (`projections/engine/joint_advance.py`). Their
positions may differ: whoever lets events collect for longer comes later and takes more of them.

A turn asks for no standings. The convoy knows where it left its versions, and an announcement says how far the journal
is. It looks every `POLL_SECONDS`, and at once if a version could not be moved: whoever pauses, replaces or takes over a
version changes what the move compares, so nothing is written meanwhile.

Whoever cannot keep step leaves the convoy and goes alone, with a `Runner` in a thread and a connection of its own: a
version whose batch failed, that waits for a lock, meets an event of a newer release or one that cannot be read, was
taken over, or is far behind. So one of them never holds up the others for longer than `LOCK_PATIENCE`. The runner ends
once its version is in step again, and the convoy takes it back.
"""

import threading
from collections.abc import Sequence
from time import monotonic
from typing import Any, Literal
from uuid import uuid4

import structlog
from psycopg import Connection
from psycopg.errors import LockNotAvailable

from domain.journal.database import Database
from domain.journal.outage import is_lost
from domain.journal.silence import LOST
from projections.engine.batches import Claim, EventBatch, read_batch, take_over
from projections.engine.joint_advance import Faltered, Step, advance_together
from projections.engine.journal_listener import JournalListener
from projections.engine.leadership import STANDBY_SECONDS, Loop, Pauses, Standby, release
from projections.engine.poison import describe
from projections.engine.projection import Projection
from projections.engine.rate import RATE_SECONDS, Rate
from projections.engine.recent_events import MAX_EVENTS, RecentEvents
from projections.running.pace import (
    HEAR_SECONDS,
    JOIN_SECONDS,
    LINGER_SECONDS,
    WANTED_SECONDS,
    BatchSize,
    linger_seconds,
)
from projections.running.positions import projections_channel, wanted_channel
from projections.running.runner import (
    FIRST_PAUSE_SECONDS,
    LONGEST_PAUSE_SECONDS,
    POLL_SECONDS,
    RECONNECT_SECONDS,
    Runner,
    Tell,
)
from projections.running.shares import Division, Share
from projections.running.shipping import Shipping
from projections.running.standing import (
    LiveStanding,
    clear_error,
    prepare_session,
    record_error,
    standings,
)

LOCK_PATIENCE = "500ms"
"""How long the convoy waits for a lock that one of its members needs."""

PURPOSE = "projection"

_log = structlog.get_logger(__name__)

Course = Literal["take over", "leave", "rest", "advance"]


class Member:
    """A projection, and what the convoy knows of it."""

    def __init__(self, projection: Projection, runner: Runner) -> None:
        """`runner` advances it while it is not in the convoy."""
        self.projection = projection
        self.rate = Rate(RATE_SECONDS)
        self.due_at = 0.0
        """When it may advance again, in seconds of `monotonic`, like all times here."""
        self.began_at = 0.0
        """When it advanced last."""
        self.wanted_until = 0.0
        """Until when its rows count as waited for."""
        self.claim: Claim | None = None
        self.is_running = False
        """Whether its version was claimed and running when it was last seen."""
        self.position = 0
        """The position of its version, unless others have changed it meanwhile."""
        self.has_place = False
        self._runner = runner
        self._thread: threading.Thread | None = None

    @property
    def name(self) -> str:
        """The name of the projection."""
        return self.projection.name

    @property
    def is_alone(self) -> bool:
        """Whether its runner advances it."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def is_back(self) -> bool:
        """Whether its runner has ended, and the convoy has not noticed yet."""
        return self._thread is not None and not self._thread.is_alive()

    def come_back(self) -> None:
        """Note that its runner has ended."""
        self._thread = None

    def go_alone(self) -> None:
        """Leave it to its runner. The place must be free."""
        self.lose_place()
        self._thread = threading.Thread(
            target=self._runner.run_until_in_step, name=f"projection {self.name}", daemon=True
        )
        self._thread.start()

    def join(self) -> None:
        """Wait until its runner has ended."""
        if self._thread is not None:
            self._thread.join()

    def lose_place(self) -> None:
        """Note that the place is no longer held."""
        self.has_place, self.is_running, self.claim = False, False, None

    def want(self, now: float) -> None:
        """Note that somebody waits for its rows, so that it advances sooner."""
        self.wanted_until = now + WANTED_SECONDS
        self.due_at = min(self.due_at, self.began_at + max(LINGER_SECONDS, self.projection.linger_seconds))


class Convoy:
    """Advances the live versions of projections for as long as it holds their places."""

    def __init__(
        self,
        database: Database,
        runners: Sequence[Runner],
        stop: threading.Event,
        tail: RecentEvents,
        tell: Tell,
        share: Share,
    ) -> None:
        """`runners` are those of all projections, also of other shares. They share `tail` with it."""
        self._database = database
        self._members = [Member(runner.projection, runner) for runner in runners]
        self._stop = stop
        self._tail = tail
        self._tell = tell
        self._id = uuid4()
        self._size = BatchSize()
        self._pauses = Pauses(FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
        self._standby = Standby()
        self._division = Division(share, [member.name for member in self._members])
        self._shipping = Shipping()
        self._look_for_places_at = 0.0
        self._look_at = 0.0
        self._seen_head = 0
        """The head of the journal when the convoy last looked."""
        self._head = 0
        """The newest position that was seen or announced."""

    def run(self) -> None:
        """Run until stopped. After a failure start again, after a pause that grows with each further failure."""
        Loop(
            self._database,
            "projections",
            failed=self._say_failed,
            pause_seconds=lambda error: RECONNECT_SECONDS if is_lost(error) else self._pauses.next_seconds(),
            ended=self._lose_places,
        ).run(self._stop, self._serve)
        for member in self._members:
            member.join()

    def _say_failed(self, error: Exception) -> None:
        if isinstance(error, LOST):
            _log.warning("projections interrupted", error=describe(error))
        else:
            _log.error("projections failed", exc_info=error)

    def _lose_places(self) -> None:
        self._look_for_places_at = self._look_at = 0.0
        self._division.disconnect()
        for member in self._members:
            member.lose_place()

    def _serve(self, connection: Connection[Any]) -> None:
        self._tail.forget()
        prepare_session(connection)
        connection.execute(f"SET lock_timeout = '{LOCK_PATIENCE}'")
        listener = JournalListener(connection, self._database, wanted_channel(self._database))
        try:
            while not self._stop.is_set():
                self._take_places(connection)
                self._turn(connection)
                self._rest(listener)
        except Exception as error:
            names = [member.name for member in self._members if member.has_place]
            record_error(connection, names, self._id, error)
            raise

    def _take_places(self, connection: Connection[Any]) -> None:
        """Try for the places of our share that are not held, now and then, and at once when a runner has ended."""
        if monotonic() < self._look_for_places_at and not any(member.is_back for member in self._members):
            return
        self._division.look(connection)
        for member in self._members:
            is_ours = self._division.is_ours(member.name)
            if member.is_back:
                member.come_back()
            if member.has_place and not is_ours:
                release(connection, PURPOSE, member.projection.of_shape)
                member.lose_place()
            elif is_ours and not member.has_place and not member.is_alone:
                member.has_place = self._standby.try_acquire(connection, PURPOSE, member.projection.of_shape)
                self._look_at = 0.0
        self._look_for_places_at = monotonic() + STANDBY_SECONDS

    def _turn(self, connection: Connection[Any]) -> None:
        """Look how the versions stand, if it is time for that, and advance those that are due."""
        if self._look_at <= monotonic():
            self._look(connection)
        now = monotonic()
        due = self._due(now)
        # Who waits need not wait for what the others write.
        wanted = [member for member in due if now < member.wanted_until]
        if wanted:
            self._advance(connection, wanted)
        if len(wanted) < len(due):
            self._advance(
                connection, [member for member in self._due(now + JOIN_SECONDS) if member not in wanted]
            )

    def _due(self, by: float) -> list[Member]:
        """Return the members that may advance by then, and those that have more to write than a batch."""
        behind = [member for member in self._members if member.is_running and member.position < self._head]
        most = self._size.events
        return [member for member in behind if member.due_at <= by or self._head - member.position > most]

    def _look(self, connection: Connection[Any]) -> None:
        """Learn how the versions stand, and do what that demands."""
        members = [member for member in self._members if member.has_place]
        self._look_at = monotonic() + POLL_SECONDS
        projections = [member.projection for member in members]
        if not projections:
            return
        self._tail.serve(projections)
        found = standings(connection, projections)
        if found:
            self._seen_head = self._head = next(iter(found.values())).head
        for member in members:
            try:
                self._guide(connection, member, found.get(member.name))
            except LockNotAvailable as error:
                self._leave(connection, member, describe(error))

    def _guide(self, connection: Connection[Any], member: Member, standing: LiveStanding | None) -> None:
        """Do what a member's standing demands before it can advance, and note how it stands."""
        demanded = course(member.claim, standing)
        if standing is None:
            self._leave(connection, member, "not installed")
        elif demanded == "take over":
            member.claim = Claim(member.projection, standing.version, self._id, "running")
            member.is_running = False
            take_over(connection, member.claim)
            member.due_at = self._look_at = 0.0
        elif demanded == "leave":
            self._leave(connection, member, f"{standing.state}, {standing.last_error or 'taken over'}")
        else:
            member.is_running, member.position = standing.state == "running", standing.position
            if demanded == "rest" and member.is_running and standing.last_error is not None:
                clear_error(connection, member.name, standing.version, self._id)

    def _leave(self, connection: Connection[Any], member: Member, reason: str) -> None:
        _log.info("projection goes on alone", projection=member.name, reason=reason)
        release(connection, PURPOSE, member.projection.of_shape)
        member.go_alone()

    def _rest(self, listener: JournalListener) -> None:
        """Wait until something can be done, and note what was announced meanwhile.

        While everybody lets events collect, nobody is woken by each of them. Who wants rows is heard soon enough.
        """
        now = monotonic()
        running = [member for member in self._members if member.is_running]
        idle = [member for member in running if member.position >= self._head and member.due_at <= now]
        due_at = [member.due_at for member in running if member not in idle]
        seconds = max(0.0, min([self._look_at, *due_at]) - now)
        if not idle:
            self._stop.wait(min(seconds, HEAR_SECONDS) if running else seconds)
        heard = listener.hear(seconds if idle else 0.0)
        self._head = max(self._head, listener.head(heard))
        wanted = {notification.payload for notification in heard}
        for member in running:
            if member.projection.of_shape in wanted:
                member.want(monotonic())

    def _advance(self, connection: Connection[Any], due: Sequence[Member]) -> None:
        head = self._head
        first = max(member.position for member in self._members if member.is_running)
        for member in due:
            if member.position + MAX_EVENTS < first:  # no longer among the recent events
                self._leave(connection, member, "far behind")
        together = [member for member in due if member.has_place]
        if not together:
            return
        lowest = min(member.position for member in together)
        upto = min(head, lowest + self._size.events)
        if upto < head:
            upto = self._tail.last_whole(connection, lowest, upto)
        steps = self._steps(connection, [member for member in together if member.position < upto], upto)
        if not steps:
            return
        self._size.attempt()
        began_at = monotonic()
        try:
            taken = advance_together(connection, list(steps.values()), projections_channel(self._database))
        except Faltered as error:
            member = next(member for member in steps if member.name == error.name)
            self._leave(connection, member, describe(error.error))
            return
        self._size.succeed(max(step.batch.stored_bytes for step in steps.values()))
        self._pauses.reset()
        ended_at = monotonic()
        for member, step in steps.items():
            pause_seconds = linger_seconds(
                member.projection,
                step.batch,
                took_seconds=ended_at - began_at,
                is_wanted=began_at < member.wanted_until,
            )
            member.began_at, member.due_at = began_at, began_at + pause_seconds
            if step not in taken:  # somebody has changed the row of its version, or is about to
                self._look_at = 0.0
                continue
            self._tell(member.projection, step.batch, began_at, ended_at)
            member.position = step.batch.upto
            if step.batch.upto < head:
                member.due_at = 0.0
        self._shipping.ship(connection)

    def _steps(self, connection: Connection[Any], members: Sequence[Member], upto: int) -> dict[Member, Step]:
        """Return what members are to write, in their order. Whoever meets an event that it cannot read leaves.

        There is nothing to write if the journal does not have what was announced.
        """
        batches: dict[Member, EventBatch] = {}
        for member in sorted(members, key=lambda each: each.position):
            batch = self._tail.batch(connection, member.projection, member.position, upto)
            if batch is None and upto > self._seen_head:
                self._look_at, self._head = 0.0, self._seen_head
                return {}
            batch = batch or read_batch(connection, member.projection, member.position, upto)
            if batch.upto == batch.after or batch.unreadable:
                self._leave(connection, member, batch.obstacle or "an event cannot be read")
            else:
                batches[member] = batch
        return {
            member: Step(member.claim, batches[member], member.rate.measure(_events(batches[member])))
            for member in members
            if member in batches and member.claim
        }


def course(claim: Claim | None, standing: LiveStanding | None) -> Course:
    """Return what a standing demands of the holder of a claim. Without a standing, there is no live version."""
    if standing is None:
        return "leave"
    # A switch leaves the version it makes live to nobody, so that it is taken anew.
    if claim is None or claim.version != standing.version or standing.runner is None:
        return "take over"
    if standing.runner != claim.runner or standing.needs_newer_release:
        return "leave"
    if standing.state != "running" or standing.lag_events <= 0:
        return "rest"
    return "advance"


def _events(batch: EventBatch) -> int:
    return batch.upto - batch.after
