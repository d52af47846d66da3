"""The story of an operation or of a conversation: everything known about it, gathered but not judged.

The events of an operation are found without an index, so its story is as reliable as a confirmation read. They are the
events of its own streams, and before each of those the changes to accounts by the same command, which directly precede
it in the journal. A conversation is found through the index of events.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, NamedTuple
from uuid import UUID

from psycopg import Connection

from domain.journal.queries import load
from domain.journal.reader import Row, UnreadableAggregate, read_aggregates
from domain.model.errors import JournalUnavailable, OperationUnknown
from domain.model.idempotency import is_key, operation_id
from domain.model.ledgers import existing_ledger
from domain.model.payouts.bridges import received_id
from domain.model.payouts.payout import Payout
from domain.model.streams import ledger_stream, payout_stream, transaction_stream
from domain.model.times import Instant, instant
from domain.model.transactions import Acceptance, Transaction
from projections.diagnosis.moves import Between, LedgerMove, read_stopped
from projections.diagnosis.request_replays import Replays, replayed_in, replays_of
from projections.engine.dead_letters import DeadLetter, letters_about
from projections.engine.live_version import one_instant
from projections.outbox.deliveries import Delivery, deliveries_at
from projections.read_models.event_history import JournalEvent, journal_event, list_events
from projections.read_models.event_keys import EventFilters
from projections.running.positions import Progress, all_progress

MAX_EVENTS = 2_000
"""How many events a story has at most, the oldest first: enough for a transaction with a thousand entries."""

MAX_OPERATIONS = 100
"""How many operations of a conversation are looked at, in the order in which they were recorded."""

_FIRST_STEP = 8

_SQL = load("projections.diagnosis.trace.trace")

Made = Transaction | Acceptance | Payout
"""What a keyed request has become."""

Reached = Literal["reached", "behind", "held"]


class ProjectionStanding(NamedTuple):
    """How far a projection is with the events of a story. `held` means that a dead letter holds one of their streams.

    If it is `reached`, the projection had the events by `advanced_at` at the latest.
    """

    progress: Progress
    reached: Reached
    advanced_at: Instant


class Suppression(NamedTuple):
    """Events for a webhook that a rebuild of the outbox met again, and did not deliver again."""

    webhook_id: UUID
    version: int
    positions: tuple[int, ...]
    last_at: Instant


class Story(NamedTuple):
    """Everything known about some operations, the events in the order of positions.

    It is complete up to `position`. `is_whole` is false if there is more than `MAX_EVENTS` or `MAX_OPERATIONS`.
    `received` are the events that other ledgers recorded for its bridges, if they were asked for. Their positions may
    be those of another journal. `stopped` is the move for the end of which writes to the ledger are refused. `between`
    says that the ledger has left and has not arrived, so that there is no more of it anywhere. `unnamed` has ledgers
    that bridges may lead to, and the installations of theirs that the placement does not name, if home was asked.
    """

    operations: tuple[Made, ...]
    events: tuple[JournalEvent, ...]
    replays: tuple[Replays, ...]
    standings: tuple[ProjectionStanding, ...]
    deliveries: tuple[Delivery, ...]
    suppressions: tuple[Suppression, ...]
    letters: tuple[DeadLetter, ...]
    position: int
    head: int
    is_whole: bool
    received: tuple[JournalEvent, ...] = ()
    stopped: LedgerMove | None = None
    between: Between | None = None
    unnamed: Mapping[str, str] = MappingProxyType({})

    @property
    def has_bridges_under_way(self) -> bool:
        """Whether any of its operations is a bridge under way."""
        return any(isinstance(made, Payout) and is_bridge_under_way(made) for made in self.operations)


def is_bridge_under_way(payout: Payout) -> bool:
    """Tell whether a payout is a bridge that will end by itself. What contradicts itself is for a person to decide."""
    return payout.is_bridge and payout.state in ("accepted", "submitted", "in_doubt")


def story_of_operation(
    connection: Connection[Any], ledger: str, id: str, between: Between | None = None
) -> Story:
    """Return the story of the operation with an id, read at one instant.

    Given that the ledger is `between` this installation and another, the story is that of the events that it had when
    it left. The connection must be in no transaction. Raises, in this order, `LedgerMoved` or `LedgerMoving` if the
    ledger is not here otherwise, `JournalUnavailable` if this release cannot read the operation, `LedgerNotFound` and
    `OperationUnknown`.
    """
    with one_instant(connection):
        operations, head = _operations(connection, ledger, [id], between)
        if not operations:
            raise OperationUnknown
        own = _own_events(connection, [transaction_stream(ledger, id), payout_stream(ledger, id)])
        events = _with_what_they_did(connection, own)
        story = _story(connection, ledger, operations, events, head, head, is_whole=len(own) <= MAX_EVENTS)
        return story._replace(between=between)


def story_of_conversation(
    connection: Connection[Any], ledger: str, correlation_id: str, between: Between | None = None
) -> Story:
    """Return the story of everything with a correlation id: events, operations, and what became of them.

    If nothing was recorded under it, the story has no events. `between` is as for `story_of_operation`. The connection
    must be in no transaction. Raises what `list_events` raises, then what `story_of_operation` raises except
    `OperationUnknown`.
    """
    found = list_events(connection, ledger, EventFilters(correlation_id=correlation_id), limit=MAX_EVENTS + 1)
    with one_instant(connection):
        ids = _operation_ids(ledger, found.rows)
        ids |= dict.fromkeys(replayed_in(connection, ledger, correlation_id, MAX_OPERATIONS))
        operations, _ = _operations(connection, ledger, list(ids)[:MAX_OPERATIONS], between)
        is_whole = len(found.rows) <= MAX_EVENTS and len(ids) <= MAX_OPERATIONS
        events = found.rows[:MAX_EVENTS]
        story = _story(connection, ledger, operations, events, found.position, found.head, is_whole=is_whole)
        return story._replace(between=between)


def events_received(connection: Connection[Any], bridges: Sequence[Payout]) -> list[JournalEvent]:
    """Return the events that the receivers recorded for bridges, in the order of positions, of those that are here."""
    with one_instant(connection):
        return _with_what_they_did(connection, _own_events(connection, [*map(_received_stream, bridges)]))


def _received_stream(bridge: Payout) -> str:
    receiver: str = bridge.destination["ledger"]
    return transaction_stream(receiver, received_id(receiver, bridge.provider_key))


def _operations(
    connection: Connection[Any], ledger: str, ids: Sequence[str], between: Between | None
) -> tuple[tuple[Made, ...], int]:
    """Return what the requests with these ids became, a payout rather than its hold, and the head."""
    streams = [stream(ledger, id) for id in ids for stream in (payout_stream, transaction_stream)]
    required = ledger if between is None else None
    states, head = read_aggregates(connection, [ledger_stream(ledger), *streams], required)
    for state in states:
        if isinstance(state, UnreadableAggregate):
            raise JournalUnavailable(state.reason)
    existing_ledger(states[0], ledger)
    pairs = zip(states[1::2], states[2::2], strict=True)
    made = [transaction if payout is None else payout for payout, transaction in pairs]
    return tuple(each for each in made if each is not None), head


def _operation_ids(ledger: str, events: Iterable[JournalEvent]) -> dict[str, None]:
    """Return the ids of the operations that clients asked for, in order. The ledger's own keys have another form."""
    keys = dict.fromkeys(event.content.text("idempotency_key") for event in events)
    return {operation_id(ledger, key): None for key in keys if key is not None and is_key(key)}


def _own_events(connection: Connection[Any], streams: Sequence[str]) -> list[JournalEvent]:
    wanted = {"streams": list(streams), "limit": MAX_EVENTS + 1}
    rows = _SQL["of_streams"].rows(connection, wanted)
    return sorted((journal_event(_row(row)) for row in rows), key=lambda event: event.position)


def _with_what_they_did(connection: Connection[Any], own: Sequence[JournalEvent]) -> list[JournalEvent]:
    """Return events of transactions and payouts, and before each the events that the same command recorded.

    The search goes back from each event, in ever longer steps, as long as the cause stays the same.
    """
    events = {event.position: event for event in own[:MAX_EVENTS]}
    walking = {event.position: event for event in events.values()}
    step = _FIRST_STEP
    while walking and len(events) < MAX_EVENTS:
        before = {at for position in walking for at in range(max(1, position - step), position)}
        found = _at_positions(connection, before - events.keys()) | events
        walking, began = {}, walking
        for position, last in began.items():
            at, end = position - 1, max(1, position - step)
            while at >= end and at in found and _is_of_one_command(found[at], last):
                events[at] = found[at]
                at -= 1
            if 0 < at < end:
                walking[at + 1] = last
        step *= 4
    return sorted(events.values(), key=lambda event: event.position)[:MAX_EVENTS]


def _is_of_one_command(event: JournalEvent, last: JournalEvent) -> bool:
    """Tell whether an event was recorded by the command whose last event is `last`.

    Without a key, the cause is shared with other commands of the conversation. Then only changes to accounts count.
    """
    if event.content.text("causation_id") != last.content.text("causation_id"):
        return False
    return last.content.text("idempotency_key") is not None or "/accounts/" in event.row[0]


def _at_positions(connection: Connection[Any], positions: Collection[int]) -> dict[int, JournalEvent]:
    wanted = {"positions": sorted(positions)}
    rows = _SQL["at_positions"].rows(connection, wanted)
    return {row[4]: journal_event(_row(row)) for row in rows}


def _row(row: Sequence[Any]) -> Row:
    stream, version, topic, state, position = row
    return stream, version, topic, bytes(state), position


def _story(
    connection: Connection[Any],
    ledger: str,
    operations: tuple[Made, ...],
    events: Sequence[JournalEvent],
    position: int,
    head: int,
    *,
    is_whole: bool,
) -> Story:
    positions = [event.position for event in events]
    last_of = {event.row[0]: event.position for event in events}
    letters = [
        letter
        for letter in letters_about(connection, list(last_of), positions)
        if letter.position <= last_of.get(letter.stream, 0)
    ]
    deliveries = deliveries_at(connection, positions)
    return Story(
        operations,
        tuple(events),
        tuple(replays_of(connection, ledger, [made.id for made in operations])),
        tuple(_standings(connection, letters, positions[-1])) if positions else (),
        tuple(deliveries),
        tuple(_suppressions(connection, deliveries)),
        tuple(letters),
        position,
        head,
        is_whole,
        stopped=read_stopped(connection, ledger),
    )


def _standings(
    connection: Connection[Any], letters: Sequence[DeadLetter], last: int
) -> Iterable[ProjectionStanding]:
    rows = _SQL["advanced"].rows(connection)
    advanced = {(name, version): instant(at) for name, version, at in rows}
    held = {(letter.projection, letter.projection_version) for letter in letters if letter.state == "open"}
    for progress in all_progress(connection):
        of = progress.name, progress.version
        reached: Reached = "reached" if progress.reflects(last) else "behind"
        yield ProjectionStanding(progress, "held" if of in held else reached, advanced[of])


def _suppressions(connection: Connection[Any], deliveries: Sequence[Delivery]) -> Iterable[Suppression]:
    positions: dict[UUID, list[int]] = {}
    for delivery in deliveries:
        positions.setdefault(delivery.webhook_id, []).append(delivery.position)
    if not positions:
        return
    wanted = {"webhooks": list(positions), "first": deliveries[0].position, "last": deliveries[-1].position}
    for webhook_id, version, first, last, last_at in _SQL["suppressed"].rows(connection, wanted):
        found = tuple(position for position in positions[webhook_id] if first <= position <= last)
        if found:
            yield Suppression(webhook_id, version, found, instant(last_at))
