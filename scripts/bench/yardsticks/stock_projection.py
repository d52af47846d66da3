"""The yardstick for projecting with the eventsourcing library: its runner, its defaults, one projection.

The projection is as trivial as possible: it only records that it has seen each event.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any
from uuid import UUID

import psycopg
from eventsourcing.persistence import Tracking
from eventsourcing.postgres import PostgresTrackingRecorder
from eventsourcing.projection import Projection, ProjectionRunner
from psycopg.sql import SQL, Identifier

from scripts.bench.report.figures import BenchFailed, Measurement
from scripts.bench.workloads.installation import schema
from scripts.bench.workloads.recording import AT_ONCE
from scripts.bench.workloads.transfers import address
from scripts.bench.yardsticks.stock_library import Accounts, environment_of

TIMEOUT_SECONDS = 120.0


class Seen(Projection[PostgresTrackingRecorder]):
    """Records the position of each event, each in its own transaction, as in the library's documentation."""

    def __init__(self, view: PostgresTrackingRecorder) -> None:
        super().__init__(view)
        self._position = 0
        self._moved = threading.Condition()

    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        """Record the position and notify those who wait for it."""
        self.view.insert_tracking(tracking)
        with self._moved:
            self._position = tracking.notification_id
            self._moved.notify_all()

    def reaches(self, position: int) -> bool:
        """Wait until a position is reached. Tell whether it was reached in time."""
        with self._moved:
            return self._moved.wait_for(lambda: self._position >= position, TIMEOUT_SECONDS)


@contextmanager
def stock_projection(url: str) -> Iterator[Callable[[int], Measurement]]:
    """The yardstick, in its own schema. Called with a number of events, it projects and times them."""
    with schema(url) as database:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(SQL("CREATE SCHEMA {}").format(Identifier(database.schema)))
        recording = Accounts(environment_of(database))
        try:
            yield lambda events: _project(recording, events)
        finally:
            recording.close()


def _project(recording: Accounts, events: int) -> Measurement:
    ids: list[UUID] = []
    for first in range(0, events, AT_ONCE):
        ids += recording.open([address(number) for number in range(first, min(first + AT_ONCE, events))])
    last = recording.recorder.max_notification_id()
    assert last is not None
    runner: ProjectionRunner[Accounts, PostgresTrackingRecorder] = ProjectionRunner(
        application_class=Accounts,
        projection_class=Seen,
        view_class=PostgresTrackingRecorder,
        env=dict(recording.env),
    )
    with runner:
        started = perf_counter()
        projection = runner.projection
        assert isinstance(projection, Seen)
        if not projection.reaches(last):
            raise BenchFailed("the library's projection runner did not reach the head in time")
        return Measurement(len(ids), perf_counter() - started)
