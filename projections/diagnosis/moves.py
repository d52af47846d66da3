"""Moves of ledgers as the installations of a placement see them, and which ledgers are between two.

No installation knows by itself whether a ledger that has left it arrived: only both places together say so.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from psycopg import Connection

from domain.journal.queries import load
from domain.model.moves import MoveState
from domain.model.times import Instant, instant

_SQL = load(__name__)


class LedgerMove(NamedTuple):
    """Where a ledger that moves or has moved stands in one installation: since when, and the other place."""

    ledger: str
    state: MoveState
    installation: str
    since: Instant


class Between(NamedTuple):
    """A ledger that has left an installation and has not arrived at another, and when it left."""

    ledger: str
    left: str
    bound_for: str
    since: Instant


def read_moves(connection: Connection[Any]) -> list[LedgerMove]:
    """Return where the ledgers stand that ever moved from or to an installation, or began to."""
    return [_move(row) for row in _SQL["moves"].rows(connection)]


def read_stopped(connection: Connection[Any], ledger: str) -> LedgerMove | None:
    """Return the move for the end of which writes to a ledger are refused here, None if none is."""
    row = _SQL["stopped"].row(connection, {"ledger": ledger})
    return None if row is None else _move(row)


def _move(row: Sequence[Any]) -> LedgerMove:
    ledger, state, other, at = row
    return LedgerMove(ledger, state, other, instant(at))


def between(said: Mapping[str, Iterable[LedgerMove]]) -> Iterator[Between]:
    """Yield the ledgers that are between two of these installations, given what each says.

    A place that knows nothing of a ledger that left for it was restored to an earlier moment. Of a place that said
    nothing, nothing is known, so a ledger that left for it is left out.
    """
    standings = {name: {move.ledger: move for move in moves} for name, moves in said.items()}
    absent: tuple[MoveState, ...] = ("left", "arriving")
    present = {ledger for of in standings.values() for ledger, move in of.items() if move.state not in absent}
    for name, of in standings.items():
        for ledger, move in of.items():
            if move.state != "left" or ledger in present or move.installation not in standings:
                continue
            there = standings[move.installation].get(ledger)
            if there is None or (there.state, there.installation) == ("arriving", name):
                yield Between(ledger, name, move.installation, move.since)
