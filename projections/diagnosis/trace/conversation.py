"""The stories of a correlation id in the ledgers of an installation: a conversation may be about several."""

from collections.abc import Iterable, Iterator
from typing import Any

from psycopg import Connection

from domain.model.errors import LedgerMoved
from projections.diagnosis.moves import Between
from projections.diagnosis.request_replays import replayed_in
from projections.diagnosis.trace.story import Story, story_of_conversation
from projections.read_models.event_history import list_events
from projections.read_models.event_keys import EventFilters


def stories_of_conversation(
    connection: Connection[Any], ledgers: Iterable[str], correlation_id: str
) -> Iterator[tuple[str, Story]]:
    """Yield each of these ledgers in which anything has a correlation id, with the story of that.

    The ledgers must exist. One that leaves meanwhile is passed over. Raises what `story_of_conversation` raises
    otherwise.
    """
    for ledger in ledgers:
        if _is_known(connection, ledger, correlation_id):
            try:
                story = story_of_conversation(connection, ledger, correlation_id)
            except LedgerMoved:
                continue
            yield ledger, story


def stories_between(
    connection: Connection[Any], between: Iterable[Between], correlation_id: str
) -> Iterator[tuple[str, Story]]:
    """Yield the same of ledgers that are between this installation, which they left, and another."""
    for of in between:
        if _is_known(connection, of.ledger, correlation_id):
            yield of.ledger, story_of_conversation(connection, of.ledger, correlation_id, of)


def _is_known(connection: Connection[Any], ledger: str, correlation_id: str) -> bool:
    found = list_events(connection, ledger, EventFilters(correlation_id=correlation_id), limit=1)
    return bool(found.rows or replayed_in(connection, ledger, correlation_id, 1))
