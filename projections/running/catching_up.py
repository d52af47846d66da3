"""Bringing projections to the head of the journal when no projector runs."""

import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from time import monotonic, sleep
from typing import Any

from psycopg import Connection

from domain.journal.database import Database
from projections.engine.recent_events import RecentEvents
from projections.registry import find_projection
from projections.running.places import holders, places_of
from projections.running.positions import Progress, progress
from projections.running.runner import Runner

LOOK_SECONDS = 0.1
PATIENCE_SECONDS = 30.0
"""A projection that stands still for this long is given up."""


def catch_up(
    database: Database, names: Collection[str], patience_seconds: float = PATIENCE_SECONDS
) -> list[Progress]:
    """Advance projections to the present head, unless somebody else does; return those that are left behind it.

    Left behind are projections that are paused, halted or failing, or that did not move for `patience_seconds`. A
    projection that somebody else advances is left to them. Raises `ProjectionNotFound`, and
    `psycopg.OperationalError` if the database is out of reach.
    """
    with database.connect("tallystick catching up") as connection:
        behind = [seen for seen in (progress(connection, name) for name in names) if seen.lag_events]
        alone = [seen.name for seen in behind if seen.state == "running" and _is_free(connection, seen.name)]
        if alone:
            with _advancing(database, alone):
                _await(connection, alone, behind[0].head, patience_seconds)
        seen_again = [(before, progress(connection, before.name)) for before in behind]
        return [
            seen
            for before, seen in seen_again
            if seen.position < before.head and (seen.name in alone or seen.state != "running")
        ]


def _is_free(connection: Connection[Any], name: str) -> bool:
    return not holders(connection, places_of(name))


def _await(connection: Connection[Any], names: Collection[str], head: int, patience_seconds: float) -> None:
    """Wait until each projection has reached the head or can go no further, or none has moved for too long."""
    moved_at, before = monotonic(), 0
    while monotonic() < moved_at + patience_seconds:
        seen = [progress(connection, name) for name in names]
        if all(each.position >= head or each.state != "running" or each.last_error for each in seen):
            return
        if (now := sum(each.position for each in seen)) != before:
            moved_at, before = monotonic(), now
        sleep(LOOK_SECONDS)


@contextmanager
def _advancing(database: Database, names: Collection[str]) -> Iterator[None]:
    stop, tail = threading.Event(), RecentEvents()
    runners = [Runner(database, find_projection(name), stop, tail) for name in names]
    threads = [threading.Thread(target=runner.run, name="catching up", daemon=True) for runner in runners]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()
