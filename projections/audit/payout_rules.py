"""The rules of payouts: each holds its amount once, and its recorded end agrees with the transaction that booked it."""

from collections.abc import Callable, Iterator, Sequence

from projections.audit.keys import id_of
from projections.audit.stored import Stored
from projections.audit.violation import Violation, violation

History = Callable[[str], Sequence[Stored]]
"""Returns all events of a stream, by version."""

_BEGINNINGS = {"payout.accepted": "transaction.held", "payout.rejected": "transaction.rejected"}
"""The event that begins a payout, and the event that its transaction records with it."""

_BOOKINGS = {
    "payout.completed": ("transaction.settlement_posted", "transaction.posted"),
    "payout.failed": ("transaction.void_recorded", "transaction.reversal_posted"),
}
"""For each end, the event that books it: from a hold, and after it was booked the other way before."""


class PayoutRules:
    """Checks the events of payouts, one after another. It keeps each payout's version, state and last booking."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._versions: dict[str, int] = {}
        self._booked: dict[str, str] = {}
        self._states: dict[str, str] = {}  # the last beginning or end

    def judge(self, event: Stored) -> Iterator[Violation]:
        """Yield the rules that an event of a payout breaks."""
        version = self._versions.get(event.stream, 0)
        if event.version != version + 1:
            yield violation("version_gap", event, f"version {event.version} follows {version}")
        self._versions[event.stream] = event.version
        if (event.topic in _BEGINNINGS) != (version == 0):
            yield violation("event_misplaced", event, f"{event.topic} after {version} events")
        elif event.topic in _BEGINNINGS:
            self._states[event.stream] = event.topic
            yield from self._begun(event)
        elif self._states.get(event.stream) in ("payout.rejected", *_unfollowed(event)):
            yield violation("event_misplaced", event, f"{event.topic} after {self._states[event.stream]}")
        elif event.topic in _BOOKINGS:
            self._states[event.stream] = event.topic
            yield from self._ended(event)

    def _begun(self, event: Stored) -> Iterator[Violation]:
        key = event.envelope["idempotency_key"]
        id = id_of(event.ledger, key)
        if event.name != id:
            yield violation("key_mismatch", event, f"the key {key!r} makes the id {id}")
        yield from self._moved(event, event.name, (_BEGINNINGS[event.topic],), "debit")

    def _ended(self, event: Stored) -> Iterator[Violation]:
        booked_by, before = event.data["booked_by"], self._booked.get(event.stream)
        if booked_by is None:
            if before != event.topic:
                yield violation("payout_unmatched", event, f"no transaction booked it, after {before}")
            return
        of_hold, anew = _BOOKINGS[event.topic]
        back = event.topic == "payout.failed" and before is not None
        yield from self._moved(
            event, booked_by, (of_hold if before is None else anew,), "credit" if back else "debit"
        )
        self._booked[event.stream] = event.topic

    def _moved(self, event: Stored, id: str, topics: Sequence[str], direction: str) -> Iterator[Violation]:
        """Check the transaction that the same command has made: its kind, and the amount it moves."""
        made = next(iter(self._history(f"{event.ledger}/transactions/{id}")), None)
        if made is None or made.topic not in topics:
            yield violation("payout_unmatched", event, f"transaction {id} is no {' or '.join(topics)}")
            return
        if made.envelope["causation_id"] != event.envelope["causation_id"] or made.position >= event.position:
            yield violation("payout_unmatched", event, f"transaction {id} was made by another command")
        first, begun = made.data["entries"][0], self._history(event.stream)[0].data
        if (first["account"], first["direction"], first["amount"]) != (
            begun["account"],
            direction,
            begun["amount"],
        ):
            yield violation("payout_unmatched", event, f"transaction {id} moves another amount")


def _unfollowed(event: Stored) -> Sequence[str]:
    """Return the ends after which this event is out of place: a payout that ended is not submitted again."""
    return tuple(_BOOKINGS) if event.topic == "payout.submitted" else ()
