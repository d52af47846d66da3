"""What tests of moves do: two installations, a ledger that moves between them, a mover that dies."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from domain.application import LedgerApplication
from domain.journal.database import Database
from domain.journal.shown_positions import read_shown_positions
from domain.placement.installations import Installation
from domain.placement.mover import Mover, Progress
from projections.audit import one_instant, violations
from tests.databases import Databases
from tests.ledgers import CONTEXT, running


class Killed(Exception):
    """The mover dies here."""


@dataclass
class Places:
    """Two installations, with an application that runs at each."""

    east: Installation
    west: Installation
    at_east: LedgerApplication
    at_west: LedgerApplication

    def mover(self, tell: Callable[[Progress], None] = lambda progress: None, *, back: bool = False) -> Mover:
        """Return what moves the ledger main from east to west, or back."""
        old, new = (self.west, self.east) if back else (self.east, self.west)
        return Mover("main", old, new, CONTEXT, tell)


@contextmanager
def two_places(databases: Databases) -> Iterator[Places]:
    """Two installations, with an application that runs at each."""
    with (
        databases.installed() as east,
        databases.installed() as west,
        running(east) as at_east,
        running(west) as at_west,
    ):
        yield Places(Installation("east", east), Installation("west", west), at_east, at_west)


def events_of(database: Database, ledger: str = "main") -> list[tuple[Any, ...]]:
    """The events of a ledger as they are stored: stream, version, topic, bytes."""
    query = (
        "SELECT originator_id, originator_version, topic, state FROM events"
        " WHERE originator_id LIKE %s ORDER BY notification_id"
    )
    with database.connect("test reader") as connection:
        return connection.execute(query, (f"{ledger}/%",)).fetchall()


def shown_positions_of(database: Database, ledger: str = "main") -> list[int]:
    """Where the events of a ledger are shown, in order."""
    query = "SELECT notification_id FROM events WHERE originator_id LIKE %s ORDER BY notification_id"
    with database.connect("test reader") as connection:
        shown = read_shown_positions(connection, ledger)
        found = connection.execute(query, (f"{ledger}/%",)).fetchall()
    assert [shown.own(shown.shown(position)) for (position,) in found] == [position for (position,) in found]
    return [shown.shown(position) for (position,) in found]


def broken_rules(database: Database) -> list[Any]:
    """The rules that a journal breaks."""
    with database.connect("test audit") as connection, one_instant(connection):
        return list(violations(connection))


def dying(at: str, time: int = 1) -> Callable[[Progress], None]:
    """Return what the mover tells, and dies of the given time that it comes to a step."""
    seen = 0

    def tell(progress: Progress) -> None:
        nonlocal seen
        seen += progress.step == at
        if seen == time and progress.step == at:
            raise Killed

    return tell
