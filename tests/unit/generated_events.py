"""Strategies for events and envelopes, made from their types, so that new ones are covered as they come."""

from hypothesis import strategies as st

from domain.aggregates import EVENT_TYPES
from domain.events import Envelope, Event

EVENTS: st.SearchStrategy[Event] = st.sampled_from(sorted(EVENT_TYPES)).flatmap(
    lambda topic: st.builds(EVENT_TYPES[topic])
)
ENVELOPES: st.SearchStrategy[Envelope] = st.builds(Envelope)
