"""Whether an export says of ledgers that arrived where their positions were shown when they arrived.

`ledger.arrived` names as its cause a digest of these ranges, so they are signed with the events. An arrival of a
release that named no digest proves only its own range.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from domain.journal.shown_positions import CAUSE, cause_of
from domain.model.moves import ArrivalBegun, ArrivalEnded, Arrived
from domain.model.streams import ledger_of
from domain.transparency.export_format import Exported, ShownRange
from projections.read_models.event_keys import content_of


class _Arrivals(NamedTuple):
    """What the events say of a ledger: where it arrived last, and where an arrival began or ended since.

    An arrival directly follows its end. Others of the ledger are copies: it had arrived elsewhere.
    """

    arrived_at: int = 0
    begun_at: int | None = None
    ended_at: int = 0


class ShownRanges:
    """Reads the events of an export, one after another. What contradicts its last line is returned in words."""

    def __init__(self, shown: Mapping[str, Sequence[ShownRange]], since: int) -> None:
        """`shown` is what the last line says of each ledger. The export begins at the position `since`."""
        self._shown = shown
        self._since = since
        self._arrivals: dict[str, _Arrivals] = {}

    def contradiction(self, event: Exported) -> str | None:
        """Return how an event contradicts the last line, None if it does not."""
        if event.topic not in (ArrivalBegun.TOPIC, ArrivalEnded.TOPIC, Arrived.TOPIC):
            return None
        payload = content_of(event.state).payload
        if not isinstance(payload, dict):
            return None  # which is found anyway
        if event.topic == Arrived.TOPIC:
            is_copy = self._of(ledger_of(event.stream)).ended_at != event.position - 1
            return None if is_copy else self._of_arrival(event, payload.get("offset"))
        ledger = str(payload.get("ledger"))
        if event.topic == ArrivalBegun.TOPIC:
            self._arrivals[ledger] = self._of(ledger)._replace(begun_at=event.position)
        else:
            self._arrivals[ledger] = self._of(ledger)._replace(ended_at=event.position)
        return None

    def rest(self) -> Iterator[str]:
        """Yield of which ledgers the last line has ranges that follow from no event, after all events were read.

        Of a ledger that an export from the midst of a journal does not see arrive, nothing is known.
        """
        for ledger, ranges in self._shown.items():
            if self._since > 1 and ledger not in self._arrivals:
                continue
            arrived_at, begun_at, _ = self._of(ledger)
            begins = [begin for begin, *_ in ranges if begin > arrived_at and begin >= self._since]
            if begins and (begun_at is None or begins[0] <= begun_at):
                yield f"nothing says that positions of {ledger} from {begins[0]} on are shown so"

    def _of_arrival(self, event: Exported, offset: Any) -> str | None:
        ledger, position = ledger_of(event.stream), event.position
        self._arrivals[ledger] = _Arrivals(position)
        ranges = self._shown.get(ledger, ())
        cause = content_of(event.state).text("causation_id") or ""
        is_signed = cause.startswith(CAUSE)
        if not is_signed and not ranges:
            return None  # an older release exported it
        before = [of for of in ranges if of[0] < position]
        own = [of for of in ranges if of[0] == position]
        is_own = isinstance(offset, int) and own == [(position, position + offset, position)]
        if is_own and (not is_signed or cause == cause_of(before)):
            return None
        return f"where {ledger} is shown is not what it was when it arrived at position {position}"

    def _of(self, ledger: str) -> _Arrivals:
        return self._arrivals.get(ledger, _Arrivals())
