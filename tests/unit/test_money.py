"""Amounts and assets."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.model.money import MAX_AMOUNT, MAX_SCALE, is_asset, split_asset


def test_the_largest_amount_is_the_last_that_a_double_counts_exactly() -> None:
    assert MAX_AMOUNT == 9007199254740991
    assert float(MAX_AMOUNT) == MAX_AMOUNT
    assert json.loads(json.dumps(MAX_AMOUNT), parse_int=float) == MAX_AMOUNT
    assert float(MAX_AMOUNT + 2) != MAX_AMOUNT + 2


@pytest.mark.parametrize(
    ("asset", "code", "scale"),
    [
        ("USD/2", "USD", 2),
        ("JPY/0", "JPY", 0),
        ("BTC/8", "BTC", 8),
        ("ETH/18", "ETH", 18),
        ("X/1", "X", 1),
        ("A_1/9", "A_1", 9),
        ("ABCDEFGHIJKLMNOP/10", "ABCDEFGHIJKLMNOP", 10),
    ],
)
def test_an_asset_is_a_code_and_a_scale(asset: str, code: str, scale: int) -> None:
    assert is_asset(asset)
    assert split_asset(asset) == (code, scale)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/2",
        "USD",
        "USD/",
        "USD/2/2",
        "usd/2",
        "1USD/2",
        "_USD/2",
        "USD/19",
        "USD/02",
        "USD/-1",
        "USD/+2",
        "USD/2 ",
        " USD/2",
        "USD/2\n",
        "USD /2",
        "ÄUR/2",
        "USD/²",
        "USD/٢",
        "ABCDEFGHIJKLMNOPQ/2",
        "USD-X/2",
    ],
)
def test_nothing_else_is(text: str) -> None:
    assert not is_asset(text)


@settings(deadline=None)
@given(st.from_regex(r"[A-Z][A-Z0-9_]{0,15}", fullmatch=True), st.integers(0, MAX_SCALE))
def test_every_code_and_scale_of_the_contract_is_an_asset(code: str, scale: int) -> None:
    assert code.isascii() and is_asset(f"{code}/{scale}")
    assert split_asset(f"{code}/{scale}") == (code, scale)
