"""Webhooks: the URLs to which events are delivered, what each has subscribed to, and the secrets that sign for it.

The functions need a connection that is in no transaction. A deleted webhook is not found any more, but its deliveries
stay recorded.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import structlog
from psycopg import Connection

from domain.journal.queries import Query, load
from domain.model.times import Instant, instant
from projections.engine.live_version import Rows, read_rows
from projections.engine.projection import directed
from projections.outbox.signatures import new_secret

MAX_OVERLAP_SECONDS = 30 * 24 * 60 * 60
DEFAULT_OVERLAP_SECONDS = 24 * 60 * 60

_SQL = load(__name__)
_log = structlog.get_logger(__name__)


class Webhook(NamedTuple):
    """A webhook without its secrets. It gets the events after `position`.

    `suppressed` counts the deliveries that rebuilds did not make again.
    """

    id: UUID
    url: str
    ledgers: tuple[str, ...]
    types: tuple[str, ...]
    description: str
    state: str
    disabled_reason: str | None
    failing_since: Instant | None
    position: int
    created_by: str
    created_at: Instant
    suppressed: int


class Registration(NamedTuple):
    """The data of a new webhook, and who registers it."""

    url: str
    ledgers: Sequence[str]
    types: Sequence[str]
    description: str
    created_by: str


def register_webhook(connection: Connection[Any], registration: Registration) -> tuple[Webhook, str]:
    """Register a webhook that gets every event from now on; return it and its secret, which is shown only once."""
    id, secret = uuid4(), new_secret()
    row = {
        **registration._asdict(),
        "ledgers": list(registration.ledgers),
        "types": list(registration.types),
        "id": id,
    }
    with connection.transaction():
        _SQL["lock"].run(connection)
        _SQL["add"].run(connection, row)
        _SQL["add_secret"].run(connection, {"id": id, "secret": secret})
        (made,) = _webhooks(connection, _SQL["find"], {"id": id})
    return made, secret


def find_webhook(connection: Connection[Any], id: UUID) -> Webhook | None:
    """Return the webhook with this id, None if there is none."""
    return next(iter(_webhooks(connection, _SQL["find"], {"id": id})), None)


def ledgers_of(connection: Connection[Any], id: UUID) -> tuple[str, ...] | None:
    """Return the ledgers of the webhook with this id, even if it was deleted; None if there is none."""
    row = _SQL["ledgers"].row(connection, {"id": id})
    return None if row is None else tuple(row[0])


def list_webhooks(
    connection: Connection[Any],
    after: tuple[Instant, str] | None,
    limit: int,
    *,
    descending: bool,
    granted: Sequence[str] | None = None,
    most_bytes: int | None = None,
) -> Rows[Webhook]:
    """Return up to `limit` webhooks registered after the one with this time and id, oldest first.

    `granted` are the caller's ledgers, None for all. A webhook that gets events of other ledgers is left out. The page
    ends early with the webhook that makes it larger than `most_bytes`, unless that is None.
    """
    time, id = after or (None, None)
    query = directed(_SQL["list"], descending=descending)
    wanted: dict[str, Any] = {"after_time": time, "after_id": id, "limit": limit}
    wanted["granted"] = None if granted is None else list(granted)
    rows = read_rows(connection, query, wanted, most_bytes)
    return rows.read_as(_webhook(*row) for row in rows)


def rotate_secret(connection: Connection[Any], id: UUID, overlap_seconds: int) -> str | None:
    """Return a new secret; the former ones sign as well until the overlap ends. None if there is no such webhook."""
    secret = new_secret()
    with connection.transaction():
        _SQL["lock"].run(connection)
        if find_webhook(connection, id) is None:
            return None
        _SQL["end_secrets"].run(connection, {"id": id, "overlap_seconds": overlap_seconds})
        _SQL["remove_ended_secrets"].run(connection, {"id": id})
        _SQL["add_secret"].run(connection, {"id": id, "secret": secret})
    return secret


def disable_webhook(connection: Connection[Any], id: UUID, reason: str) -> Webhook | None:
    """Stop sending until it is enabled; its deliveries wait. Return it, None if there is no such webhook."""
    if _SQL["disable"].run(connection, {"id": id, "reason": reason}).rowcount:
        _log.info("webhook disabled", webhook_id=str(id), reason=reason)
    return find_webhook(connection, id)


def enable_webhook(
    connection: Connection[Any], id: UUID, actor: str | None = None, reason: str = ""
) -> Webhook | None:
    """Continue where it was disabled, with the schedules started over. Return it, None if there is no such webhook.

    The actor and the reason are logged.
    """
    with connection.transaction():
        _SQL["lock"].run(connection)
        is_changed = _SQL["enable"].run(connection, {"id": id}).rowcount > 0
        if is_changed:
            _SQL["begin_anew"].run(connection, {"id": id})
            _SQL["announce"].run(connection)
        found = find_webhook(connection, id)
    if is_changed:
        _log.info("webhook enabled", webhook_id=str(id), actor=actor, reason=reason)
    return found


def delete_webhook(connection: Connection[Any], id: UUID, actor: str) -> bool:
    """Stop sending for ever and delete the secrets; tell whether there is such a webhook. Idempotent."""
    with connection.transaction():
        _SQL["lock"].run(connection)
        if not _SQL["delete"].run(connection, {"id": id}).rowcount:
            return _SQL["was_deleted"].run(connection, {"id": id}).rowcount > 0
        _SQL["suppress"].run(connection, {"id": id, "reason": f"the webhook was deleted by {actor}"})
        _SQL["end_secrets"].run(connection, {"id": id, "overlap_seconds": 0})
        _SQL["remove_ended_secrets"].run(connection, {"id": id})
    _log.info("webhook deleted", webhook_id=str(id), actor=actor)
    return True


def _webhooks(connection: Connection[Any], query: Query, wanted: dict[str, Any]) -> list[Webhook]:
    return query.rows(connection, wanted, into=_webhook)


def _webhook(
    id: UUID,
    url: str,
    ledgers: list[str],
    types: list[str],
    description: str,
    state: str,
    disabled_reason: str | None,
    failing_since: datetime | None,
    position: int,
    created_by: str,
    created_at: datetime,
    suppressed: int,
) -> Webhook:
    return Webhook(
        id,
        url,
        tuple(ledgers),
        tuple(types),
        description,
        state,
        disabled_reason,
        None if failing_since is None else instant(failing_since),
        position,
        created_by,
        instant(created_at),
        suppressed,
    )
