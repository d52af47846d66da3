"""How far each projection is, and waiting until one has reached a position."""

import asyncio
import selectors
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import Enum
from time import monotonic
from typing import Any, NamedTuple

import psycopg
import structlog
from psycopg import Connection
from psycopg.sql import SQL, Identifier

from domain.journal.database import Database
from domain.journal.outage import DENIALS, is_denied, is_overtaken, outage_of
from domain.journal.queries import load
from domain.model.errors import JournalUnavailable
from projections.engine.journal_listener import is_position
from projections.engine.rate import RATE_SECONDS
from projections.errors import ProjectionBehind, projection_not_found
from projections.registry import NATS, PROJECTIONS
from projections.running.moved_ledgers import MovedLedgers
from projections.running.replay import read_replay

POLL_SECONDS = 0.5
RECONNECT_SECONDS = 0.5

SOONEST_POLL_SECONDS = 0.002
LATEST_POLL_SECONDS = 0.1
PART_OF_WAIT = 0.1
"""On a copy, nobody hears of an advance. So while somebody waits, positions are polled: after a tenth of the time for
which the last to come has waited, but within these bounds. A poll takes 0.25 ms of the processors."""

WANT_AGAIN_SECONDS = 0.5
"""How long after it was announced that somebody waits for a projection, at least, it is announced again."""

NEXT_EVENTS = 5_000
"""Of how many events after its position, at most, the error of a projection can speak: those it projects at once."""

WITHHELD = "withheld, since it may quote events of ledgers that this key was not granted"

_MOST_WAKES = 4_096

_SQL = load(__name__)
_PART = "positions of projections"
_log = structlog.get_logger(__name__)


def projections_channel(database: Database) -> str:
    """Return the channel on which each advance of a live version is announced as `name/shape:position`.

    The shape is included because a release must not mistake the advance of another release's version for that of its
    own. Pausing or resuming a projection is announced as `name:`.
    """
    return f"{database.schema}_projections"


def wanted_channel(database: Database) -> str:
    """Return the channel that announces as `name/shape` that somebody waits for a projection to advance."""
    return f"{database.schema}_wanted"


class Progress(NamedTuple):
    """How far the live version of a projection is, in the shape that this release reads.

    `state` is `rebuilding` while the only version is still being filled and cannot be read. `head` is the newest
    position of the journal. `lag_seconds` is the age of the oldest event not projected yet, 0 if there is none.
    `dead_letters` counts the open ones, `oldest_dead_letter` is their lowest position, and `dead_letter_age_seconds`
    is the time since the first of them failed.
    """

    name: str
    version: int
    position: int
    head: int
    state: str
    lag_events: int
    lag_seconds: float
    rate_events_per_second: float
    dead_letters: int
    last_error: str | None
    oldest_dead_letter: int | None
    dead_letter_age_seconds: float

    def reflects(self, position: int) -> bool:
        """Whether reads reflect a position. False while the version is still being filled."""
        return self.position >= position and self.state != "rebuilding"


def progress(connection: Connection[Any], name: str) -> Progress:
    """Return how far a projection is. Raises `ProjectionNotFound` if none of this name is installed."""
    found = _progress(connection, {of: shape for of, shape in _shapes().items() if of == name})
    if not found:
        raise projection_not_found(name)
    return found[0]


def all_progress(connection: Connection[Any]) -> list[Progress]:
    """Return how far every installed projection is, by name."""
    return _progress(connection, _shapes())


def error_as_told(
    connection: Connection[Any], seen: Progress, granted: Sequence[str] | None = None
) -> str | None:
    """Return the error of a projection as it may be told to whom these ledgers were granted, every one for None.

    It can quote any event of the batch that failed. So it is `WITHHELD` where one of another ledger comes next.
    """
    if seen.last_error is None or granted is None:
        return seen.last_error
    wanted = {"after": seen.position, "upto": seen.position + NEXT_EVENTS, "granted": list(granted)}
    (is_of_others,) = _SQL["others_come_next"].only(connection, wanted)
    return WITHHELD if is_of_others else seen.last_error


def _shapes() -> dict[str, int]:
    """Return the known names with their shapes. NATS is included: it has a position, but no tables."""
    return {NATS: 1, **{projection.name: projection.shape for projection in PROJECTIONS.values()}}


def _progress(connection: Connection[Any], shapes: Mapping[str, int]) -> list[Progress]:
    wanted = {"names": list(shapes), "shapes": list(shapes.values()), "rate_seconds": RATE_SECONDS}
    return _SQL["progress"].rows(connection, wanted, into=Progress)


class WaitOutcome(Enum):
    """How waiting for a position ended. The value says it in words."""

    ARRIVED = "the projection has reached the position"
    UNANNOUNCED = "the projection has reached the position; its notification was missed, so polling found it"
    LATE = "the projection runs, but did not reach the position in time"
    PAUSED = "the projection is paused, and was not resumed in time"
    HALTED = "the projection has halted, and was not resumed in time"
    REBUILDING = "the projection is being rebuilt, and did not reach the position in time"
    SWITCHED = "another version of the projection went live meanwhile, and did not reach the position in time"
    UNREACHABLE = "the journal is out of reach, so the projection's position is unknown"


_OF_STATE = {"paused": WaitOutcome.PAUSED, "halted": WaitOutcome.HALTED, "rebuilding": WaitOutcome.REBUILDING}


class Wait(NamedTuple):
    """How waiting ended, the projection as last seen (None if never seen), and the head of the journal."""

    outcome: WaitOutcome
    seen: Progress | None
    head: int

    @property
    def has_arrived(self) -> bool:
        """Whether the projection has reached the position."""
        return self.outcome in (WaitOutcome.ARRIVED, WaitOutcome.UNANNOUNCED)

    def arrived(self) -> Progress:
        """Return how far the projection is. Raises `JournalUnavailable` if that is unknown, or `ProjectionBehind`."""
        if self.seen is None or self.outcome is WaitOutcome.UNREACHABLE:
            raise JournalUnavailable("unreachable")
        if not self.has_arrived:
            raise ProjectionBehind(self.seen.position, self.head, self.seen.state)
        return self.seen


class PositionWaiter:
    """Follows how far every projection is, and wakes those who wait for one. One thread serves the whole process.

    It listens for notifications. Since these can be missed, it polls as well. It announces that somebody waits, because
    a projection for whose rows nobody waits lets more events collect before it advances.

    A standby sends no notification and takes none. There, it only polls: often while somebody waits, once for all who
    do. When the standby is promoted, it listens.
    """

    def __init__(self, database: Database, poll_seconds: float = POLL_SECONDS) -> None:
        self._database = database
        self._poll_seconds = poll_seconds
        self._known: dict[str, Progress] = {}
        self._announced: dict[str, int] = {}
        self._looked = False
        self._is_reachable = False
        self._stopping = threading.Event()
        self._changed = threading.Condition()
        # What each callback waits for, so that it is not woken by every step towards a distant position.
        self._callbacks: dict[Callable[[], None], tuple[str, int]] = {}
        self._wanted: set[str] = set()
        self._want_again_at: dict[str, float] = {}
        self._awake: Callable[[], None] = lambda: None
        self._is_copy = False
        self._waiting = 0
        self._last_came_at = 0.0
        self._thread = threading.Thread(target=self._run, name="projection positions", daemon=True)
        self.moved = MovedLedgers()
        """The ledgers that have moved, as last seen."""
        self.head = 0
        """The newest known position of the journal: at least what projections reflect, and what it was a moment ago."""

    @property
    def seen(self) -> Mapping[str, Progress]:
        """Every projection as last seen, by name; empty before the first look."""
        return self._known

    @property
    def is_copy(self) -> bool:
        """Whether the server followed a primary when it was last connected to."""
        return self._is_copy

    def note_head(self, head: int) -> None:
        """Note that an answer named this head, so that no later answer of this process names an older one."""
        with self._changed:
            self.head = max(self.head, head)

    @property
    def is_reachable(self) -> bool:
        """Whether the last look at the database succeeded."""
        return self._is_reachable

    def start(self) -> None:
        """Start following."""
        self._thread.start()

    def stop(self) -> None:
        """Stop following. Callers that still wait are not woken any more."""
        self._stopping.set()
        with self._changed:
            self._awake()
        self._thread.join()

    def wait_for(self, name: str, position: int, timeout_seconds: float) -> Wait:
        """Block until a projection has reached a position or the time is over; return how that ended.

        A paused or halted projection is waited for as well, since it may be resumed in time. So is a position that the
        journal itself has not reached. Raises `ProjectionNotFound`.
        """
        give_up_at = monotonic() + timeout_seconds
        with self._awaited(), self._changed:
            began = self._known.get(name)
            while not self._is_there(name, position):
                self._want(name)
                remaining_seconds = give_up_at - monotonic()
                if remaining_seconds <= 0:
                    break
                self._changed.wait(remaining_seconds)
            return self._outcome(name, position, began)

    async def wait_async(self, name: str, position: int, timeout_seconds: float) -> Wait:
        """Wait as `wait_for` does, without blocking the event loop."""
        loop = asyncio.get_running_loop()
        changed = asyncio.Event()

        def wake() -> None:
            loop.call_soon_threadsafe(changed.set)

        with self._changed:
            began = self._known.get(name)
            self._callbacks[wake] = (name, position)
        try:
            async with asyncio.timeout(timeout_seconds):
                while not self._reached_or_wanted(name, position):
                    with self._awaited():
                        await changed.wait()
                    changed.clear()
        except TimeoutError:
            pass
        finally:
            with self._changed:
                self._callbacks.pop(wake, None)
        with self._changed:
            return self._outcome(name, position, began)

    @contextmanager
    def _awaited(self) -> Iterator[None]:
        """Count one who waits meanwhile. The first one wakes the thread of a copy, which polls seldom until then."""
        with self._changed:
            self._waiting += 1
            self._last_came_at = monotonic()
            if self._is_copy and self._waiting == 1:
                self._awake()
        try:
            yield
        finally:
            with self._changed:
                self._waiting -= 1

    def has_reached(self, name: str, position: int) -> bool:
        """Tell whether a projection is known to reflect a position. Raises `ProjectionNotFound`."""
        with self._changed:
            return self._is_there(name, position)

    def is_being_filled(self, name: str) -> bool:
        """Tell whether the version of a projection that this release reads is known to be filled for the first time."""
        with self._changed:
            seen = self._known.get(name)
            return seen is not None and seen.state == "rebuilding"

    def have_all_reached(self, position: int) -> bool:
        """Tell whether every projection is known to reflect a position."""
        with self._changed:
            return all(seen.reflects(position) for name, seen in self._known.items() if name != NATS)

    def _reached_or_wanted(self, name: str, position: int) -> bool:
        with self._changed:
            if self._is_there(name, position):
                return True
            self._want(name)
            return False

    def _want(self, name: str) -> None:
        """Have it announced that somebody waits for a projection, unless that was done just before or nobody hears."""
        if self._is_copy:
            return
        now = monotonic()
        if now >= self._want_again_at.get(name, 0.0):
            self._want_again_at[name] = now + WANT_AGAIN_SECONDS
            is_first = not self._wanted
            self._wanted.add(name)
            if is_first:  # only then, so that nothing collects while the journal is out of reach
                self._awake()

    def _is_there(self, name: str, position: int) -> bool:
        seen = self._known.get(name)
        if seen is None and self._looked:
            raise projection_not_found(name)
        return seen is not None and seen.reflects(position)

    def _outcome(self, name: str, position: int, began: Progress | None) -> Wait:
        seen = self._known.get(name)
        if seen is None:
            return Wait(WaitOutcome.UNREACHABLE, None, self.head)
        if seen.reflects(position):
            told = max(began.position, self._announced.get(name, 0)) if began else position
            was_told = self._is_copy or told >= position
            outcome = WaitOutcome.ARRIVED if was_told else WaitOutcome.UNANNOUNCED
        elif not self._is_reachable:
            outcome = WaitOutcome.UNREACHABLE
        elif began and began.version != seen.version:
            outcome = WaitOutcome.SWITCHED
        else:
            outcome = _OF_STATE.get(seen.state, WaitOutcome.LATE)
        return Wait(outcome, seen, self.head)

    def _run(self) -> None:
        awakened, awaking = socket.socketpair()
        with awakened, awaking:
            with self._changed:
                self._awake = lambda: awaking.sendall(b"!")
            try:
                self._stay_connected(awakened)
            finally:
                with self._changed:
                    self._awake = lambda: None
                outage_of(self._database).ended(_PART)

    def _stay_connected(self, awakened: socket.socket) -> None:
        while not self._stopping.is_set():
            try:
                with (
                    self._database.connect("tallystick positions") as connection,
                    selectors.DefaultSelector() as selector,
                ):
                    selector.register(awakened, selectors.EVENT_READ)
                    selector.register(connection, selectors.EVENT_READ)
                    self._is_copy = read_replay(connection).is_copy
                    follow = self._poll if self._is_copy else self._follow
                    follow(connection, selector)
            except psycopg.Error as error:
                if is_overtaken(error):
                    continue
                self._is_reachable = False
                if is_denied(error):
                    DENIALS.note(error)
                else:
                    outage_of(self._database).lost(_PART, error)
                self._stopping.wait(RECONNECT_SECONDS)

    def _follow(self, connection: Connection[Any], selector: selectors.BaseSelector) -> None:
        # Not to the journal: there are as many commits as requests, and the head is heard of with the next position.
        connection.execute(SQL("LISTEN {}").format(Identifier(projections_channel(self._database))))
        outage_of(self._database).back(_PART)
        while not self._stopping.is_set():
            self._look(connection)
            look_at = monotonic() + self._poll_seconds
            while not self._stopping.is_set() and (left_seconds := look_at - monotonic()) > 0:
                self._announce_wanted(connection)
                # First those that came with the answer to a statement: the selector does not see them.
                heard = list(connection.notifies(timeout=0, stop_after=1))
                for notification in heard:
                    self._note(notification.payload)
                if any(notification.payload.endswith(":") for notification in heard):
                    break  # a projection was paused or resumed
                for key, _ in selector.select(0 if heard else left_seconds):
                    if isinstance(key.fileobj, socket.socket):
                        key.fileobj.recv(_MOST_WAKES)

    def _poll(self, connection: Connection[Any], selector: selectors.BaseSelector) -> None:
        """Follow the copy of a standby until it is promoted."""
        outage_of(self._database).back(_PART)
        while not self._stopping.is_set() and read_replay(connection).is_copy:
            self._look(connection)
            look_at = monotonic() + self._poll_seconds
            while not self._stopping.is_set() and (left_seconds := look_at - monotonic()) > 0:
                pause_seconds = self._pause_seconds()
                if pause_seconds is not None and not self._look_at_positions(connection):
                    break  # a projection was paused, resumed or switched
                for key, _ in selector.select(min(left_seconds, pause_seconds or left_seconds)):
                    if isinstance(key.fileobj, socket.socket):
                        key.fileobj.recv(_MOST_WAKES)
                    else:
                        connection.execute("")  # raises if the server has ended the session

    def _pause_seconds(self) -> float | None:
        """Return how long to wait before the next poll of a copy, None while nobody waits."""
        with self._changed:
            if not self._waiting:
                return None
            waited_seconds = monotonic() - self._last_came_at
        return min(LATEST_POLL_SECONDS, max(SOONEST_POLL_SECONDS, PART_OF_WAIT * waited_seconds))

    def _look_at_positions(self, connection: Connection[Any]) -> bool:
        """Note how far the live versions are; tell whether nothing else about them has changed."""
        shapes = _shapes()
        rows = _SQL["positions"].rows(connection)
        with self._changed:
            for name, shape, version, position, state, head in rows:
                seen = self._known.get(name)
                if seen is None or shapes.get(name) != shape:
                    continue
                if (version, state) != (seen.version, seen.state) or position < seen.position:
                    return False
                self.head = max(self.head, head)
                self._known[name] = self._advanced(seen, position)
            self._wake()
        return True

    def _announce_wanted(self, connection: Connection[Any]) -> None:
        if not self._wanted:
            return
        with self._changed:
            wanted, self._wanted = self._wanted, set()
        projections = [PROJECTIONS[name].of_shape for name in wanted if name in PROJECTIONS]
        _SQL["want"].run(connection, {"channel": wanted_channel(self._database), "projections": projections})

    def _look(self, connection: Connection[Any]) -> None:
        seen = all_progress(connection)
        self.moved.look(connection)
        known_head = self.head
        if seen and seen[0].head < known_head:
            seen = all_progress(connection)  # the head may have been learnt elsewhere since the first look
        went_back = bool(seen) and seen[0].head < known_head
        if went_back:
            _log.warning("the journal went back", from_position=known_head, to_position=seen[0].head)
        with self._changed:
            self._known = {found.name: found for found in seen}
            self._looked = self._is_reachable = True
            if seen:
                self.head = seen[0].head if went_back else max(self.head, seen[0].head)
            self._wake()

    def _note(self, payload: str) -> None:
        with self._changed:
            announced, _, position = payload.rpartition(":")
            if not is_position(position):  # any login may send notifications
                return
            name, _, shape = announced.partition("/")
            if (seen := self._known.get(name)) and shape == str(_shapes()[name]):
                self._announced[name] = int(position)
                self._known[name] = self._advanced(seen, int(position))
                self._wake()

    def _advanced(self, seen: Progress, position: int) -> Progress:
        self.head = max(self.head, position)
        lag_events = self.head - position
        return seen._replace(
            position=position,
            head=self.head,
            lag_events=lag_events,
            lag_seconds=seen.lag_seconds if lag_events else 0.0,
        )

    def _wake(self) -> None:
        self._changed.notify_all()
        for callback, (name, position) in tuple(self._callbacks.items()):
            seen = self._known.get(name)
            if seen is not None and not seen.reflects(position):
                self._want(name)
                continue
            try:
                callback()
            except RuntimeError:  # its event loop is closed, so nobody waits there
                self._callbacks.pop(callback, None)
