"""Which process advances which projections, where several projectors run side by side.

Each of `of` processes has a share: the projections that it advances while all of them run. A process shows that it is
there by holding a place for its share. While nobody holds the place of a share, the other processes advance its
projections, and give them back as soon as somebody does. So the work is divided again by itself after a process has
died and was started again.

Whoever has a share also stands by for its projections while another process, such as one on another machine, holds
them.
"""

from collections.abc import Collection, Iterable
from functools import cache
from typing import Any, NamedTuple

from psycopg import Connection

from domain.journal.queries import load
from domain.journal.silence import HOLDERS_OF_PLACE, Watch
from projections.engine.leadership import try_acquire

PURPOSE = "share"

LOOKS = 2
"""How often in a row the place of a share is found free before others take its projections."""

COSTS = {
    "transactions": 26,
    "event_index": 19,
    "entries": 19,
    "balances": 17,
    "outbox": 8,
    "seals": 7,
}
"""What a projection costs of a transfer, in hundredths of what all cost: its process and its backend together.

Measured with `tallystick bench`; those not named cost next to nothing.
"""

_SQL = load(__name__)


class Share(NamedTuple):
    """One of several shares of the projections, counted from 0."""

    number: int = 0
    of: int = 1


class Division:
    """The shares, as one process sees them: its own, and which of the others nobody has."""

    def __init__(self, share: Share, projections: Collection[str]) -> None:
        """`projections` are the names of all that are divided."""
        self._share = share
        self._owners = divided(frozenset(projections), share.of)
        self._watches = {
            number: Watch(HOLDERS_OF_PLACE, {"purpose": PURPOSE, "name": _place(Share(number, share.of))})
            for number in range(share.of)
            if number != share.number
        }
        self._free_looks = dict.fromkeys(self._watches, 0)
        self._is_shown = False

    def look(self, connection: Connection[Any]) -> None:
        """Show that this share is taken, and see which of the others are. Call it every half second or so."""
        if not self._watches:
            return
        if not self._is_shown:
            self._is_shown = try_acquire(connection, PURPOSE, _place(self._share))
        places = {_place(Share(number, self._share.of)): number for number in self._watches}
        rows = _SQL["taken"].rows(connection, {"purpose": PURPOSE, "names": list(places)})
        taken = {places[name] for (name,) in rows}
        for number, watch in self._watches.items():
            self._free_looks[number] = 0 if number in taken else self._free_looks[number] + 1
            if number in taken:
                watch.look(connection)

    def is_ours(self, name: str) -> bool:
        """Tell whether this process should advance a projection: its own, or one of a share that nobody has."""
        owner = self._owners[name]
        return owner == self._share.number or self._free_looks[owner] >= LOOKS

    def disconnect(self) -> None:
        """Note that the connection, and with it the place of the share, is gone."""
        self._is_shown = False
        self._free_looks = dict.fromkeys(self._watches, 0)


@cache
def divided(projections: frozenset[str], of: int) -> dict[str, int]:
    """Return the number of the share of each projection.

    The most costly comes first, and each goes to the share that has the least so far.
    """
    costs = [0] * of
    owners: dict[str, int] = {}
    for name in by_cost(projections):
        number = costs.index(min(costs))
        costs[number] += COSTS.get(name, 1)
        owners[name] = number
    return owners


def by_cost(projections: Iterable[str]) -> list[str]:
    """Return projections in an order that all processes agree on, the most costly first."""
    return sorted(projections, key=lambda name: (-COSTS.get(name, 1), name))


def _place(share: Share) -> str:
    return f"{share.number}/{share.of}"
