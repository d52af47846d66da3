"""The keys of an event: anything its payload may mention is found, in whatever spelling."""

import json
from typing import Any
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from projections.read_models.event_keys import possible_mentions

IDS = st.uuids().map(str)
TEXTS = IDS | st.text() | st.sampled_from(['"account"', "a-b-c-d-e", "\\", 'é"', "users:a"])
NAMES = st.sampled_from(["account", "entries", "transaction_id", "reference"]) | IDS | st.text()
PAYLOADS = st.recursive(
    TEXTS | st.none() | st.integers() | st.booleans(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
)
ENTRIES = st.lists(
    st.fixed_dictionaries(
        {"account": TEXTS},
        optional={
            "direction": st.sampled_from(["debit", "credit"]),
            "amount": st.integers(1, 2**62),
            "asset": st.just("USD/2") | TEXTS,
            "normal_side": st.sampled_from(["debit", "credit"]),
            "balance_after": st.integers(-(2**62), 2**62),
            "debits_after": st.none() | st.integers(0, 2**62),
            "other": TEXTS,
        },
    ),
    max_size=4,
)
TRANSACTIONS = st.fixed_dictionaries(
    {"reference": TEXTS},
    optional={
        "description": TEXTS,
        "metadata": st.just({}) | st.dictionaries(NAMES, TEXTS, max_size=2),
        "fingerprint": st.just("0" * 64) | TEXTS,
        "entries": ENTRIES,
        "effective_at": st.just("2026-01-01T00:00:00.000000Z") | TEXTS,
        "expires_at": st.none() | TEXTS,
        **dict.fromkeys(("settles", "voids", "reverses", "other"), TEXTS),
    },
)
"""What transactions have as payloads, and what is nearly that."""

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


@given(payload=PAYLOADS | TRANSACTIONS, separators=SEPARATORS, is_ascii=st.booleans())
def test_every_account_and_id_that_a_payload_mentions_is_possible(
    payload: Any, separators: tuple[str, str], is_ascii: bool
) -> None:
    written = json.dumps(payload, separators=separators, ensure_ascii=is_ascii).encode()
    found = texts(payload)
    possible_ids, possible_accounts = possible_mentions(written)
    assert set(possible_ids) == {text for _, text in found if is_id(text)}
    accounts = {text for member, text in found if member == "account"}
    assert accounts <= set(possible_accounts)
