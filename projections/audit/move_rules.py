"""The rules of ledgers that move: their order, and the times of copies."""

from collections.abc import Iterator

from projections.audit.stored import INSTALLATION, Stored
from projections.audit.violation import Violation, violation

_NEXT = {
    "ledger.move_started": ("ledger.move_cancelled", "ledger.moved"),
    "ledger.moved": ("ledger.arrived",),
}
"""What alone may follow in a ledger."""


class MoveRules:
    """Checks where each ledger stands. Call `read` with every event, in order.

    The events of a ledger between the beginning and the end of its arrival are copies. They were recorded elsewhere, so
    their times rise only among themselves.
    """

    def __init__(self) -> None:
        self._last: dict[str, str] = {}
        """The last event of each ledger that stopped its writes."""
        self._arriving: dict[str, str] = {}
        """Each ledger that arrives, with the time of its newest copy."""

    def is_copy(self, event: Stored) -> bool:
        """Tell whether an event was copied from another installation."""
        return bool(self._arriving) and event.ledger in self._arriving

    def read(self, event: Stored) -> Iterator[Violation]:
        """Apply the next event; yield the rules that it breaks."""
        if event.ledger == INSTALLATION:
            self._note_arrival(event)
            return
        if self._last and (last := self._last.pop(event.ledger, None)) and event.topic not in _NEXT[last]:
            yield violation("event_misplaced", event, f"{event.topic} follows {last}")
        if event.topic in _NEXT:
            self._last[event.ledger] = event.topic
        if self.is_copy(event):
            recorded_at, before = event.envelope["recorded_at"], self._arriving[event.ledger]
            if recorded_at < before:
                yield violation("time_reversed", event, f"{recorded_at} follows {before} in its ledger")
            self._arriving[event.ledger] = recorded_at

    def _note_arrival(self, event: Stored) -> None:
        if event.topic == "ledger.arrival_begun":
            self._arriving[event.data["ledger"]] = ""
        elif event.topic == "ledger.arrival_ended":
            self._arriving.pop(event.data["ledger"], None)
