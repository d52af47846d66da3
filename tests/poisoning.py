"""Projections that a test makes fail for chosen events, like a fault in the code, and mends again."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from psycopg import Connection

from domain.model.events import Recorded
from projections.engine.projection import Projection, Queries
from projections.registry import PROJECTIONS


class Poisoned:
    """A projection that raises for events at some positions and of some streams, until these are removed."""

    def __init__(self, original: Projection) -> None:
        self._original = original
        self.positions: set[int] = set()
        self.streams: set[str] = set()
        self.projection = original._replace(project=self._project)

    def _project(self, connection: Connection[Any], queries: Queries, events: Sequence[Recorded]) -> None:
        self._original.project(connection, queries, events)
        # Raises after writing, so that the writes must be undone.
        for event in events:
            if event.position in self.positions or event.stream in self.streams:
                raise ValueError(f"poison at {event.position}")


@contextmanager
def poisoned(name: str) -> Iterator[Poisoned]:
    """A failing projection in the place of the one registered under its name."""
    original = PROJECTIONS[name]
    failing = Poisoned(original)
    PROJECTIONS[name] = failing.projection
    try:
        yield failing
    finally:
        PROJECTIONS[name] = original
