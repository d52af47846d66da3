"""Shown positions: a ledger that has moved shows the positions that its events always had.

A client keeps positions: to wait for its own write, to read an account as it was, to go on in a list. They stay valid
when the ledger moves. So an event that was copied here is shown at the position that it had where it was recorded, and
an event that was recorded here since the ledger arrived at its position in this journal plus the offset of the arrival.
Shown positions of a ledger rise as its events do.
"""

from array import array
from bisect import bisect_right
from collections.abc import Iterable
from hashlib import sha256
from typing import Any

from psycopg import Connection

from domain.journal.queries import load
from domain.model.errors import LedgerError
from domain.model.moves import Fence

_SQL = load(__name__)


class ShownPositions:
    """Where positions of one ledger are shown, in ranges: from each beginning on, both rise alike."""

    def __init__(self, ranges: Iterable[tuple[int, int, int]] = ()) -> None:
        """`ranges` are their first positions, where these are shown, and where they were recorded. Each rises but the
        last."""
        self._own, self._shown, self._recorded = array("q"), array("q"), array("q")
        for own, shown, recorded in ranges:
            self._own.append(own)
            self._shown.append(shown)
            self._recorded.append(recorded)

    def __bool__(self) -> bool:
        """Whether any position is shown elsewhere than where it is."""
        return bool(self._own)

    def shown(self, position: int) -> int:
        """Return where a position of this journal is shown. It rises with the position."""
        return _mapped(position, self._own, self._shown)

    def recorded(self, position: int) -> int:
        """Return which position the event at a position of this journal had where it was recorded."""
        at = bisect_right(self._own, position)
        return self._recorded[at - 1] + position - self._own[at - 1] if at else position

    def own(self, shown: int) -> int:
        """Return the last position of this journal up to which nothing of the ledger is shown after `shown`."""
        return _mapped(shown, self._shown, self._own)


def _mapped(position: int, begins: "array[int]", mapped: "array[int]") -> int:
    """Return where a position is mapped, but no further than before the next range is."""
    at = bisect_right(begins, position)
    found = mapped[at - 1] + position - begins[at - 1] if at else position
    return min(found, mapped[at] - 1) if at < len(mapped) else found


CAUSE = "shown-positions/"
"""How the cause of an arrival begins: it is the copies, which are shown where the digest says."""


def cause_of(ranges: Iterable[tuple[int, int, int]]) -> str:
    """Return what an arrival names as its cause: a digest of the ledger's ranges before it, in their order."""
    digest = sha256()
    for position, shown, recorded in ranges:
        digest.update(b"%d %d %d\n" % (position, shown, recorded))
    return CAUSE + digest.hexdigest()


def read_cause(connection: Connection[Any], ledger: str) -> str:
    """Return the cause of an arrival of a ledger that is about to be recorded."""
    return cause_of(_SQL["ranges"].rows(connection, {"ledger": ledger}, binary=True))


def read_shown_positions(connection: Connection[Any], ledger: str) -> ShownPositions:
    """Return where positions of a ledger are shown in this installation."""
    return ShownPositions(_SQL["ranges"].rows(connection, {"ledger": ledger}, binary=True))


def read_present_positions(
    connection: Connection[Any], ledger: str
) -> tuple[ShownPositions, LedgerError | None]:
    """Return where positions of a ledger are shown, and the refusal of what is asked of it if it is not here.

    Until it has arrived the positions are not final: an answer that is given after that would show others than it has.
    """
    # First, since positions that are read after the arrival are final.
    absent = _SQL["absent"].row(connection, {"ledger": ledger})
    return read_shown_positions(connection, ledger), None if absent is None else Fence(*absent).refusal()
