"""The queue of deliveries: which attempts are due, and what is recorded before and after each.

One publisher at a time works on it, on the connection that holds the publisher's place. An attempt is recorded durably
before its request is sent. If a publisher dies, the next one finds the attempts that have no end.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

import structlog
from psycopg import Connection, Cursor

from domain.journal.queries import load
from domain.journal.reader import Row
from domain.journal.silence import pipelined
from projections.outbox.schedule import AttemptAnswer

MAX_UNDER_WAY = 256
MAX_UNDER_WAY_OF_ONE = 16
# A failing receiver gets few places, so that many hanging ones leave room for the rest.
MAX_UNDER_WAY_OF_ONE_THAT_FAILS = 2
# A receiver that was away for longer than this gets everything that waits as soon as it is back.
LONG_OUTAGE_SECONDS = 60.0

INTERRUPTED = "the publisher ended before an answer was recorded"
GONE = "the receiver answered 410 Gone"

_SQL = load(__name__)
_log = structlog.get_logger(__name__)


class DueDelivery(NamedTuple):
    """An attempt to make now: its number, the failures in a row before it, and the event as it is stored.

    `position` is that of the installation's journal. The event has the one at which it is shown.
    """

    webhook_id: UUID
    position: int
    number: int
    failures: int
    url: str
    secrets: list[str]
    event: Row


class Ended(NamedTuple):
    """An attempt that ended. After a failure, `wait_seconds` is the time until the next, None if it was the last."""

    due: DueDelivery
    answer: AttemptAnswer
    wait_seconds: float | None


class ReceiverChanges(NamedTuple):
    """The queries that changed the state of receivers: well again, newly failing, disabled with the reason."""

    well: Cursor[Any]
    failing: Cursor[Any] | None
    disabled: Sequence[tuple[str, Cursor[Any]]]


def take_over(connection: Connection[Any]) -> None:
    """Prepare a connection, and make the attempts due again that a former publisher left without an end."""
    _SQL["session"].run(connection)
    with connection.transaction():
        _SQL["interrupted"].run(connection, {"reason": INTERRUPTED})


def take_turn(
    connection: Connection[Any],
    ended: Sequence[Ended],
    under_way: Mapping[UUID, int],
    disable_after_seconds: float,
) -> list[DueDelivery]:
    """Record how attempts ended, and begin those that are due and have room, in one transaction.

    `under_way` counts the attempts of each webhook that are still running.
    """
    # A key advances by one delivery a turn, so a turn takes only one or two round trips to the database. The changes of
    # receivers are fetched only after the claim.
    with pipelined(connection), connection.transaction():
        changes = None
        if ended:
            _SQL["lock"].run(connection)
            changes = _record(connection, ended, disable_after_seconds)
        claimed = _claim(connection, under_way)
    if changes:
        _tell(changes, ended)
    return claimed


def hand_over(connection: Connection[Any], ended: Sequence[Ended], disable_after_seconds: float) -> None:
    """Record how attempts ended, and make the unfinished ones due again. Called by a publisher that stops."""
    with connection.transaction():
        _SQL["lock"].run(connection)
        changes = _record(connection, ended, disable_after_seconds) if ended else None
        _SQL["interrupted"].run(connection, {"reason": INTERRUPTED})
    if changes:
        _tell(changes, ended)


def promote(connection: Connection[Any], webhooks: Sequence[UUID], positions: Sequence[int]) -> None:
    """Make the next delivery of each key due, now that the one before it is done. The caller holds the lock."""
    wanted = {"webhooks": list(webhooks), "positions": list(positions)}
    _SQL["promote"].run(connection, wanted, prepare=True)


def _claim(connection: Connection[Any], under_way: Mapping[UUID, int]) -> list[DueDelivery]:
    wanted = {
        "busy": list(under_way),
        "counts": list(under_way.values()),
        "room": MAX_UNDER_WAY_OF_ONE,
        "failing_room": MAX_UNDER_WAY_OF_ONE_THAT_FAILS,
        "limit": MAX_UNDER_WAY - sum(under_way.values()),
    }
    rows = _SQL["claim"].rows(connection, wanted, prepare=True)
    return [
        DueDelivery(
            id, position, number, failures, url, secrets or [], (stream, version, topic, bytes(state), shown)
        )
        for id, position, number, failures, url, secrets, stream, version, topic, state, shown in rows
    ]


def _record(
    connection: Connection[Any], ended: Sequence[Ended], disable_after_seconds: float
) -> ReceiverChanges:
    columns: dict[str, list[Any]] = {
        "webhooks": [of.due.webhook_id for of in ended],
        "positions": [of.due.position for of in ended],
        "numbers": [of.due.number for of in ended],
        "outcomes": ["acknowledged" if of.answer.is_acknowledged else "failed" for of in ended],
        "statuses": [of.answer.status for of in ended],
        "reasons": [of.answer.reason for of in ended],
        "doubts": [of.answer.is_in_doubt for of in ended],
        "waits": [of.wait_seconds for of in ended],
    }
    _SQL["ended"].run(connection, columns, prepare=True)
    promote(connection, columns["webhooks"], columns["positions"])
    return _judge_receivers(connection, ended, disable_after_seconds)


def _judge_receivers(
    connection: Connection[Any], ended: Sequence[Ended], disable_after_seconds: float
) -> ReceiverChanges:
    """Note which receivers fail and which are well again. Disable those that are gone or have failed for too long.

    The caller fetches the results later: in a pipeline, fetching waits for the database.
    """
    acknowledged = {of.due.webhook_id for of in ended if of.answer.is_acknowledged}
    wanted = {"webhooks": list(acknowledged), "long_seconds": LONG_OUTAGE_SECONDS}
    well = _SQL["well"].run(connection, wanted, prepare=True)
    disabled = []
    failing = {of.due.webhook_id for of in ended} - acknowledged
    begun = _SQL["failing"].run(connection, {"webhooks": list(failing)}) if failing else None
    if failing:
        words = f"nothing was acknowledged for {disable_after_seconds / 3600:g} hours"
        wanted = {
            "webhooks": list(failing),
            "reason": words,
            "disable_after_seconds": disable_after_seconds,
        }
        disabled.append((words, _SQL["given_up"].run(connection, wanted)))
    gone = {of.due.webhook_id for of in ended if of.answer.is_gone}
    if gone:
        wanted = {"webhooks": list(gone), "reason": GONE}
        disabled.append((GONE, _SQL["gone"].run(connection, wanted)))
    return ReceiverChanges(well, begun, disabled)


def _tell(changes: ReceiverChanges, ended: Sequence[Ended]) -> None:
    """Log which receivers began to fail, are well again, or were disabled."""
    reasons = {of.due.webhook_id: of.answer.reason for of in ended if not of.answer.is_acknowledged}
    for (id,) in changes.failing.fetchall() if changes.failing else ():
        _log.warning("webhook is failing", webhook_id=str(id), reason=reasons.get(id))
    for id, seconds in changes.well.fetchall():
        _log.info("webhook is well again", webhook_id=str(id), failing_seconds=round(seconds, 1))
    for reason, disabled in changes.disabled:
        for (id,) in disabled.fetchall():
            _log.error("webhook disabled", webhook_id=str(id), reason=reason)
