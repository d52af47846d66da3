"""Brings projections to the head of the journal, before they are measured and after each run of others."""

import threading
from collections.abc import Sequence
from time import monotonic, perf_counter, sleep
from typing import Any

from psycopg import Connection

from domain.journal.database import Database
from projections.engine.projection import Projection
from projections.registry import PROJECTIONS, install
from projections.running.positions import progress
from projections.running.projector import run_projector
from scripts.bench.report.figures import BenchFailed

STALL_TIMEOUT_SECONDS = 60.0
POLL_SECONDS = 0.02


def catch_up(
    database: Database, projections: Sequence[Projection], stall_seconds: float = STALL_TIMEOUT_SECONDS
) -> int:
    """Bring projections to the head of the journal and return it. Nothing else may write meanwhile.

    Raises `BenchFailed` if a projection stands still for `stall_seconds`. One that is far behind is filled beside its
    live version, which does not move meanwhile.
    """
    install(database)
    stop = threading.Event()
    projector = threading.Thread(target=run_projector, args=(database, stop, projections), daemon=True)
    projector.start()
    try:
        with database.connect("tallystick bench") as connection:
            return min(_caught_up(connection, projection.name, stall_seconds) for projection in projections)
    finally:
        stop.set()
        projector.join()


def seconds_to_catch_up(database: Database) -> float:
    """Wait until the running projections have reached the head and return how long it took. Nothing may write
    meanwhile.
    """
    with database.connect("tallystick bench") as connection:
        return seconds_until_caught_up(connection)


def seconds_until_caught_up(connection: Connection[Any]) -> float:
    """Do what `seconds_to_catch_up` does, on a connection that is there already."""
    began = perf_counter()
    for name in PROJECTIONS:
        _caught_up(connection, name)
    return perf_counter() - began


def _caught_up(connection: Connection[Any], name: str, stall_seconds: float = STALL_TIMEOUT_SECONDS) -> int:
    position, moved_at = -1, monotonic()
    while monotonic() < moved_at + stall_seconds:
        reached = progress(connection, name)
        if reached.position == reached.head and reached.state == "running":
            return reached.head
        if reached.position != position:
            position, moved_at = reached.position, monotonic()
        sleep(POLL_SECONDS)
    raise BenchFailed(f"the projection {name} stands still at {position}")
