"""The sentence of an account."""

import pytest

from api.console.pages.books.account import _sentence


@pytest.mark.parametrize(
    ("balance", "available", "said"),
    [
        (500, 500, "a balance of 5.00 USD, all of it available."),
        (500, 400, "a balance of 5.00 USD, 4.00 USD of it available."),
        (500, -100, "a balance of 5.00 USD, −1.00 USD available."),
        (-500, -500, "a balance of −5.00 USD, −5.00 USD available."),
        (0, 0, "a balance of 0.00 USD, 0.00 USD available."),
    ],
)
def test_what_is_available_is_part_of_a_balance_only_where_it_can_be(
    balance: int, available: int, said: str
) -> None:
    account = {"asset": "USD/2", "status": "open", "balance": balance, "available": available}
    assert _sentence(account, account, None).replace("\u202f", " ").endswith(said)
