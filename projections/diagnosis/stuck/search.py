"""Finding what is stuck: in read models, and confirmed by the journal where money is concerned."""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import structlog
from psycopg import Connection, Cursor, errors
from psycopg.rows import TupleRow, tuple_row

from domain.journal.queries import load
from domain.model.streams import ledger_of
from domain.model.times import Instant, instant, later
from domain.model.transactions import TransactionAccepted, TransactionHeld
from projections.diagnosis.stuck.catalogue import Stuck, StuckKind, Thresholds, Total, totals
from projections.diagnosis.stuck.sessions import blocking_sessions
from projections.engine.dead_letters import list_letters
from projections.engine.live_version import Lacking, Reading, read_live
from projections.engine.projection import Projection, versioned
from projections.errors import ProjectionBehind
from projections.read_models import due_work, payouts
from projections.running.places import TRIED_LATELY_SECONDS, holders, places_of
from projections.running.positions import Progress, all_progress, error_as_told

HANGING_SECONDS = 30.0
"""A projection hangs if the process that holds its place has done nothing for at least this long."""

MAX_FOUND = 1_000
"""How many of each kind are returned, the oldest first."""

_SQL = load("projections.diagnosis.stuck.stuck")
_MOVES = load("projections.diagnosis.moves")
_log = structlog.get_logger(__name__)
_OF_PAYOUT: dict[str, StuckKind] = {
    "accepted": "payout_accepted",
    "submitted": "payout_submitted",
    "in_doubt": "payout_in_doubt",
    "stuck": "payout_contradictory",
}
_OF_PROJECTION: Collection[StuckKind] = (
    "projection_halted",
    "projection_paused",
    "projection_behind",
    "projection_failing",
    "projection_hanging",
    "projection_rebuilding",
)


def find_stuck(
    connection: Connection[Any],
    now: Instant,
    thresholds: Thresholds = Thresholds(),  # noqa: B008 - it cannot be changed
    granted: Sequence[str] | None = None,
) -> list[Stuck]:
    """Return what is stuck at `now`, the oldest first, in the ledgers that are `granted` (None for all).

    The connection must be in no transaction. If a projection cannot be read, what it would show is missing, and the
    projection itself is among the results.
    """
    return look_for_stuck(connection, now, thresholds, granted).found


def look_for_stuck(
    connection: Connection[Any],
    now: Instant,
    thresholds: Thresholds = Thresholds(),  # noqa: B008 - it cannot be changed
    granted: Sequence[str] | None = None,
) -> Reading[list[Stuck]]:
    """Return the same, and the position that it reflects: that of the read model that is furthest behind.

    It is 0 if none can be read: what is in their place in the result says why.
    """
    search = _Search(connection, now, thresholds, granted)
    found = sorted(search.found(), key=lambda stuck: stuck.place)
    readings = search.readings.values()
    position = min((reading.position for reading in readings), default=0)
    head = max((reading.head for reading in readings), default=0)
    oldest = [reading.lacking.oldest for reading in readings if reading.lacking.oldest is not None]
    streams = sum(reading.lacking.streams for reading in readings)
    return Reading(found, position, head, Lacking(streams, min(oldest, default=None)))


def count_stuck(
    connection: Connection[Any],
    now: Instant,
    thresholds: Thresholds = Thresholds(),  # noqa: B008 - it cannot be changed
) -> list[Total]:
    """Return the total of each kind that is stuck at `now`, in the order of the catalogue.

    A kind that could not be searched is left out: 0 would say that nothing of it is stuck. The connection must be in no
    transaction.
    """
    search = _Search(connection, now, thresholds, None)
    counted = totals(search.found(), now)
    return [total for total in counted if total.kind not in search.unknown]


class _Search:
    def __init__(
        self,
        connection: Connection[Any],
        now: Instant,
        thresholds: Thresholds,
        granted: Sequence[str] | None,
    ) -> None:
        self._connection = connection
        self._now = now
        self._thresholds = thresholds
        self._granted = None if granted is None else list(granted)
        self.unknown: set[StuckKind] = {"move_not_arrived"}
        """The kinds that could not be searched, once everything was found. One takes several installations."""

        self.readings: dict[str, Reading[Any]] = {}
        """The last reading of each read model that was searched, by name."""

    def found(self) -> Iterator[Stuck]:
        """Yield everything that is stuck, in no order."""
        limits = self._thresholds
        yield from self._blocking(limits.session_seconds)
        requests = partial(self._due, "request_waiting", TransactionAccepted.TOPIC, limits.request_seconds)
        holds = partial(self._due, "hold_lapsed", TransactionHeld.TOPIC, limits.hold_seconds)
        frozen = partial(self._frozen, limits.move_seconds)
        contradicted, unfinished = (partial(self._payouts, is_stuck=is_stuck) for is_stuck in (True, False))
        with self._impatient():
            yield from self._try(frozen, "move_unfinished")
            yield from self._try(requests, "request_waiting")
            yield from self._try(holds, "hold_lapsed")
            yield from self._try(contradicted, "payout_contradictory")
            yield from self._try(unfinished, "payout_accepted", "payout_submitted", "payout_in_doubt")
            yield from self._try(self._waiting, "delivery_waiting", "webhook_disabled")
            yield from self._try(self._failed, "delivery_failed")
            yield from self._try(self._held, "stream_held")
            yield from self._try(self._all_behind, *_OF_PROJECTION)

    def _try(self, search: Callable[[], Iterator[Stuck]], *kinds: StuckKind) -> Iterator[Stuck]:
        """Yield what a search finds. If it cannot be made, its kinds are unknown."""
        try:
            yield from search()
        except errors.LockNotAvailable:  # the session that holds it was found before
            _log.warning("the search is incomplete: a session has locked a table")
            self.unknown.update(kinds)
        except ProjectionBehind:  # the projection itself is found as rebuilding
            self.unknown.update(kinds)

    @contextmanager
    def _impatient(self) -> Iterator[None]:
        """Limit how long each search waits for a lock: together they would outlast the caller's patience."""
        cursor = self._connection.cursor(row_factory=tuple_row)
        (usual,) = cursor.execute("SHOW lock_timeout").fetchone() or ("0",)
        cursor.execute("SET lock_timeout = '500ms'")
        try:
            yield
        finally:
            cursor.execute("SELECT set_config('lock_timeout', %s, false)", (usual,))

    def _blocking(self, seconds: int) -> Iterator[Stuck]:
        for session in blocking_sessions(self._connection, seconds):
            since = instant(session.since) if session.since else self._now
            detail = f"It is database process {session.pid}."
            if self._granted is None:
                detail = f"It is {session.words}. To end it: {session.command};"
            yield Stuck("session_blocking", since, None, f"/v1/stuck#{session.pid}", None, detail)

    def _frozen(self, seconds: int) -> Iterator[Stuck]:
        for ledger, to, since in _MOVES["frozen"].rows(self._connection, self._wanted(seconds)):
            resource, detail = f"/v1/ledgers/{ledger}", f"It was being moved to {to}."
            yield Stuck("move_unfinished", instant(since), ledger, resource, None, detail, bound_for=to)

    def _all_behind(self) -> Iterator[Stuck]:
        for progress in all_progress(self._connection):
            yield from self._behind(progress)

    def _wanted(self, seconds: int = 0, **more: Any) -> dict[str, Any]:
        return {"before": later(self._now, -seconds), "granted": self._granted, "limit": MAX_FOUND, **more}

    def _live(self, projection: Projection, query: str, wanted: dict[str, Any]) -> list[TupleRow]:
        """Return what a query finds in the live tables of a projection. Raises `ProjectionBehind`."""

        def read(cursor: Cursor[TupleRow], version: int) -> list[TupleRow]:
            return versioned("projections.diagnosis.stuck.projected", version)[query].rows(cursor, wanted)

        reading = read_live(self._connection, projection, read)
        self.readings[projection.name] = reading
        return reading.found

    def _rows(self, query: str, seconds: int = 0) -> list[TupleRow]:
        return _SQL[query].rows(self._connection, self._wanted(seconds))

    def _due(self, kind: StuckKind, topic: str, seconds: int) -> Iterator[Stuck]:
        for due_at, ledger, id, position in self._live(
            due_work.PROJECTION, "due", self._wanted(seconds, topic=topic)
        ):
            resource = f"/v1/ledgers/{ledger}/transactions/{id}"
            yield Stuck(kind, instant(due_at), ledger, resource, position)

    def _payouts(self, *, is_stuck: bool) -> Iterator[Stuck]:
        wanted = self._wanted(self._thresholds.payout_seconds, is_stuck=is_stuck)
        for state, since, ledger, id, position, provider, receiver in self._live(
            payouts.PROJECTION, "payouts", wanted
        ):
            resource = f"/v1/ledgers/{ledger}/payouts/{id}"
            yield Stuck(
                _OF_PAYOUT[state],
                instant(since),
                ledger,
                resource,
                position,
                f"Provider: {provider}.",
                receiver=receiver,
            )

    def _waiting(self) -> Iterator[Stuck]:
        rows = self._rows("waiting", self._thresholds.delivery_seconds)
        for id, state, since, position, reason in rows:
            kind: StuckKind = "delivery_waiting" if state == "enabled" else "webhook_disabled"
            detail = f"Disabled because: {reason}." if state == "disabled" and reason else ""
            yield Stuck(kind, instant(since), None, f"/v1/webhooks/{id}", position, detail)

    def _failed(self) -> Iterator[Stuck]:
        for id, since, ledger, position, reason in self._rows("failed"):
            resource = f"/v1/webhooks/{id}/deliveries/{position}"
            detail = f"Last failure: {reason}." if reason else ""
            yield Stuck("delivery_failed", instant(since), ledger, resource, position, detail)

    def _held(self) -> Iterator[Stuck]:
        letters = list_letters(self._connection, state="open", limit=MAX_FOUND, granted=self._granted)
        for letter in letters:
            ledger = ledger_of(letter.stream)
            detail = f"Projection {letter.projection}, event {letter.topic}; {letter.held_events} more events wait."
            resource = f"/v1/dead-letters/{letter.id}"
            yield Stuck("stream_held", letter.first_failed_at, ledger, resource, letter.position, detail)

    def _behind(self, progress: Progress) -> Iterator[Stuck]:
        kind = _kind_of(progress, self._thresholds.projection_seconds)
        if kind is not None:
            since = self._oldest_lacking(progress)
            detail = f"It is at position {progress.position} of {progress.head}."
            if kind == "projection_behind":
                kind = self._kind_of_behind(progress)
            if progress.last_error and kind in ("projection_failing", "projection_halted"):
                told = error_as_told(self._connection, progress, self._granted)
                detail += f" Its error: {told}."
            yield Stuck(kind, since, None, f"/v1/projections/{progress.name}", progress.position, detail)

    def _kind_of_behind(self, progress: Progress) -> StuckKind:
        """Return whether the process that advances it fails or hangs. If neither, it is only behind."""
        standing_seconds, failed_seconds = _SQL["standing"].only(
            self._connection, {"name": progress.name, "version": progress.version}
        )
        held = holders(self._connection, places_of(progress.name))
        tried_lately = failed_seconds is not None and failed_seconds < TRIED_LATELY_SECONDS
        if progress.last_error and (held or tried_lately):
            return "projection_failing"
        hangs = held and standing_seconds >= max(HANGING_SECONDS, self._thresholds.projection_seconds)
        return "projection_hanging" if hangs else "projection_behind"

    def _oldest_lacking(self, progress: Progress) -> Instant:
        """Return when the oldest event that a projection lacks was recorded; estimated if that cannot be read."""
        row = _SQL["recorded_at"].row(self._connection, {"position": progress.position + 1})
        return instant(row[0]) if row and row[0] else later(self._now, -progress.lag_seconds)


def _kind_of(progress: Progress, seconds: int) -> StuckKind | None:
    """Return in which way a projection is stuck, None if it is not."""
    if progress.state == "halted":
        return "projection_halted"
    if progress.state == "rebuilding":
        return "projection_rebuilding"
    if progress.lag_seconds < seconds or not progress.lag_events:
        return None
    return "projection_paused" if progress.state == "paused" else "projection_behind"
