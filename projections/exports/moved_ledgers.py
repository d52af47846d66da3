"""The ledgers of an export that ever moved: where they stand, which events are copies, and where positions are shown.

All but the last follows from the events (domain/placement/moves.py). Where the copies of a ledger are shown is in the
last line of an export, as the database has it. A verification checks it against what each arrival says
(shown_ranges.py). Here too it must agree with the events: shown positions rise, and the last one before an arrival is
the one that `ledger.arrived` names.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from domain.journal.shown_positions import ShownPositions
from domain.model.moves import (
    ArrivalBegun,
    ArrivalEnded,
    Arrived,
    MoveCancelled,
    Moved,
    MoveStarted,
    MoveState,
)
from domain.model.streams import INSTALLATION, ledger_of
from domain.model.times import EARLIEST, Instant
from domain.transparency.export_format import Exported, Malformed, ShownRange
from projections.audit.stored import Stored, parsed

_OF_INSTALLATION = {event.TOPIC for event in (ArrivalBegun, ArrivalEnded)}
_OF_LEDGER = {event.TOPIC for event in (MoveStarted, MoveCancelled, Moved, Arrived)}


class NotShown(Exception):
    """A ledger arrived, and the export does not say where its positions are shown."""


class Standing(NamedTuple):
    """A row of `ledger_moves`."""

    ledger: str
    state: MoveState
    installation: str
    copied: int = 0


class Copies(NamedTuple):
    """A row of `copied_events`."""

    first: int
    last: int
    ledger: str
    recorded_at: Instant


class MovedLedgers:
    """Folds the events of an export, one after another, from the first on."""

    def __init__(self, shown: Mapping[str, Sequence[ShownRange]]) -> None:
        """`shown` says where the positions of each ledger are shown that ever arrived."""
        self.shown = shown
        self._positions = {ledger: ShownPositions(ranges) for ledger, ranges in shown.items()}
        self._begins = {ledger: {begin for begin, *_ in ranges} for ledger, ranges in shown.items()}
        self._standings: dict[str, Standing] = {}
        self._arrived: set[str] = set()
        self._newest_own: Exported | None = None
        self.copies: list[Copies] = []

    @property
    def standings(self) -> Sequence[Standing]:
        """Where every ledger stands that ever moved."""
        return list(self._standings.values())

    def read(self, event: Exported) -> None:
        """Fold the next event. Raises `NotShown` and `Malformed`."""
        ledger = ledger_of(event.stream)
        now = self._standings.get(ledger)
        if now is not None and now.state == "arriving":
            self._copied(event, now)
            return
        self._newest_own = event
        if ledger == INSTALLATION and event.topic in _OF_INSTALLATION:
            self._of_arrival(event)
        elif event.topic in _OF_LEDGER:
            self._of_ledger(event, ledger, now)

    @property
    def recorded_at(self) -> Instant:
        """When the newest event was recorded that is no copy."""
        if self._newest_own is None:
            return EARLIEST
        recorded_at: Instant = _parsed(self._newest_own).envelope["recorded_at"]
        return recorded_at

    def _of_arrival(self, event: Exported) -> None:
        data = _parsed(event).data
        ledger, origin = data["ledger"], data["from_installation"]
        now = self._standings.get(ledger)
        if event.topic == ArrivalBegun.TOPIC:
            if ledger not in self._positions:
                raise NotShown(ledger)
            self._standings[ledger] = Standing(ledger, "arriving", origin, now.copied if now else 0)
        elif now is not None:
            self._standings[ledger] = now._replace(state="here")

    def _of_ledger(self, event: Exported, ledger: str, now: Standing | None) -> None:
        data, shown = _parsed(event).data, self._shown(ledger, event.position)
        if event.topic == Arrived.TOPIC:
            is_as_said = now is not None and now.copied == data["position"]
            is_range = event.position in self._begins.get(ledger, ())
            if not (is_as_said and is_range and shown == event.position + data["offset"]):
                raise _contradicted(ledger, event.position)
            self._arrived.add(ledger)
        elif event.topic == MoveCancelled.TOPIC:
            self._standings.pop(ledger, None)
            if ledger in self._arrived:
                self._standings[ledger] = Standing(ledger, "here", data["to_installation"])
        else:
            state: MoveState = "left" if event.topic == Moved.TOPIC else "frozen"
            # The copies of a later arrival go on after what was shown here.
            self._standings[ledger] = Standing(ledger, state, data["to_installation"], shown)

    def _copied(self, event: Exported, now: Standing) -> None:
        ledger, position = now.ledger, event.position
        if self.copies and self.copies[-1][1:3] == (position - 1, ledger):
            self.copies[-1] = self.copies[-1]._replace(last=position)
        elif position in self._begins[ledger]:
            self.copies.append(Copies(position, position, ledger, self.recorded_at))
        else:
            raise _contradicted(ledger, position)
        shown = self._shown(ledger, position)
        if shown <= now.copied:
            raise _contradicted(ledger, position)
        self._standings[ledger] = now._replace(copied=shown)

    def _shown(self, ledger: str, position: int) -> int:
        return self._positions[ledger].shown(position) if ledger in self._positions else position


def _contradicted(ledger: str, position: int) -> Malformed:
    words = f"the last line contradicts the event at position {position}: where {ledger} is shown"
    return Malformed(words)


def _parsed(event: Exported) -> Stored:
    return parsed(event.stream, event.version, event.topic, event.state, event.position)
