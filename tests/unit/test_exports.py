"""The lines of exports: each has one spelling, whatever the bytes, and changes are detected."""

import json

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from domain.journal.encoding import encode_envelope, encode_event
from domain.transparency.export_format import (
    Attestation,
    Exported,
    Footer,
    Header,
    Malformed,
    event_line,
    part_line,
    read_begin,
    read_end,
    read_event,
    read_seal,
)
from domain.transparency.leaves import hash_of
from domain.transparency.merkle_tree import Accumulator, leaf_hash
from tests.unit.generated_events import ENVELOPES, EVENTS

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
STATES = st.builds(lambda event, envelope: encode_event(event, encode_envelope(envelope)), EVENTS, ENVELOPES)


def an_event(state: bytes, stream: str = "main/ledger", topic: str = "ledger.opened") -> Exported:
    return Exported(7, stream, 1, topic, state, hash_of(7, stream, 1, topic, state))


@given(STATES, TEXTS, TEXTS)
def test_a_line_is_the_leaf_with_its_hash(state: bytes, stream: str, topic: str) -> None:
    exported = an_event(state, stream, topic)
    line = event_line(exported)
    assert line.count(b"\n") == 1 and line.endswith(b"\n")
    assert read_event(line[:-1]) == (exported, exported.sealed)
    # What someone with only the description of the format would do.
    leaf, found, _ = line.rpartition(b',"leaf_hash":"')
    assert found and leaf_hash(leaf + b"}").hex() == json.loads(line)["leaf_hash"]


@given(st.binary() | st.sampled_from([b" {}", b"{}\n", b'{},"x":1', b'{"a":1}}', b"", b"\xff", b"{} "]))
def test_bytes_that_no_release_writes_are_exported_all_the_same(state: bytes) -> None:
    exported = an_event(state)
    line = event_line(exported)
    assert line.count(b"\n") == 1
    json.loads(line)
    assert read_event(line[:-1]) == (exported, exported.sealed)


@given(STATES, st.data())
def test_a_line_that_is_changed_is_another_event_or_none(state: bytes, data: st.DataObject) -> None:
    exported = an_event(state)
    line = bytearray(event_line(exported)[:-1])
    place = data.draw(st.integers(0, len(line) - 1))
    byte = data.draw(st.integers(0, 255))
    assume(line[place] != byte)
    line[place] = byte
    try:
        read, leaf = read_event(bytes(line))
    except Malformed:
        return
    assert read != exported
    assert leaf != read.sealed


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{}",
        b'{"position":7}',
        event_line(an_event(b"{}"))[:-1].replace(b',"leaf_hash"', b',"more":1,"leaf_hash"'),
        event_line(an_event(b"{}"))[:-1].replace(b'"event":{}', b'"event":{},"event":{}'),
        event_line(an_event(b"{}"))[:-1].replace(b'"event":{}', b'"event": {}'),
        event_line(an_event(b"{}"))[:-1].replace(b'"event":{}', b'"event_base64":"e30="'),
        event_line(an_event(b"{}"))[:-1].replace(b"ledger.opened", b"ledger\\u002eopened"),
        event_line(an_event(b"{}"))[:-1].replace(b'"leaf_hash":"', b'"leaf_hash":" '),
    ],
)
def test_there_is_one_way_to_write_an_event(line: bytes) -> None:
    with pytest.raises(Malformed):
        read_event(line)


def test_the_other_lines() -> None:
    begin = Header(export="tallystick/1", since=5, until=4, peaks=["00"])
    seal = Attestation(checkpoint=None, path=[], verifiers=["a"], head=4)
    assert read_begin(part_line(begin)) == begin
    assert read_end(part_line(Footer(end=3, root="00"))) == Footer(end=3, root="00")
    assert read_seal(part_line(seal)) == seal
    for line in (
        b'{"export":"tallystick/2","from":1,"to":1,"peaks":[]}',
        b'{"export":"tallystick/1","from":0,"to":1,"peaks":[]}',
        b'{"export":"tallystick/1","from":3,"to":1,"peaks":[]}',
        b'{"export":"tallystick/1","from":1,"to":1,"peaks":[],"more":1}',
    ):
        with pytest.raises(Malformed):
            read_begin(line)


@pytest.mark.parametrize(
    "shown",
    [
        b'{"main":[[4,9,9],[1,2,3]]}',
        b'{"main":[[1,2,3],[1,2,3]]}',
        b'{"main":[]}',
        b'{"main":[[1,2,9223372036854775808]]}',
        b'{"main":[[1,2,4]],"main":[[1,2,3]]}',
        b'{"main": [[1,2,3]]}',
    ],
)
def test_there_is_one_way_to_say_where_positions_are_shown(shown: bytes) -> None:
    seal = Attestation(checkpoint=None, path=[], verifiers=[], head=4, shown={"main": [(1, 2, 3), (4, 9, 9)]})
    line = part_line(seal)
    assert read_seal(line) == read_seal(line[:-1]) == seal
    with pytest.raises(Malformed):
        read_seal(line.replace(b'{"main":[[1,2,3],[4,9,9]]}', shown))


@given(st.integers(0, 70), st.integers(0, 70))
def test_a_tree_goes_on_from_its_peaks(first: int, more: int) -> None:
    leaves = [leaf_hash(b"%d" % number) for number in range(first + more)]
    resumed = Accumulator.resumed(first, Accumulator(leaves[:first]).peaks)
    for leaf in leaves[first:]:
        resumed.append(leaf)
    assert (resumed.size, resumed.root) == (first + more, Accumulator(leaves).root)
    with pytest.raises(ValueError, match="peaks"):
        Accumulator.resumed(first, [b""] * (first.bit_count() + 1))
