"""Deliveries: what became of each event for each webhook it is owed to, and what an operator can do about it.

The functions need a connection that is in no transaction.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple
from uuid import UUID

import structlog
from psycopg import Connection

from domain.journal.queries import Query, load
from domain.model.times import Instant, instant
from projections.engine.live_version import Rows, read_rows
from projections.engine.projection import directed
from projections.outbox.messages import event_id
from projections.outbox.queue import promote
from projections.read_models.outbox import partition_key

State = Literal["pending", "sent", "acknowledged", "failed", "suppressed"]

_SQL = load(__name__)
_log = structlog.get_logger(__name__)


class Attempt(NamedTuple):
    """One attempt to deliver an event to a receiver, or the decision not to.

    `duplicated` means that the receiver may have had the event before. `status_code` is None if no answer came.
    """

    number: int
    outcome: Literal["sent", "acknowledged", "failed", "suppressed"]
    duplicated: bool
    sent_at: Instant
    ended_at: Instant | None
    duration_seconds: float | None
    status_code: int | None
    reason: str | None


class Delivery(NamedTuple):
    """An event owed to a webhook. `next_attempt_at` is None if it is finished or behind another delivery of its key.

    `position` is that of the installation's journal, and the one in `event_id` is where the event is shown.
    """

    webhook_id: UUID
    position: int
    event_id: str
    type: str
    partition_key: str
    correlation_id: str
    state: State
    reason: str | None
    next_attempt_at: Instant | None
    attempts: tuple[Attempt, ...]


def find_delivery(connection: Connection[Any], webhook_id: UUID, position: int) -> Delivery | None:
    """Return the delivery of the event at a position to a webhook, None if it is not owed to it."""
    wanted = {"webhook_id": webhook_id, "position": position}
    return next(iter(_deliveries(connection, _SQL["find"], wanted)), None)


def list_deliveries(
    connection: Connection[Any],
    webhook_id: UUID,
    state: State | None,
    after: int | None,
    limit: int,
    *,
    descending: bool,
    most_bytes: int | None = None,
) -> Rows[Delivery]:
    """Return up to `limit` deliveries of a webhook beyond the position `after`, in the order of positions.

    The page ends early with the delivery that makes it larger than `most_bytes`, unless that is None.
    """
    query = _SQL["list"] if state is None else _SQL["list_in_state"].fill(state=f"'{state}'")
    wanted = {"webhook_id": webhook_id, "after": after, "limit": limit}
    query = directed(query, descending=descending)
    rows = read_rows(connection, query, wanted, most_bytes)
    return rows.read_as(_delivery(*row) for row in rows)


def deliveries_at(connection: Connection[Any], positions: Sequence[int]) -> list[Delivery]:
    """Return the deliveries of the events at these positions to any webhook, in the order of positions."""
    return _deliveries(connection, _SQL["at_positions"], {"positions": list(positions)})


def retry_delivery(
    connection: Connection[Any],
    webhook_id: UUID,
    position: int,
    actor: str | None = None,
    reason: str = "",
) -> Delivery | None:
    """Make the delivery due at once and start its schedule over; return it, None if it is not owed.

    A delivery that is under way or behind another of its key is left unchanged. An acknowledged one is sent again,
    outside the order of its key. The actor and the reason are logged.
    """
    wanted = {"webhook_id": webhook_id, "position": position}
    with connection.transaction():
        _SQL["lock"].run(connection)
        is_changed = _SQL["retry"].run(connection, wanted).rowcount > 0
        _SQL["announce"].run(connection)
        found = find_delivery(connection, webhook_id, position)
    if is_changed:
        named = {"webhook_id": str(webhook_id), "position": position}
        _log.info("delivery retried", **named, actor=actor, reason=reason)
    return found


def discard_delivery(
    connection: Connection[Any], webhook_id: UUID, position: int, reason: str
) -> Delivery | None:
    """Give a delivery up for good, so that later ones of its key continue; return it, None if it is not owed.

    Idempotent. If an attempt under way is acknowledged after all, the acknowledgement is kept.
    """
    wanted = {"webhook_id": webhook_id, "position": position, "reason": reason}
    with connection.transaction():
        _SQL["lock"].run(connection)
        _SQL["discard"].run(connection, wanted)
        promote(connection, [webhook_id], [position])
        _SQL["announce"].run(connection)
        return find_delivery(connection, webhook_id, position)


def _deliveries(connection: Connection[Any], query: Query, wanted: dict[str, Any]) -> list[Delivery]:
    return query.rows(connection, wanted, into=_delivery)


def _delivery(
    webhook_id: UUID,
    position: int,
    shown: int,
    stream: str,
    topic: str,
    correlation_id: str,
    state: State,
    reason: str | None,
    due_at: datetime | None,
    attempts: list[dict[str, Any]],
) -> Delivery:
    return Delivery(
        webhook_id,
        position,
        event_id(stream, shown),
        topic,
        partition_key(stream),
        correlation_id,
        state,
        reason,
        None if due_at is None else instant(due_at),
        tuple(_attempt(attempt) for attempt in attempts),
    )


def _attempt(found: dict[str, Any]) -> Attempt:
    times = {
        name: None if found[name] is None else instant(datetime.fromisoformat(found[name]))
        for name in ("sent_at", "ended_at")
    }
    return Attempt(**{**found, **times})
