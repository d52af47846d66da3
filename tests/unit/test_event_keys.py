"""The keys of an event: anything its payload may mention is found, in whatever spelling."""

import json
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.journal.reader import Row
from projections.read_models.event_index import _offsets, key_hash
from projections.read_models.event_keys import content_of, keys_of, possible_accounts, possible_ids

IDS = st.uuids().map(str)
TEXTS = IDS | st.text() | st.sampled_from(['"account"', "a-b-c-d-e", "\\", 'é"', "users:a"])
NAMES = st.sampled_from(["account", "entries", "transaction_id", "reference"]) | IDS | st.text()
PAYLOADS = st.recursive(
    TEXTS | st.none() | st.integers() | st.booleans(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
)
SEPARATORS = st.sampled_from([(",", ":"), (", ", ": "), (" , ", " :\n")])


def texts(value: Any, member: str = "") -> list[tuple[str, str]]:
    """Every text within a value, with the name of its member."""
    match value:
        case str():
            return [(member, value)]
        case list():
            return [found for item in value for found in texts(item)]
        case dict():
            return [found for name, item in value.items() for found in [("", name), *texts(item, name)]]
    return []


def is_id(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False


@given(payload=PAYLOADS, separators=SEPARATORS, is_ascii=st.booleans(), data=st.data())
def test_every_account_and_id_that_a_payload_mentions_is_possible(
    payload: Any, separators: tuple[str, str], is_ascii: bool, data: st.DataObject
) -> None:
    written = json.dumps(payload, separators=separators, ensure_ascii=is_ascii).encode()
    found = texts(payload)
    ids = {text for _, text in found if is_id(text)}
    known = data.draw(st.sampled_from([str(UUID(int=0)), *sorted(ids)]))
    assert set(possible_ids(written)) == ids
    assert ids - {known} <= set(possible_ids(written, known.encode())) <= ids
    assert set(possible_accounts(written)) >= {text for member, text in found if member == "account"}


@pytest.mark.parametrize("first", [1, 200, 256, 257])
@given(payloads=st.lists(st.tuples(PAYLOADS, st.sampled_from(["x", "y"]), st.booleans()), min_size=1))
def test_an_event_is_found_by_each_of_its_keys_whatever_stands_before_it(
    first: int, payloads: list[tuple[Any, str, bool]]
) -> None:
    rows: list[Row] = []
    for number, (payload, actor, is_ascii) in enumerate(payloads[:50]):
        stored = {"actor": actor, "correlation_id": "talk", "causation_id": "shop", "data": payload}
        state = json.dumps({"class_version": 1, **stored}, separators=(",", ":"), ensure_ascii=is_ascii)
        rows.append((f"{actor}/accounts/a", 1, "thing.happened", state.encode(), first + number))
    rows = [row for row in rows if (row[4] - 1) // 256 == (first - 1) // 256]
    found = _offsets(rows)
    for row in rows:
        for key in keys_of(row, content_of(row[3])):
            assert found[key_hash(*key)].count((row[4] - 1) % 256) == 1
