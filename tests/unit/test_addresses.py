"""Names of ledgers, accounts and streams."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.model.streams import (
    MAX_ADDRESS_LENGTH,
    account_stream,
    is_address,
    is_ledger_name,
    ledger_of,
    ledger_stream,
    name_of,
    transaction_stream,
)

LEDGER_NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,62}", fullmatch=True)
ADDRESSES = st.lists(st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True), min_size=1, max_size=10).map(
    ":".join
)


@pytest.mark.parametrize("name", ["main", "a", "eu-west-1", "a" + "9" * 62, "a-"])
def test_a_ledger_name(name: str) -> None:
    assert is_ledger_name(name)


@pytest.mark.parametrize(
    "text", ["", "Main", "1a", "-a", "a_b", "a b", "a/b", "a:b", "a.b", "ä", "main\n", "a" * 64]
)
def test_no_ledger_name(text: str) -> None:
    assert not is_ledger_name(text)


@pytest.mark.parametrize(
    "address",
    [
        "a",
        "users:alice:wallet",
        "A-Z_0:9",
        "a" * 64,
        ":".join("abcdefghij"),
        ":".join(["a" * 63] * 3 + ["a" * 62, ""])[:-1],
    ],
)
def test_an_address(address: str) -> None:
    assert is_address(address)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "a:",
        ":a",
        "a::b",
        "a b",
        "a/b",
        "a.b",
        "ä",
        "a\n",
        "a" * 65,
        ":".join("abcdefghijk"),
        ":".join(["a" * 63] * 4 + ["a"]),
    ],
)
def test_no_address(text: str) -> None:
    assert not is_address(text)


def test_the_longest_address() -> None:
    longest = ":".join(["a" * 63] * 3 + ["a" * 61, "a"])
    assert len(longest) == MAX_ADDRESS_LENGTH and is_address(longest)
    assert not is_address(longest + "a")


def test_streams_can_be_read_by_people() -> None:
    assert ledger_stream("main") == "main/ledger"
    assert account_stream("main", "users:alice:wallet") == "main/accounts/users:alice:wallet"
    assert transaction_stream("main", "0b2f") == "main/transactions/0b2f"


@given(LEDGER_NAMES, ADDRESSES)
def test_a_stream_tells_its_ledger_and_its_name(ledger: str, address: str) -> None:
    assert is_ledger_name(ledger)
    assert is_address(address) == (len(address) <= MAX_ADDRESS_LENGTH)
    for stream in (account_stream(ledger, address), transaction_stream(ledger, address)):
        assert (ledger_of(stream), name_of(stream)) == (ledger, address)
    assert ledger_of(ledger_stream(ledger)) == ledger


@given(st.tuples(LEDGER_NAMES, ADDRESSES), st.tuples(LEDGER_NAMES, ADDRESSES))
def test_different_things_have_different_streams(one: tuple[str, str], other: tuple[str, str]) -> None:
    assert (account_stream(*one) == account_stream(*other)) == (one == other)
    assert account_stream(*one) != transaction_stream(*other)
    assert account_stream(*one) != ledger_stream(other[0])
