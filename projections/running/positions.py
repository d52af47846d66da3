"""How far each projection is, and waiting until one has reached a position."""

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from time import monotonic
from typing import Any, NamedTuple

import psycopg
from psycopg import Connection
from psycopg.rows import tuple_row
from psycopg.sql import SQL, Identifier

from domain.journal.database import Database
from domain.journal.outage import DATABASE, DENIALS, is_denied
from domain.journal.queries import load
from domain.model.errors import JournalUnavailable
from projections.engine.rate import RATE_SECONDS
from projections.errors import ProjectionBehind, projection_not_found
from projections.registry import NATS, PROJECTIONS

POLL_SECONDS = 0.5
RECONNECT_SECONDS = 0.5

NEXT_EVENTS = 5_000
"""Of how many events after its position, at most, the error of a projection can speak: those it projects at once."""

WITHHELD = "withheld, since it may quote events of ledgers that this key was not granted"

_SQL = load(__name__)
_PART = "positions of projections"


def projections_channel(database: Database) -> str:
    """Return the channel on which each advance of a live version announces `name/shape:position`.

    With the shape, since a release must not take the advance of another's version for that of its own. A projection
    that is paused or resumed is announced there as `name:`.
    """
    return f"{database.schema}_projections"


class Progress(NamedTuple):
    """How far the live version of a projection is that this release reads.

    `state` is `rebuilding` while that is the only version there is, and it cannot be read yet. `head` is the newest
    position of the journal, `lag_seconds` the age of the oldest event not projected yet, 0 if there is none.
    `dead_letters` counts those that are open, `oldest_dead_letter` is the lowest position of them, and
    `dead_letter_age_seconds` the time since the first of them failed.
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
        """Whether what is read reflects a position: not while the version is only being filled."""
        return self.position >= position and self.state != "rebuilding"


def progress(connection: Connection[Any], name: str) -> Progress:
    """Return how far a projection is; raise `ProjectionNotFound` if none of this name is installed."""
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
    cursor = connection.cursor(row_factory=tuple_row)
    ((is_of_others,),) = cursor.execute(_SQL["others_come_next"], wanted).fetchall()
    return WITHHELD if is_of_others else seen.last_error


def _shapes() -> dict[str, int]:
    """Return the names that are known, with the shape of each: also of NATS, which has a position and no tables."""
    return {NATS: 1, **{projection.name: projection.shape for projection in PROJECTIONS.values()}}


def _progress(connection: Connection[Any], shapes: Mapping[str, int]) -> list[Progress]:
    cursor = connection.cursor(row_factory=tuple_row)
    wanted = {"names": list(shapes), "shapes": list(shapes.values()), "rate_seconds": RATE_SECONDS}
    return [Progress(*row) for row in cursor.execute(_SQL["progress"], wanted)]


class WaitOutcome(Enum):
    """What became of waiting for a position; the value is that in words."""

    ARRIVED = "the projection has reached the position"
    UNANNOUNCED = "it has reached it, as was found by looking: the notification of it was missed"
    LATE = "it runs, but has not reached it in time"
    PAUSED = "it is paused, and was not resumed in time"
    HALTED = "it has halted, and was not resumed in time"
    REBUILDING = "it is being made anew, and was not as far in time"
    SWITCHED = "another version of it went live meanwhile, and has not reached it in time"
    UNREACHABLE = "the journal is out of reach, so that it is not known where it is"


_OF_STATE = {"paused": WaitOutcome.PAUSED, "halted": WaitOutcome.HALTED, "rebuilding": WaitOutcome.REBUILDING}


class Wait(NamedTuple):
    """What became of waiting, the projection as last seen (None if it never was), and the head of the journal."""

    outcome: WaitOutcome
    seen: Progress | None
    head: int

    def arrived(self) -> Progress:
        """Return how far the projection is; raise `ProjectionBehind`, or `JournalUnavailable` if it is out of reach."""
        if self.seen is None or self.outcome is WaitOutcome.UNREACHABLE:
            raise JournalUnavailable("unreachable")
        if self.outcome not in (WaitOutcome.ARRIVED, WaitOutcome.UNANNOUNCED):
            raise ProjectionBehind(self.seen.position, self.head, self.seen.state)
        return self.seen


class PositionWaiter:
    """Knows how far every projection is, and wakes those who wait for one: one thread for the whole process.

    It is told by notifications and, since these can be missed, looks by itself as well.
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
        # What each waits for: whoever waits for what is far away is not woken by each step towards it.
        self._callbacks: dict[Callable[[], None], tuple[str, int]] = {}
        self._thread = threading.Thread(target=self._run, name="projection positions", daemon=True)
        self.head = 0
        """The newest position of the journal that is known here."""

    def start(self) -> None:
        """Begin to follow."""
        self._thread.start()

    def stop(self) -> None:
        """End; who still waits, waits in vain."""
        self._stopping.set()
        self._thread.join()

    def wait_for(self, name: str, position: int, timeout_seconds: float) -> Wait:
        """Block until a projection has reached a position, or the time is over; return what became of it.

        What is paused or has halted is waited for as well: it may be resumed in time. So is a position that the journal
        itself does not have yet. Raises `ProjectionNotFound`.
        """
        give_up_at = monotonic() + timeout_seconds
        with self._changed:
            began = self._known.get(name)
            while not self._is_there(name, position):
                remaining_seconds = give_up_at - monotonic()
                if remaining_seconds <= 0:
                    break
                self._changed.wait(remaining_seconds)
            return self._outcome(name, position, began)

    async def wait_async(self, name: str, position: int, timeout_seconds: float) -> Wait:
        """Do as `wait_for` does, without blocking the event loop."""
        loop = asyncio.get_running_loop()
        changed = asyncio.Event()

        def wake() -> None:
            loop.call_soon_threadsafe(changed.set)

        with self._changed:
            began = self._known.get(name)
            self._callbacks[wake] = (name, position)
        try:
            async with asyncio.timeout(timeout_seconds):
                while not self._is_there_now(name, position):
                    await changed.wait()
                    changed.clear()
        except TimeoutError:
            pass
        finally:
            with self._changed:
                self._callbacks.pop(wake, None)
        with self._changed:
            return self._outcome(name, position, began)

    def _is_there_now(self, name: str, position: int) -> bool:
        with self._changed:
            return self._is_there(name, position)

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
            was_told = began is None or max(began.position, self._announced.get(name, 0)) >= position
            outcome = WaitOutcome.ARRIVED if was_told else WaitOutcome.UNANNOUNCED
        elif not self._is_reachable:
            outcome = WaitOutcome.UNREACHABLE
        elif began and began.version != seen.version:
            outcome = WaitOutcome.SWITCHED
        else:
            outcome = _OF_STATE.get(seen.state, WaitOutcome.LATE)
        return Wait(outcome, seen, self.head)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                with self._database.connect("tallystick positions") as connection:
                    self._follow(connection)
            except psycopg.Error as error:
                self._is_reachable = False
                if is_denied(error):
                    DENIALS.note(error)
                else:
                    DATABASE.lost(_PART, error)
                self._stopping.wait(RECONNECT_SECONDS)

    def _follow(self, connection: Connection[Any]) -> None:
        channels = {self._database.journal_channel, projections_channel(self._database)}
        for channel in channels:
            connection.execute(SQL("LISTEN {}").format(Identifier(channel)))
        DATABASE.back(_PART)
        while not self._stopping.is_set():
            self._look(connection)
            for notification in connection.notifies(timeout=self._poll_seconds):
                self._note(notification.channel, notification.payload)
                if notification.payload.endswith(":") or self._stopping.is_set():
                    break  # one was paused or resumed: what else is announced will be seen as well

    def _look(self, connection: Connection[Any]) -> None:
        seen = all_progress(connection)
        with self._changed:
            self._known = {found.name: found for found in seen}
            self._looked = self._is_reachable = True
            if seen:
                self.head = seen[0].head
            self._wake()

    def _note(self, channel: str, payload: str) -> None:
        with self._changed:
            announced, _, position = payload.rpartition(":")
            if not position.isdecimal():  # anyone with a login may notify
                return
            name, _, shape = announced.partition("/")
            if channel == self._database.journal_channel:
                self.head = max(self.head, int(position))
            elif (seen := self._known.get(name)) and shape == str(PROJECTIONS[name].shape):
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
                continue
            try:
                callback()
            except RuntimeError:  # its event loop is closed, and nobody waits there any more
                self._callbacks.pop(callback, None)
