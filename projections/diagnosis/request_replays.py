"""Replays: how often a keyed request was repeated, by whom, and how often its key came with a different request.

The counts are best-effort: they are written a moment after the request (`api/service/replay_log.py`).
"""

from collections.abc import Collection
from typing import Any, Literal, NamedTuple

from psycopg import Connection

from domain.journal.queries import load
from domain.model.times import Instant, instant

ReplayKind = Literal["replayed", "mismatched"]
"""`replayed`: the same request, answered as before. `mismatched`: a different request under the key, refused."""

_SQL = load(__name__)


class Replays(NamedTuple):
    """How often one caller repeated a key, first and last when, and the correlation id of the last time."""

    ledger: str
    operation_id: str
    actor: str
    kind: ReplayKind
    times: int
    first_at: Instant
    last_at: Instant
    last_correlation_id: str


def add_replays(connection: Connection[Any], seen: Collection[Replays]) -> None:
    """Add counts to those stored. `seen` has each key, actor and kind at most once."""
    columns = {
        "ledgers": [replays.ledger for replays in seen],
        "operation_ids": [replays.operation_id for replays in seen],
        "actors": [replays.actor for replays in seen],
        "kinds": [replays.kind for replays in seen],
        "counts": [replays.times for replays in seen],
        "first_at": [replays.first_at for replays in seen],
        "last_at": [replays.last_at for replays in seen],
        "correlation_ids": [replays.last_correlation_id for replays in seen],
    }
    _SQL["add"].run(connection, columns)


def replays_of(connection: Connection[Any], ledger: str, operation_ids: Collection[str]) -> list[Replays]:
    """Return the replays of some operations of a ledger, in the order of their first replay."""
    wanted = {"ledger": ledger, "operation_ids": list(operation_ids)}
    rows = _SQL["of_operations"].rows(connection, wanted)
    return [Replays._make([*row[:5], instant(row[5]), instant(row[6]), row[7]]) for row in rows]


def replayed_in(connection: Connection[Any], ledger: str, correlation_id: str, limit: int) -> list[str]:
    """Return the ids of up to `limit` operations whose last replay had this correlation id."""
    wanted = {"ledger": ledger, "correlation_id": correlation_id, "limit": limit}
    rows = _SQL["in_conversation"].rows(connection, wanted)
    return [id for (id,) in rows]
