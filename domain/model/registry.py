"""The table of all event types of the journal, and which aggregate folds which of them."""

from collections.abc import Iterable
from hashlib import sha256

from domain.model import accounts, ledgers, moves, transactions
from domain.model.events import Event, Recorded, State
from domain.model.installation import checkpoints, keys
from domain.model.payouts import payout

_NOUNS = (ledgers, accounts, transactions, payout, keys, moves, checkpoints)

EVENT_TYPES: dict[str, type[Event]] = {
    event_type.TOPIC: event_type for noun in _NOUNS for event_type in noun.EVENTS
}

_FORMS = sorted((topic, event_type.class_version) for topic, event_type in EVENT_TYPES.items())

EVENT_SCHEMA_FINGERPRINT = sha256(repr(_FORMS).encode()).hexdigest()[:16]
"""Identifies the set of event versions that this release can read. Releases that read the same set share it."""

_EVOLVE = {event_type: noun.evolve for noun in _NOUNS for event_type in noun.EVENTS}


def evolve(state: State, recorded: Recorded) -> State:
    """Return the state of an aggregate after an event of its stream."""
    return _EVOLVE[type(recorded.event)](state, recorded)


def fold(state: State, history: Iterable[Recorded]) -> State:
    """Return the state of an aggregate after several events of its stream, in order."""
    for recorded in history:
        state = _EVOLVE[type(recorded.event)](state, recorded)
    return state
