"""States are stored abbreviated and made whole byte for byte, by what the writers write and by what an import finds."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.journal.abbreviations import ENVELOPE, TEXTS, Abbreviator
from domain.journal.encoding import (
    encode_abbreviated,
    encode_abbreviated_envelope,
    encode_envelope,
    encode_event,
)
from domain.journal.reader import StoredRow, whole_rows
from domain.model.events import Envelope, Event
from tests.unit.generated_events import ENVELOPES, EVENTS
from tests.unit.given_when_then import HISTORY
from tests.upgrade import examples
from tests.upgrade.record import golden

COMMANDS = st.lists(st.tuples(ENVELOPES, st.lists(EVENTS, min_size=1, max_size=4)), max_size=4)
Commands = Sequence[tuple[Envelope, Sequence[Event]]]
Stored = tuple[str, bytes, int | None]
"""Topic, stored state and `shares`."""


def whole(events: Sequence[Stored]) -> list[bytes]:
    """The states of all positions from 1, as readers of the table `stored_events` make them whole."""
    states = {position: state for position, (_, state, _) in enumerate(events, 1)}
    rows: list[StoredRow] = [
        ("s", 1, topic, state, position, shares, states.get(position - shares) if shares else None)
        for position, (topic, state, shares) in enumerate(events, 1)
    ]
    return [state for _, _, _, state, _ in whole_rows(rows)]


def written(commands: Commands) -> tuple[list[bytes], list[Stored]]:
    """The states of commands whole, and as a writer stores them."""
    states: list[bytes] = []
    stored: list[Stored] = []
    for envelope, events in commands:
        short = encode_abbreviated_envelope(envelope)
        for number, event in enumerate(events):
            states.append(encode_event(event, encode_envelope(envelope)))
            stored.append((event.TOPIC, encode_abbreviated(event, ENVELOPE if number else short), number))
    return states, stored


@given(COMMANDS)
def test_what_a_writer_stores_is_made_whole_byte_for_byte(commands: Commands) -> None:
    states, stored = written(commands)
    assert whole(stored) == states


@given(COMMANDS)
def test_what_is_imported_is_made_whole_byte_for_byte(commands: Commands) -> None:
    states, stored = written(commands)
    abbreviate = Abbreviator()
    imported = [
        (topic, *abbreviate(topic, state)) for (topic, _, _), state in zip(stored, states, strict=True)
    ]
    assert whole(imported) == states


ANY_TEXT = st.lists(
    st.sampled_from([*TEXTS, *TEXTS.values(), ENVELOPE, b"}", b"1,", b'"', b"\\", b"\x00", b"\xff"])
)


@given(st.lists(st.one_of(ANY_TEXT.map(b"".join), st.binary(max_size=40))))
def test_whatever_is_imported_is_made_whole_byte_for_byte(states: list[bytes]) -> None:
    """States of this project's form, those that look like it, and anything else that a program has written."""
    abbreviate = Abbreviator()
    topic = "transaction.posted"
    assert whole([(topic, *abbreviate(topic, state)) for state in states]) == states


def test_an_import_abbreviates_a_pretended_envelope_only_if_it_can_be_shared() -> None:
    twice = b'{"class_version":1,"recorded_at":"1","recorded_at":"2","data":{}}'
    abbreviate = Abbreviator()
    assert [abbreviate("x", twice)[1], abbreviate("x", twice)[1]] == [0, None]


def test_an_envelope_is_shared_no_farther_than_its_column_can_say() -> None:
    state = encode_event(examples.EVENTS[0], encode_envelope(HISTORY))
    abbreviate = Abbreviator()
    distances = [abbreviate("x", state)[1] for _ in range(32_769)]
    assert distances[-3:] == [32_766, 32_767, 0]


def test_an_event_whose_envelope_is_missing_is_unreadable_and_not_guessed() -> None:
    _, stored = written([(HISTORY, [examples.EVENTS[0]] * 2)])
    topic, state, shares = stored[1]
    ((*_, found, _),) = whole_rows([("s", 1, topic, state, 2, shares, None)])
    assert ENVELOPE in found


def test_no_text_has_the_byte_of_another_and_none_is_a_blank_of_json() -> None:
    for byte, text in TEXTS.items():
        assert len(byte) == 1 and byte < b" " and byte not in b"\t\n\r\x00" and byte != ENVELOPE
        assert min(text) >= ord(" ") and b"\\" not in text
    assert len(set(TEXTS.values())) == len(TEXTS)


@pytest.mark.parametrize("form", golden())
def test_every_form_there_ever_was_is_made_whole(form: object) -> None:
    state = golden()[form]  # type: ignore[index]
    short, shares = Abbreviator()("transaction.posted", state)
    assert whole([("transaction.posted", short, shares)]) == [state]


def test_a_transfer_takes_less_than_half_of_its_bytes() -> None:
    posted = next(event for event in examples.EVENTS if event.TOPIC == "transaction.posted")
    moved = next(event for event in examples.EVENTS if event.TOPIC == "account.entries_posted")
    states, stored = written([(HISTORY, [moved, moved, posted])])
    assert sum(len(state) for _, state, _ in stored) < 0.5 * sum(map(len, states))
