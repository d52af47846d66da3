"""Strategies for events and envelopes, derived from their types, so that new types are covered at once."""

from typing import Any

from hypothesis import strategies as st

from domain.model.events import Envelope, Event
from domain.model.money import MAX_AMOUNT
from domain.model.registry import EVENT_TYPES

_JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-MAX_AMOUNT, MAX_AMOUNT) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
# Members hypothesis cannot generate from their type alone.
_MEMBERS = {name: st.dictionaries(st.text(), _JSON) for name in ("destination", "details")}


def _made(event_type: type[Event]) -> st.SearchStrategy[Event]:
    members = {name: made for name, made in _MEMBERS.items() if name in event_type.__struct_fields__}
    return st.builds(event_type, **members)


EVENTS: st.SearchStrategy[Event] = st.sampled_from(sorted(EVENT_TYPES)).flatmap(
    lambda topic: _made(EVENT_TYPES[topic])
)
ENVELOPES: st.SearchStrategy[Envelope] = st.builds(Envelope)
