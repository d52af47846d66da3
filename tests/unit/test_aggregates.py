"""The single table of event types."""

import pytest

from domain.model import accounts, ledgers, moves, transactions
from domain.model.events import Event
from domain.model.installation import checkpoints, keys
from domain.model.payouts import payout
from domain.model.registry import EVENT_TYPES, evolve, fold
from tests.unit.given_when_then import a_ledger, a_posting, an_account, credit, debit, given

NOUNS = (accounts, ledgers, transactions, payout, keys, moves, checkpoints)
MODULES = {"ledger": ("ledgers", "moves")}
"""The modules of a noun that has several."""


def test_every_event_of_every_noun_is_in_it_once() -> None:
    events = [event for noun in NOUNS for event in noun.EVENTS]
    assert list(EVENT_TYPES.values()).count(events[0]) == 1
    assert sorted(EVENT_TYPES) == sorted({event.TOPIC for event in events})
    assert len(EVENT_TYPES) == len(events)


@pytest.mark.parametrize("noun", NOUNS)
def test_no_event_type_of_a_noun_is_left_out(noun: object) -> None:
    defined = {
        value
        for value in vars(noun).values()
        if isinstance(value, type) and issubclass(value, Event) and "TOPIC" in vars(value)
        if value.__module__ == noun.__name__  # type: ignore[attr-defined]
    }
    assert defined == set(noun.EVENTS)  # type: ignore[attr-defined]


@pytest.mark.parametrize("topic", sorted(EVENT_TYPES))
def test_a_topic_is_a_noun_and_what_happened_and_never_a_module(topic: str) -> None:
    event_type = EVENT_TYPES[topic]
    noun, _, happened = topic.partition(".")
    assert event_type.__module__.rpartition(".")[2] in MODULES.get(noun, (noun, f"{noun}s"))
    assert happened and happened.replace("_", "").isalpha() and happened.islower()
    assert event_type.class_version >= 1


def test_folding_is_evolving_one_by_one() -> None:
    history = given(*a_ledger("USD/2"), an_account("alice"), an_account("bob"))
    history.when(a_posting(debit("alice", 5), credit("bob", 5)))
    journal = history.journal
    for stream, state in journal.states.items():
        events = [recorded for recorded in journal.recorded if recorded.stream == stream]
        assert fold(None, events) == state
        assert fold(fold(None, events[:1]), events[1:]) == state
        assert evolve(fold(None, events[:-1]), events[-1]) == state
