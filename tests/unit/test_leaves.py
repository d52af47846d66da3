"""Leaves: the shown item has everything the stored event has, and no two events have the same leaf."""

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.transparency.leaves import hash_of, hash_of_item, leaf_bytes, stored_state
from tests.upgrade.record import golden

STATES = [(form.topic, state) for form, state in golden().items() if form.class_version is not None]


def item_of(topic: str, state: bytes, position: int = 21, stream: str = "main/ledger") -> dict[str, Any]:
    """An event as exported, built only from the description in api/README.md, Events and proofs."""
    stored = json.loads(state)
    envelope = {
        name: stored[name]
        for name in (
            "recorded_at",
            "actor",
            "correlation_id",
            "causation_id",
            "idempotency_key",
            "traceparent",
        )
    }
    return {
        "position": position,
        "stream": stream,
        "version": 1,
        "type": topic,
        "schema_version": stored["class_version"],
        **envelope,
        "payload": stored["data"],
        "ledger": "main",
    }


@pytest.mark.parametrize(("topic", "state"), STATES, ids=[topic for topic, _ in STATES])
def test_the_item_suffices_to_hash_every_event_that_any_release_has_written(topic: str, state: bytes) -> None:
    item = json.loads(json.dumps(item_of(topic, state)))
    assert stored_state(item) == state
    assert hash_of_item(item) == hash_of(21, "main/ledger", 1, topic, state)


def test_a_leaf_is_json_with_the_stored_event_in_it() -> None:
    leaf = leaf_bytes(21, 'main/"odd\\\n', 3, "ledger.opened", b'{"class_version":1}')
    assert leaf == (
        b'{"position":21,"stream":"main/\\"odd\\\\\\n","version":3,"type":"ledger.opened","event":{"class_version":1}}'
    )
    assert hash_of(21, 'main/"odd\\\n', 3, "ledger.opened", b'{"class_version":1}') == (
        hashlib.sha256(b"\x00" + leaf).digest()
    )


@given(st.text(max_size=20))
def test_texts_of_a_leaf_are_json_whatever_they_say(text: str) -> None:
    written = json.dumps(text, ensure_ascii=False)
    assert leaf_bytes(1, text, 1, text, b"null") == (
        f'{{"position":1,"stream":{written},"version":1,"type":{written},"event":null}}'.encode()
    )


PLACES = st.tuples(
    st.integers(1, 99),
    st.text('a/",:}', max_size=4),
    st.integers(1, 99),
    st.text('a",:}', max_size=4),
    st.binary(max_size=6),
)


@given(PLACES, PLACES)
def test_events_that_differ_have_leaves_that_differ(one: Any, other: Any) -> None:
    assert (leaf_bytes(*one) == leaf_bytes(*other)) == (one == other)
