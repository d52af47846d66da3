"""Which ledgers of an installation have moved, and where their positions are shown, as one process knows it.

A ledger that arrives is known of before it has arrived: whoever moves it waits for that long
(domain/placement/mover.py). Its positions are looked up for each request until they are final. A process that has not
looked yet knows of none.
"""

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Any

from psycopg import Connection

from domain.journal.queries import load
from domain.journal.shown_positions import ShownPositions, read_shown_positions
from domain.model.moves import MoveState

_SQL = load(__name__)
_HERE: frozenset[MoveState] = frozenset({"here", "leaving", "frozen"})


class MovedLedgers:
    """The ledgers that have moved, as last seen. One thread looks; any thread may ask."""

    def __init__(self) -> None:
        self._seen: Mapping[str, ShownPositions | None] = {}
        self._arrivals: dict[str, tuple[datetime, ShownPositions]] = {}
        self.are_seen = False
        """Whether this process has looked: before, no ledger is among them."""

    def __contains__(self, ledger: str) -> bool:
        """Tell whether a ledger is among them."""
        return ledger in self._seen

    def known(self, ledger: str) -> ShownPositions | None:
        """Return where the positions of a ledger are shown, None if that is not final yet, or it is not among them."""
        return self._seen.get(ledger)

    def look(self, connection: Connection[Any]) -> None:
        """See which ledgers have moved."""
        found = _SQL["moves"].rows(connection)
        read = partial(read_shown_positions, connection)
        self._seen = {
            ledger: self._of_arrival(ledger, changed_at, read) if state in _HERE else None
            for ledger, state, changed_at in found
        }
        self.are_seen = True

    def _of_arrival(self, ledger: str, changed_at: datetime, read: Any) -> ShownPositions:
        known_at, positions = self._arrivals.get(ledger, (None, None))
        if positions is None or known_at != changed_at:
            positions = read(ledger)
            self._arrivals[ledger] = changed_at, positions
        return positions
