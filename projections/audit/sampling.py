"""Chooses a sample: the streams of the newest events, and of events drawn from the whole journal by a seed."""

import random
from collections.abc import Iterable, Iterator
from typing import Any

from psycopg import Connection

from domain.journal.queries import load
from projections.audit.stored import Sample

MAX_ACCOUNT_EVENTS = 50_000
"""The most events that the accounts of a sample have together, so that a sample ends soon however long accounts are."""

_SQL = load("projections.audit.audit")


def choose(connection: Connection[Any], events: int, seed: int) -> Sample:
    """Return the streams of the newest `events` events, and of as many drawn at random.

    Positions have no gaps, so every event is equally likely. Call it within `one_instant`.
    """
    (head,) = _SQL["head"].only(connection)
    newest, chance = range(max(1, head - events + 1), head + 1), random.Random(seed)
    drawn = chance.sample(range(1, head + 1), min(events, head))
    rows = _SQL["streams_at"].rows(connection, {"positions": [*newest, *drawn]})
    accounts = sorted(row for row in rows if "/accounts/" in row[0])
    chance.shuffle(accounts)
    return Sample(
        frozenset(_short_enough(accounts)),
        frozenset(stream for stream, _ in rows if "/transactions/" in stream),
    )


def _short_enough(accounts: Iterable[tuple[str, int]]) -> Iterator[str]:
    """Yield accounts, given with their lengths, as long as they have few enough events together."""
    total = 0
    for stream, length in accounts:
        if total + length <= MAX_ACCOUNT_EVENTS:
            total += length
            yield stream
