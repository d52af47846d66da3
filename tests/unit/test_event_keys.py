"""The keys of an event: anything its payload may mention is found, in whatever spelling."""

import json
from typing import Any
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from projections.read_models.event_keys import mention_of, possible_mentions

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


@given(payload=PAYLOADS, separators=SEPARATORS, is_ascii=st.booleans())
def test_every_account_and_id_that_a_payload_mentions_is_possible(
    payload: Any, separators: tuple[str, str], is_ascii: bool
) -> None:
    written = json.dumps(payload, separators=separators, ensure_ascii=is_ascii).encode()
    found = texts(payload)
    possible_ids, possible_accounts = possible_mentions(written)
    assert set(possible_ids) == {text for _, text in found if is_id(text)}
    assert possible_accounts is not None
    assert set(possible_accounts) >= {text for member, text in found if member == "account"}


@given(payload=PAYLOADS, separators=SEPARATORS, expected=st.sets(st.sampled_from("abcd")), data=st.data())
def test_expected_accounts_are_recognised_only_if_there_are_no_others(
    payload: Any, separators: tuple[str, str], expected: set[str], data: st.DataObject
) -> None:
    mentioned = data.draw(st.lists(st.sampled_from("abcde"), max_size=5))
    whole = [{"account": address} for address in mentioned] + [payload]
    written = json.dumps(whole, separators=separators).encode()
    _, accounts = possible_mentions(written, [mention_of(address) for address in expected])
    really = [text for member, text in texts(whole) if member == "account"]
    assert accounts is not None or sorted(really) == sorted(expected)
    if separators == (",", ":") and mentioned and payload == 0 and sorted(mentioned) == sorted(expected):
        assert accounts is None
