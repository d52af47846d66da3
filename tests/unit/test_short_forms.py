"""Abbreviated forms that are written at once are what encoding first and abbreviating then gives."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from domain.journal.abbreviations import abbreviated_data, abbreviated_envelope, whole_states
from domain.journal.encoding import encode_envelope
from domain.journal.short_forms import SHORT_FORMS, envelope_in_short
from domain.model.entries import PostedEntry
from domain.model.events import Envelope, Event
from domain.model.transactions import TransactionPosted
from tests.unit.generated_events import ENVELOPES
from tests.unit.given_when_then import HISTORY
from tests.upgrade import examples

ODD = st.text(st.sampled_from('ab"\\\x00\x02\x12\x1f\x7fü😀/:')) | st.text()
POSTED = st.builds(
    TransactionPosted,
    reference=ODD,
    description=st.just("") | ODD,
    metadata=st.just({}),
    fingerprint=ODD,
    effective_at=ODD,
    entries=st.lists(st.builds(PostedEntry, account=ODD, asset=ODD), max_size=3).map(tuple),
)
MOVED = st.builds(
    type(next(event for event in examples.EVENTS if event.TOPIC == "account.entries_posted")),
    transaction_id=ODD,
)
OF_ODD_TEXTS = st.builds(
    Envelope,
    recorded_at=ODD,
    actor=ODD,
    correlation_id=ODD,
    causation_id=ODD,
    idempotency_key=st.none() | ODD,
    traceparent=st.none() | ODD,
)


def unabbreviated(data: bytes) -> bytes:
    return whole_states([(data, 0, None)])[0]


@given(POSTED | MOVED)
def test_data_is_written_as_it_is_abbreviated_or_not_at_all(event: Event) -> None:
    short = SHORT_FORMS[type(event)](event)
    if short is not None:
        encoded = msgspec.json.encode(event)
        assert short == abbreviated_data(event.TOPIC, encoded)
        assert unabbreviated(short) == encoded


@pytest.mark.parametrize("debits_after", [None, 0, 7])
def test_an_entry_without_a_sum_of_debits_is_written_as_null(debits_after: int | None) -> None:
    (event,) = (event for event in examples.EVENTS if isinstance(event, TransactionPosted))
    entries = tuple(replace(entry, debits_after=debits_after) for entry in event.entries)
    event = replace(event, description="", metadata={}, entries=entries)
    short = SHORT_FORMS[TransactionPosted](event)
    assert short is not None and unabbreviated(short) == msgspec.json.encode(event)


@given(OF_ODD_TEXTS | ENVELOPES)
def test_an_envelope_is_written_as_it_is_abbreviated_or_not_at_all(envelope: Envelope) -> None:
    short = envelope_in_short(envelope)
    assert short in (None, abbreviated_envelope(encode_envelope(envelope)))


@pytest.mark.parametrize("traceparent", [None, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"])
def test_a_usual_envelope_is_written_at_once(traceparent: str | None) -> None:
    assert envelope_in_short(replace(examples.ENVELOPE, traceparent=traceparent)) is not None
    assert envelope_in_short(replace(HISTORY, idempotency_key=None)) is None


@pytest.mark.parametrize("event_type", SHORT_FORMS)
def test_a_usual_event_is_written_at_once_with_all_its_members(event_type: type[Event]) -> None:
    """What an event gains, its short form must write too, or leave the event to the encoder."""
    (event,) = (event for event in examples.EVENTS if type(event) is event_type)
    if isinstance(event, TransactionPosted):
        event = replace(event, description="", metadata={})
    short = SHORT_FORMS[event_type](event)
    assert short is not None and unabbreviated(short) == msgspec.json.encode(event)
