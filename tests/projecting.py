"""What tests of projections do: run a projector, wait for it, and append events that no ledger would write."""

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import monotonic, sleep
from typing import Any

from psycopg import Connection

from domain.journal.database import Database
from projections.engine.projection import Projection
from projections.registry import PROJECTIONS
from projections.running.positions import Progress, progress
from projections.running.projector import run_projector
from tests.tampering import arm, disarm

PATIENCE_SECONDS = 60.0


class Deaf(Database):
    """A database whose notifications nobody receives."""

    @property
    def journal_channel(self) -> str:
        return "nobody_notifies_here"


@contextmanager
def projecting(
    database: Database, projections: Sequence[Projection] = tuple(PROJECTIONS.values())
) -> Iterator[None]:
    """A projector that runs meanwhile, as a process of the service would run it."""
    stop = threading.Event()
    thread = threading.Thread(target=run_projector, args=(database, stop, projections))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(PATIENCE_SECONDS)
        assert not thread.is_alive()


def eventually(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds. The time limit is far beyond the time it takes and only ends a failing test."""
    give_up_at = monotonic() + PATIENCE_SECONDS
    while not condition():
        assert monotonic() < give_up_at, "it never came about"
        sleep(0.01)


def await_progress(connection: Connection[Any], name: str, condition: Callable[[Progress], bool]) -> Progress:
    """Wait until a projection's progress satisfies a condition, and return it."""
    eventually(lambda: condition(progress(connection, name)))
    return progress(connection, name)


def await_head(connection: Connection[Any], *names: str) -> int:
    """Wait until the named projections, or all of them, are at the head, and return the head."""
    for name in names or PROJECTIONS:
        await_progress(connection, name, lambda seen: seen.reflects(seen.head))
    return progress(connection, "ledgers").head


def unreadable_posting(recorded_at: str) -> bytes:
    """Return a stored posting with a member that no release knows, so that it can never be read.

    `recorded_at` can be read, because accounts are looked up by it. The other members are as the document describes
    them.
    """
    texts = dict.fromkeys(("reference", "description", "fingerprint"), "")
    data = {**texts, "metadata": {}, "entries": [], "effective_at": recorded_at, "unknown": True}
    stored = {"class_version": 2, "recorded_at": recorded_at, "data": data}
    return json.dumps(stored, separators=(",", ":")).encode()


def append(owner: Connection[Any], stream: str, version: int, topic: str, state: bytes) -> int:
    """Append an event this release would not record. Return its position."""
    with owner.transaction():
        (head,) = owner.execute("SELECT position FROM head FOR UPDATE").fetchone() or (0,)
        owner.execute(
            "INSERT INTO events (originator_id, originator_version, topic, state, notification_id)"
            " VALUES (%s, %s, %s, %s, %s)",
            (stream, version, topic, state, head + 1),
        )
        owner.execute("UPDATE head SET position = %s", (head + 1,))
    return int(head) + 1


def delete_event(owner: Connection[Any], position: int) -> None:
    """Delete an event, as only a malicious superuser can."""
    with owner.transaction():
        disarm(owner)
        owner.execute("DELETE FROM stored_events WHERE notification_id = %s", (position,))
        arm(owner)


def holder(owner: Connection[Any], name: str) -> int | None:
    """The process id of the session that holds the place of a projection's runner."""
    row = owner.execute(
        "SELECT pid FROM pg_locks, hashtextextended('projection ' || current_schema() || '/' || %s, 0) AS key"
        " WHERE locktype = 'advisory' AND granted AND objsubid = 1"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        " AND classid::bigint = (key >> 32) & 4294967295 AND objid::bigint = key & 4294967295",
        (PROJECTIONS[name].of_shape,),
    ).fetchone()
    return None if row is None else int(row[0])


def cut(owner: Connection[Any], application_name: str) -> int:
    """End all sessions of this name on this database. Return how many there were."""
    return owner.execute(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name = %s",
        (application_name,),
    ).rowcount


def set_state(owner: Connection[Any], name: str, state: str) -> None:
    """Pause or resume a projection."""
    owner.execute("UPDATE projection_versions SET state = %s WHERE name = %s", (state, name))
