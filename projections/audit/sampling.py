"""Choosing a sample: the streams of the newest events, and of events drawn from the whole journal by a seed."""

import random
from typing import Any

from psycopg import Connection
from psycopg.rows import tuple_row

from domain.journal.queries import load
from projections.audit.stored import Sample

MAX_ACCOUNT_EVENTS = 10_000
"""An account with more events is left out of samples, which must end soon whatever they find."""

_SQL = load("projections.audit", "audit.sql")


def choose(connection: Connection[Any], events: int, seed: int) -> Sample:
    """Return the streams of as many of the newest events, and of as many drawn at random.

    Positions have no gaps, so every event is as likely as every other. To be called within `one_instant`.
    """
    cursor = connection.cursor(row_factory=tuple_row)
    ((head,),) = cursor.execute(_SQL["head"]).fetchall()
    newest = range(max(1, head - events + 1), head + 1)
    drawn = random.Random(seed).sample(range(1, head + 1), min(events, head))
    rows = cursor.execute(_SQL["streams_at"], {"positions": [*newest, *drawn]}).fetchall()
    return Sample(
        frozenset(s for s, length in rows if "/accounts/" in s and length <= MAX_ACCOUNT_EVENTS),
        frozenset(s for s, _ in rows if "/transactions/" in s),
    )
