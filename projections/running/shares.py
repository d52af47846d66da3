"""Which process advances which projections, where several projectors run side by side.

Each of `of` processes has a share: the projections that it advances while all of them run. A process shows that it is
there by holding a place for its share. While nobody holds the place of a share, the other processes advance its
projections, and give them back as soon as somebody does. So the work is divided again by itself after a process has
died and was started again.

Whoever has a share also stands by for its projections while another process, such as one on another machine, holds
them. Releases that divide the projections in another way do not count on one another's shares.
"""

from collections.abc import Collection, Mapping
from functools import cache
from hashlib import sha256
from time import monotonic
from typing import Any, NamedTuple

from psycopg import Connection

from domain.journal.queries import load
from domain.journal.silence import HOLDERS_OF_PLACE, Watch
from projections.engine.leadership import try_acquire

PURPOSE = "share"

LOOKS = 2
"""How often in a row the place of a share is found free before others take its projections."""

WATCH_EVERY_SECONDS = 1.0
"""How often a process checks that the holder of another share is alive. A check takes some milliseconds."""

COSTS = {
    "transactions": 24,
    "entries": 20,
    "balances": 20,
    "event_index": 15,
    "seals": 8,
    "outbox": 2,
}
"""What a projection costs of a transfer, in hundredths of what all cost in one process: the process and its backend.

What is not named costs next to nothing. The rest is the reading, 12 where every event is read, and 5 where only some
are. Measured one by one, with 300 transfers a turn.
"""

READ_EVERYTHING = frozenset(("event_index", "seals", "outbox"))
"""Projections of `all_events`. They are in one share while others are left for the rest, so that only one reads all."""

READ_POSTINGS = frozenset(("entries", "transactions"))
"""Projections that decode the same events. They are in one share where that is no more than an even one."""

READING_EVERYTHING = 7
"""What it costs more to read every event than only some."""

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
        self._places = [_place(number, self._owners) for number in range(share.of)]
        self._watches = {
            number: Watch(HOLDERS_OF_PLACE, {"purpose": PURPOSE, "name": place})
            for number, place in enumerate(self._places)
            if number != share.number
        }
        self._free_looks = dict.fromkeys(self._watches, 0)
        self._is_shown = False
        self._watch_at = 0.0

    def look(self, connection: Connection[Any]) -> None:
        """Show that this share is taken, and see which of the others are. Call it every half second or so."""
        if not self._watches:
            return
        if not self._is_shown:
            self._is_shown = try_acquire(connection, PURPOSE, self._places[self._share.number])
        places = {self._places[number]: number for number in self._watches}
        rows = _SQL["taken"].rows(connection, {"purpose": PURPOSE, "names": list(places)})
        taken = {places[name] for (name,) in rows}
        for number in self._watches:
            self._free_looks[number] = 0 if number in taken else self._free_looks[number] + 1
        if self._watch_at <= monotonic():
            self._watch(connection, taken)

    def _watch(self, connection: Connection[Any], taken: Collection[int]) -> None:
        """Check that the next share's holder is alive. So each process watches one other, and each is watched."""
        self._watch_at = monotonic() + WATCH_EVERY_SECONDS
        following = sorted(taken, key=lambda number: (number - self._share.number) % self._share.of)
        if following:
            self._watches[following[0]].look(connection)

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
    for together in sorted(_units(projections, of), key=lambda unit: (-_cost(unit), unit)):
        number = costs.index(min(costs))
        costs[number] += _cost(together)
        owners |= dict.fromkeys(together, number)
    return owners


def _units(projections: frozenset[str], of: int) -> list[list[str]]:
    """Return the projections, those together that are divided together."""
    alone = [[name] for name in projections]
    together = [sorted(projections & READ_EVERYTHING)]
    if of * _cost(READ_POSTINGS) <= _cost(projections):
        together.append(sorted(projections & READ_POSTINGS))
    units = [unit for unit in together if unit]
    units += [[name] for [name] in alone if not any(name in unit for unit in together)]
    return units if of <= len(units) else alone


def _cost(together: Collection[str]) -> int:
    reading = 0 if READ_EVERYTHING.isdisjoint(together) else READING_EVERYTHING
    return reading + sum(COSTS.get(name, 1) for name in together)


def _place(number: int, owners: Mapping[str, int]) -> str:
    digest = sha256(repr(sorted(owners.items())).encode()).hexdigest()[:8]
    return f"{number}/{max(owners.values(), default=0) + 1}/{digest}"
