"""Marks of events: every key of every event is marked, whatever stands before it and however events are divided."""

import json
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.journal.reader import Row
from projections.read_models.event_index import BLOCKS, STRETCHES, STRIPS, Segment
from projections.read_models.event_keys import Key, content_of, keys_of
from projections.read_models.event_marks import (
    common,
    key_hash,
    marks_of,
    marks_with,
    offsets_of,
    packed,
    unpacked,
)

LEDGERS = st.sampled_from(["main", "main-2", "m"])
ADDRESSES = st.sampled_from(["a", "b", "users:a", 'c"', "é", 'a"},{"account":"b'])
IDS = st.integers(1, 3).map(lambda number: str(UUID(int=number)))
TEXTS = ADDRESSES | IDS | st.sampled_from(["account", "x-y-z-1-2", "\\", ""])
ENTRIES = st.lists(ADDRESSES.map(lambda address: {"account": address, "balance_after": -5}), max_size=3)
PAYLOADS = st.one_of(
    ENTRIES.map(lambda entries: {"reference": "r-1-2-3-4", "entries": entries}),
    st.dictionaries(st.sampled_from(["account", "hold_id", "reference", "n"]), TEXTS | st.integers(-9, 9)),
    st.none() | TEXTS,
)
POSTINGS = st.tuples(IDS | st.just(""), st.integers(0, 20), st.integers(0, 20)).map(
    lambda said: {"transaction_id": said[0], "debits": said[1], "credits": said[2]}
)
STREAMS = st.one_of(
    ADDRESSES.map(lambda address: f"accounts/{address}"),
    IDS.map(lambda id: f"transactions/{id}"),
    st.sampled_from(["ledger", "transactions/x", "other/a/b"]),
)
VERSIONS = st.sampled_from([1, 1, 1, 2, 9, 10])
STRANGE = st.sampled_from(
    [b"", b"[]", b"null", b"\xff", b'{"class_version":1,"data":{}', b'{"a":1,"data":{}}']
)


@st.composite
def commands(draw: st.DrawFn) -> list[tuple[str, str, bytes]]:
    """The events of one command, each with its stream, type and stored form."""
    ledger = draw(LEDGERS)
    said = {
        "actor": draw(st.sampled_from(["shop", "zoë", None])),
        "correlation_id": draw(st.sampled_from(["talk", "walk"]) | IDS | st.none()),
        "causation_id": draw(IDS | st.sampled_from(["shop", "a", "-" * 36, None])),
    }
    is_ascii = draw(st.booleans())
    separators = draw(st.sampled_from([(",", ":"), (",", ":"), (", ", ": ")]))
    events = []
    for _ in range(draw(st.integers(1, 6) | st.integers(15, 40))):
        data = draw(POSTINGS | PAYLOADS)
        stored = {"class_version": draw(VERSIONS), **said, "data": data}
        state = json.dumps(stored, separators=separators, ensure_ascii=is_ascii).encode()
        topic = draw(st.sampled_from(["thing.happened", "thing.changed"]))
        events.append(
            (f"{ledger}/{draw(STREAMS)}", topic, draw(STRANGE) if draw(st.integers(0, 9)) == 9 else state)
        )
    return events


@st.composite
def journals(draw: st.DrawFn) -> list[Row]:
    """Events of several commands at consecutive positions within a stretch."""
    first = draw(st.sampled_from([1, 2, 15, 16, 17, 125, 65_537, 131_000]))
    events = [event for command in draw(st.lists(commands(), min_size=1, max_size=6)) for event in command]
    return [
        (stream, 1, topic, state, position)
        for position, (stream, topic, state) in enumerate(events[:72], start=first)
    ]


def keys(row: Row) -> Iterator[Key]:
    yield from keys_of(row, content_of(row[3]))


def positions(marks: Sequence[int], key: Key) -> list[int]:
    """The places within the stretch of the events that have a key, counted from 0."""
    return [offset for mark in marks_with(marks, key_hash(*key)) for offset in offsets_of(mark)]


@given(journals())
def test_every_key_of_every_event_is_marked_once(rows: list[Row]) -> None:
    marks = marks_of(rows)
    assert marks == sorted(marks) and len({mark >> 16 for mark in marks}) == len(marks)
    assert all(0 < mark < 2**63 for mark in marks)
    for key in {key for row in rows for key in keys(row)}:
        really = {(row[4] - 1) % 65_536 for row in rows if key in keys(row)}
        assert really <= set(positions(marks, key)) <= {(row[4] - 1) % 65_536 for row in rows}


@given(journals())
def test_marks_of_two_keys_have_the_events_that_have_both(rows: list[Row]) -> None:
    marks = marks_of(rows)
    assert list(unpacked(packed(marks))) == marks
    found = {key: positions(marks, key) for row in rows for key in keys(row)}
    for (one, of_one), (other, of_other) in product(found.items(), repeat=2):
        both = common(marks_with(marks, key_hash(*one)), marks_with(marks, key_hash(*other)))
        assert [offset for mark in both for offset in offsets_of(mark)] == sorted({*of_one} & {*of_other})


@given(journals(), st.lists(st.integers(1, 71), max_size=4))
def test_marks_are_the_same_however_events_are_divided(rows: list[Row], ends: list[int]) -> None:
    marks: list[int] = []
    for begin, end in zip([0, *sorted(ends)], [*sorted(ends), len(rows)], strict=True):
        if part := rows[begin:end]:
            marks = marks_of(part, marks)
    assert marks == marks_of(rows)


def transfer(number: int) -> list[Row]:
    """The three events of a transfer, as this project stores them."""
    id = str(UUID(int=number))
    said = {
        "recorded_at": "2026-01-01",
        "actor": "shop",
        "correlation_id": f"talk-{number}",
        "causation_id": id,
    }
    accounts = [f"users:{number}", f"users:{number + 1}"]
    entries = [{"account": address, "balance_after": -5} for address in accounts]
    said_of_each: list[tuple[str, str, Any]] = [
        *(
            (f"accounts/{of}", "account.entries_posted", {"transaction_id": id, "debits": 5, "credits": 0})
            for of in accounts
        ),
        (f"transactions/{id}", "transaction.posted", {"reference": "order-1", "entries": entries}),
    ]
    return [
        (
            f"main/{stream}",
            1,
            topic,
            json.dumps({"class_version": 1, **said, "data": data}, separators=(",", ":")).encode(),
            3 * number + place,
        )
        for place, (stream, topic, data) in enumerate(said_of_each, start=1)
    ]


def test_the_marks_of_a_transfer_are_exact() -> None:
    marks = marks_of(transfer(2))
    id = str(UUID(int=2))
    expected = {
        ("main", "", ""): 0b111,
        ("main", "actor", "shop"): 0b111,
        ("main", "correlation_id", "talk-2"): 0b111,
        ("main", "transaction_id", id): 0b111,
        ("main", "type", "account.entries_posted"): 0b011,
        ("main", "type", "transaction.posted"): 0b100,
        ("main", "account", "users:2"): 0b101,
        ("main", "account", "users:3"): 0b110,
    }
    assert marks == sorted(key_hash(*key) | mask << 6 for key, mask in expected.items())


def test_the_layout_of_a_mark_stays() -> None:
    """Rows that are stored already are read by it. Whoever changes it must raise the projection's shape."""
    assert key_hash("main", "account", "users:alice") == 2_611_276_984_512_151_552
    ledger = key_hash("main", "", "")
    (mark,) = (mark for mark in marks_of(transfer(21_844)) if ledger <= mark < ledger + 2**28)
    assert mark == ledger | 4_095 << 16 | 0b111 << 12


@pytest.mark.parametrize(
    ("segment", "slot"),
    [
        (Segment(STRETCHES, 3), 3 << 13 | 2047),
        (Segment(BLOCKS, 3 * 32 + 5), 3 << 13 | 1 << 11 | 5 << 6 | 63),
        (Segment(STRIPS, 3 * 512 + 7), 3 << 13 | 2 << 11 | 7),
    ],
)
def test_the_layout_of_slots_stays(segment: Segment, slot: int) -> None:
    """As above."""
    assert segment.slot(2**63 - 2**28) == slot
    assert segment.slot(0) >> 13 == segment.stretch == 3
