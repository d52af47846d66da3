"""Storage of events: everything written is read back, and unreadable data is reported."""

import json
from typing import Any, ClassVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from domain.journal.encoding import (
    NewerVersion,
    UnreadableEvent,
    decode,
    encode_envelope,
    encode_event,
    upcast,
)
from domain.model.events import Envelope, Event, Recorded
from domain.model.ledgers import AssetRegistered, LedgerOpened
from domain.model.registry import EVENT_TYPES
from tests.unit.generated_events import ENVELOPES, EVENTS
from tests.unit.given_when_then import HISTORY

TOPIC = AssetRegistered.TOPIC
STORED = encode_event(AssetRegistered(code="USD", scale=2), encode_envelope(HISTORY))


def read(state: bytes, topic: str = TOPIC) -> Recorded:
    return decode("main/ledger", 3, topic, state, 7)


def changed(**members: Any) -> bytes:
    return json.dumps({**json.loads(STORED), **members}).encode()


def without(member: str) -> bytes:
    stored = json.loads(STORED)
    del stored[member]
    return json.dumps(stored).encode()


@given(EVENTS, ENVELOPES)
def test_what_is_written_is_read_back(event: Event, envelope: Envelope) -> None:
    state = encode_event(event, encode_envelope(envelope))
    assert read(state, event.TOPIC) == Recorded("main/ledger", 3, 7, envelope, event)


@given(EVENTS, ENVELOPES)
def test_the_stored_form_is_one_json_object_that_says_its_version(event: Event, envelope: Envelope) -> None:
    state = encode_event(event, encode_envelope(envelope))
    stored = json.loads(state)
    assert list(stored) == ["class_version", *Envelope.__struct_fields__, "data"]
    assert stored["class_version"] == event.class_version
    assert stored["data"] == json.loads(msgspec.json.encode(event))
    assert json.dumps(stored, ensure_ascii=False, separators=(",", ":")).encode() == state


def test_the_events_of_one_command_share_their_encoded_envelope() -> None:
    envelope = encode_envelope(HISTORY)
    events = [LedgerOpened(metadata={"a": "ü€😀\x00\u2028"}), AssetRegistered(code="USD", scale=2)]
    decoded = [read(encode_event(event, envelope), event.TOPIC) for event in events]
    assert [recorded.event for recorded in decoded] == events
    assert [recorded.envelope for recorded in decoded] == [HISTORY, HISTORY]


def test_a_topic_that_this_release_does_not_know_is_newer() -> None:
    with pytest.raises(NewerVersion) as raised:
        read(STORED, "account.exploded")
    assert raised.value.reason == "newer_version"
    assert "account.exploded" in str(raised.value) and "7" in str(raised.value)


def test_a_version_above_the_one_that_this_release_knows_is_newer() -> None:
    with pytest.raises(NewerVersion) as raised:
        read(changed(class_version=2, data={"members": "unknown"}))
    assert raised.value.reason == "newer_version"


@pytest.mark.parametrize(
    "state",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\x00\xff", id="no text"),
        pytest.param(b"null", id="null"),
        pytest.param(b"[]", id="no object"),
        pytest.param(b"{}", id="nothing in it"),
        pytest.param(STORED[:-1], id="cut short"),
        pytest.param(STORED + b"}", id="too long"),
        pytest.param(STORED.replace(b"USD", b"US\xff"), id="no UTF-8"),
        pytest.param(without("data"), id="no data"),
        pytest.param(without("class_version"), id="no version"),
        pytest.param(without("recorded_at"), id="no envelope"),
        pytest.param(changed(actor=None), id="no actor"),
        pytest.param(changed(class_version="1"), id="a version of text"),
        pytest.param(changed(class_version=None), id="a version of null"),
        pytest.param(changed(class_version=0), id="a version before the first"),
        pytest.param(changed(data=None), id="data of null"),
        pytest.param(changed(data={"code": "USD"}), id="a member missing"),
        pytest.param(changed(data={"code": "USD", "scale": 2, "more": 1}), id="a member too many"),
        pytest.param(
            changed(data={"code": "USD", "scale": 2, "more": None}), id="a member too many, of null"
        ),
        pytest.param(changed(data={"code": "USD", "scale": "two"}), id="a member of another type"),
        pytest.param(b'{"data":' + b"[" * 5000 + b"]" * 5000 + b"}", id="too deep"),
    ],
)
def test_what_cannot_be_decoded_is_unreadable(state: bytes) -> None:
    with pytest.raises(UnreadableEvent) as raised:
        read(state)
    assert type(raised.value) is UnreadableEvent
    assert raised.value.reason == "unreadable"


@given(st.binary() | st.integers(0, len(STORED) - 1).map(lambda end: STORED[:end]))
def test_no_bytes_lead_to_any_other_error(state: bytes) -> None:
    with pytest.raises(UnreadableEvent):
        read(state)


def test_an_envelope_may_have_members_that_a_newer_release_added() -> None:
    assert read(changed(tenant="t1")).envelope == HISTORY


def test_text_that_looks_like_what_follows_the_envelope_is_no_end_of_it() -> None:
    envelope = replace(HISTORY, actor='","data":{"code":"EUR","scale":2}}')
    event = LedgerOpened(metadata={',"data":': ',"data":'})
    recorded = read(encode_event(event, encode_envelope(envelope)), event.TOPIC)
    assert (recorded.envelope, recorded.event) == (envelope, event)


def test_events_mean_the_same_however_their_json_is_arranged() -> None:
    stored = json.loads(STORED)
    arranged = json.dumps(dict(reversed(stored.items())), indent=2).encode()
    assert read(arranged) == read(STORED)
    more = STORED.removesuffix(b"}") + b',"data":{"code":"EUR","scale":2}}'
    assert read(more).event == AssetRegistered(code="EUR", scale=2)


class AddressMoved(Event):
    """A type whose third version splits the member that the second renamed."""

    TOPIC: ClassVar[str] = "test.address_moved"
    class_version: ClassVar[int] = 3

    segments: list[str]

    @staticmethod
    def upcast_v1_v2(data: dict[str, Any]) -> None:
        data["address"] = data.pop("name")

    @staticmethod
    def upcast_v2_v3(data: dict[str, Any]) -> None:
        data["segments"] = data.pop("address").split(":")


@pytest.mark.parametrize(
    ("class_version", "data"),
    [(1, {"name": "users:alice"}), (2, {"address": "users:alice"}), (3, {"segments": ["users", "alice"]})],
)
def test_every_older_version_is_read_as_the_present_one(
    class_version: int, data: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(EVENT_TYPES, AddressMoved.TOPIC, AddressMoved)
    recorded = read(changed(class_version=class_version, data=data), AddressMoved.TOPIC)
    assert recorded.event == AddressMoved(segments=["users", "alice"])


def test_the_present_version_is_the_one_that_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(EVENT_TYPES, AddressMoved.TOPIC, AddressMoved)
    event = AddressMoved(segments=["users", "alice"])
    state = encode_event(event, encode_envelope(HISTORY))
    assert state.startswith(b'{"class_version":3,')
    assert read(state, AddressMoved.TOPIC).event == event


def test_a_fourth_version_is_newer_and_a_missing_step_is_unreadable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(EVENT_TYPES, AddressMoved.TOPIC, AddressMoved)
    with pytest.raises(NewerVersion):
        upcast(AddressMoved, 4, {})
    with pytest.raises(UnreadableEvent) as raised:
        read(changed(class_version=0, data={}), AddressMoved.TOPIC)
    assert type(raised.value) is UnreadableEvent
