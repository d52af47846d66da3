"""Reading streams: the fold of an aggregate from its newest snapshot and the events after it."""

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any, NamedTuple

from psycopg import Connection
from psycopg.rows import TupleRow

from domain.journal.abbreviations import whole_states
from domain.journal.encoding import UnreadableEvent, decode
from domain.journal.queries import Query, load
from domain.journal.session import confirm
from domain.journal.snapshots import TOPICS, decode_snapshot
from domain.model.accounts import EntriesHeld, EntriesPosted, EntriesReleased, EntriesSettled
from domain.model.events import State
from domain.model.moves import Fence
from domain.model.registry import evolve
from domain.model.streams import ledger_of
from domain.model.times import Instant

WHOLE_AT_ONCE = 100
"""How many states are made whole together. With more, the processor's cache is too small."""

_SQL = load("domain.journal.journal")
LOAD = _SQL["load"].fill(wanted=_SQL["present"])
_READ = _SQL["read"].fill(wanted=_SQL["present"])
_READ_BEGINNINGS = _SQL["read"].fill(wanted=_SQL["beginnings"])
_READ_PAST = _SQL["read_past"].fill(wanted=_SQL["past"])
_READ_PAST_OF_COPIES = _SQL["read_past_of_copies"].fill(wanted=_SQL["past"])

Row = tuple[str, int, str, bytes, int]
"""A stored event: stream, version, topic, state, position. A snapshot comes first in its stream, at position 0."""

StretchRow = tuple[str, int, str, bytes, int, int | None]
"""A row of `stored_events`: like `Row`, but with the state as it is stored; then `shares`."""

SharedRow = tuple[str, int, None, bytes, int, int | None]
"""A row of which only the envelope is wanted, which others share: like `StretchRow`, but without the topic."""

StoredRow = tuple[str, int, str, bytes, int, int | None, bytes | None]
"""A row of `abbreviated_events`: like `Row`, but with the state as it is stored; then `shares`, and the stored state of
the event whose envelope this one shares, None if it shares none."""


MOVEMENTS = [event.TOPIC for event in (EntriesPosted, EntriesHeld, EntriesSettled, EntriesReleased)]
"""The topics of the events that a writer who missed them applies: nearly all of an account's."""


MissedEvent = tuple[str, int, str, bytes | None, int]
"""An event that another writer appended: stream, version, topic, what is stored of a movement and None for any other
event, position."""


def head_of(connection: Connection[Any]) -> int:
    """Return the newest position of the journal, or 0 while it is empty."""
    (head,) = _SQL["head"].only(connection)
    return int(head)


def whole_rows(stored: Iterable[StoredRow], most_bytes: int | None = None) -> list[Row]:
    """Return stored events with their states made whole, up to the one with which these reach `most_bytes`."""
    rows: list[Row] = []
    total_bytes = 0
    remaining = iter(stored)
    while some := list(islice(remaining, WHOLE_AT_ONCE)):
        states = whole_states([(state, shares, base) for _, _, _, state, _, shares, base in some])
        rows += [
            (stream, version, topic, state, position)
            for (stream, version, topic, _, position, _, _), state in zip(some, states, strict=True)
        ]
        total_bytes += sum(map(len, states))
        if most_bytes is not None and total_bytes >= most_bytes:
            while total_bytes - len(rows[-1][3]) >= most_bytes:
                total_bytes -= len(rows.pop()[3])
            return rows
    return rows


def with_bases(connection: Connection[Any], rows: Sequence[StretchRow | SharedRow]) -> list[StoredRow]:
    """Return rows of a range each with the stored state of the event whose envelope it shares, without `SharedRow`s.

    They are in the order of positions. Few of them share the envelope of an event that is not among them.
    """
    bases = {position: state for _, _, _, state, position, shares in rows if shares == 0}
    lacking = {row[4] - row[5] for row in rows if row[5] and row[5] > 0}.difference(bases)
    if lacking:
        bases |= _SQL["states"].rows(connection, {"positions": list(lacking)}, prepare=True, binary=True)
    return [
        (stream, version, topic, state, position, shares, bases.get(position - shares) if shares else None)
        for stream, version, topic, state, position, shares in rows
        if topic is not None
    ]


class UnreadableAggregate:
    """Takes the place of an aggregate with an event that this release cannot read. Commands on it are refused."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


class Past(NamedTuple):
    """An aggregate as it was at a position, other aggregates as they are now, and the head; all read at one instant.

    `state` is an `UnreadableAggregate` if the journal is too damaged to find the position.
    """

    position: int
    state: State
    present: tuple[State, ...]
    head: int
    head_recorded_at: Instant


def fold_rows(rows: Iterable[Row]) -> dict[str, State]:
    """Return the state of each stream, an `UnreadableAggregate` if one of its events cannot be read."""
    states: dict[str, State] = {}
    for stream, version, topic, state, position in rows:
        known = states.get(stream)
        if isinstance(known, UnreadableAggregate):
            continue
        try:
            if topic in TOPICS:
                states[stream] = decode_snapshot(state, topic)
            else:
                states[stream] = evolve(known, decode(stream, version, topic, state, position))
        except UnreadableEvent as error:
            states[stream] = UnreadableAggregate(error.reason)
        except (ValueError, TypeError, LookupError, AssertionError):
            # A damaged snapshot, or events in an order that no release of this project has written.
            states[stream] = UnreadableAggregate(UnreadableEvent.reason)
    return states


def read_aggregates(
    connection: Connection[Any], streams: Sequence[str], ledger: str | None = None
) -> tuple[tuple[State, ...], int]:
    """Return the state of each stream, None if it has no events, and the head of the journal at the same instant.

    Linearizable: it reads on the primary, in one statement and so at one instant, and caches nothing (api/README.md,
    Consistency). If the primary has a synchronous standby, the standby confirms that it has what was read, and with it
    that the primary still is one. Given a ledger, raises `LedgerMoved` or `LedgerMoving` if it is not here.
    """
    return _read(connection, _READ, streams, ledger)


def read_beginnings(
    connection: Connection[Any], streams: Sequence[str], ledger: str | None = None
) -> tuple[tuple[State, ...], int]:
    """Return the state of each stream after its first event, None if it has no events, and the head of the journal.

    The cost does not grow with the length of a stream. Otherwise like `read_aggregates`.
    """
    return _read(connection, _READ_BEGINNINGS, streams, ledger)


def _read(
    connection: Connection[Any], query: Query, streams: Sequence[str], ledger: str | None
) -> tuple[tuple[State, ...], int]:
    wanted = {"streams": list(streams), "snapshot_topics": TOPICS, "ledger": ledger}
    rows = query.rows(connection, wanted, prepare=True)
    _require_present(rows[0])
    head, _, _, must_confirm = rows[0][:4]
    states = fold_rows(whole_rows(row[4:] for row in rows if row[4] is not None))
    if must_confirm:
        confirm(connection)
    return tuple(states.get(stream) for stream in streams), head


def _require_present(row: TupleRow) -> None:
    """Raise `LedgerMoved` or `LedgerMoving` if a row says that the ledger is not here."""
    head, state, installation, *_ = row
    if state is not None:
        refusal = Fence(state, installation).refusal()
        refusal.position = head
        raise refusal


def read_past(connection: Connection[Any], present: Sequence[str], stream: str, at: int | Instant) -> Past:
    """Return a stream as it was at a position, or at the last position recorded at or before an instant.

    `present` are other streams, read as they are now. Linearizable, like `read_aggregates`. Raises `LedgerMoved` or
    `LedgerMoving` if the stream's ledger is not here.
    """
    ledger = ledger_of(stream)
    wanted = {
        "streams": list(present),
        "past_stream": stream,
        "position": at if isinstance(at, int) else None,
        "recorded_at": at if isinstance(at, str) else None,
        "snapshot_topics": TOPICS,
        "ledger": ledger,
    }
    is_copied = isinstance(at, str) and _SQL["has_copies"].only(connection, {"ledger": ledger})[0]
    rows = (_READ_PAST_OF_COPIES if is_copied else _READ_PAST).rows(connection, wanted, prepare=True)
    _require_present(rows[0])
    head, _, _, must_confirm, head_recorded_at, position = rows[0][:6]
    states = fold_rows(whole_rows(row[6:] for row in rows if row[6] is not None))
    if must_confirm:
        confirm(connection)
    state = UnreadableAggregate(UnreadableEvent.reason) if position is None else states.get(stream)
    return Past(position or 0, state, tuple(map(states.get, present)), head, head_recorded_at)
