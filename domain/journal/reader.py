"""Reading streams: the fold of an aggregate from its newest snapshot and the events after it."""

from collections.abc import Iterable, Sequence
from typing import Any

from psycopg import Connection
from psycopg.rows import tuple_row

from domain.aggregates import evolve
from domain.events import State
from domain.journal.encoding import UnreadableEvent, decode
from domain.journal.queries import load
from domain.journal.snapshots import TOPICS, decode_snapshot

_SQL = load("domain.journal", "journal.sql")
_READ = _SQL["read"].replace(":load", _SQL["load"])

Row = tuple[str, int, str, bytes, int]
"""A stored event: stream, version, topic, state, position. A snapshot stands first in its stream, at position 0."""


class Unreadable:
    """Stands for an aggregate with an event that this release cannot read; commands on it are refused."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


def fold_rows(rows: Iterable[Row]) -> dict[str, State]:
    """Return the state of each stream, an `Unreadable` where an event cannot be read."""
    states: dict[str, State] = {}
    for stream, version, topic, state, position in rows:
        known = states.get(stream)
        if isinstance(known, Unreadable):
            continue
        try:
            if topic in TOPICS:
                states[stream] = decode_snapshot(state)
            else:
                states[stream] = evolve(known, decode(stream, version, topic, state, position))
        except UnreadableEvent as error:
            states[stream] = Unreadable(error.reason)
        except (ValueError, TypeError, LookupError, AssertionError):
            # A snapshot that is damaged, or events in an order that no release of this project has written.
            states[stream] = Unreadable(UnreadableEvent.reason)
    return states


def read_aggregates(connection: Connection[Any], streams: Sequence[str]) -> tuple[tuple[State, ...], int]:
    """Return the state of each stream, None if it has no events, and the head of the journal at that instant.

    Linearizable: on the primary, in one statement and so of one instant, nothing cached (DESIGN.md, Consistency).
    """
    wanted = {"streams": list(streams), "snapshot_topics": TOPICS}
    rows = connection.cursor(row_factory=tuple_row).execute(_READ, wanted, prepare=True).fetchall()
    states = fold_rows(row[1:] for row in rows if row[1] is not None)
    return tuple(states.get(stream) for stream in streams), rows[0][0]
