"""Where a ledger is, as the installations themselves say. The map may be behind: it is changed last."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import psycopg
from psycopg import Connection

from domain.placement.copies import last_of_ledger
from domain.placement.installations import Installation
from domain.placement.moves import Standing, standing


class Whereabouts(NamedTuple):
    """The installation that holds a ledger, and what it says of a move.

    A ledger that has left and not yet arrived is held by the installation that it left: `bound_for` is where it goes.
    """

    at: Installation
    now: Standing | None

    @property
    def bound_for(self) -> str | None:
        """The name of the installation to which the ledger is being moved, None if it is not."""
        return self.now.installation if self.now and self.now.state in ("leaving", "frozen", "left") else None


def holds(connection: Connection[Any], ledger: str) -> bool | None:
    """Tell whether an installation holds a ledger, by its own journal. None: it knows nothing of the ledger."""
    now = standing(connection, ledger)
    if now is None:
        return None if last_of_ledger(connection, ledger) is None else True
    return now.state not in ("left", "arriving")


def find(ledger: str, placed: Sequence[Installation]) -> Whereabouts | None:
    """Return where a ledger is, None if it is nowhere. Raises `psycopg.Error` if one that may have it is out of reach.

    The two installations of a move that is under way are enough: no other has the ledger then.
    One that left for an installation which knows nothing of it is held by the one that it left: that installation was
    restored to an earlier moment.
    """
    left: list[Whereabouts] = []
    arriving: set[tuple[str, str]] = set()
    ignorant: set[str] = set()
    trouble: psycopg.Error | None = None
    for installation in placed:
        try:
            with installation.database.connect("tallystick place") as connection:
                now = standing(connection, ledger)
                is_known = now is not None or last_of_ledger(connection, ledger) is not None
        except psycopg.Error as error:
            trouble = trouble or error
            continue
        if not is_known:
            ignorant.add(installation.name)
            continue
        if now is None or now.state in ("leaving", "frozen", "here"):
            return Whereabouts(installation, now)
        if now.state == "left":
            left.append(Whereabouts(installation, now))
        else:
            arriving.add((now.installation, installation.name))
    if under_way := [found for found in left if (found.at.name, found.bound_for) in arriving]:
        return under_way[0]
    if trouble is not None:
        raise trouble
    return next((found for found in left if found.bound_for in ignorant), None)
