"""The marketplace, with every answer lost once and the whole day done twice."""

import pytest

from api.client.synchronous import Ledger
from tests.examples.lost_answers import LosingAnswers
from tests.examples.marketplace import Marketplace, Sale, split

SALES = [
    Sale("1", "ada", 10_000, 500),
    Sale("2", "ada", 3_333, 0),
    Sale("3", "ben", 1_999, 499),
    Sale("4", "ben", 7, 0),
]


@pytest.mark.parametrize("sale", SALES)
def test_the_parts_of_a_sale_add_up(sale: Sale) -> None:
    assert sum(split(sale).values()) == sale.price


def test_a_day_done_twice_owes_everybody_once(ledger: Ledger, network: LosingAnswers) -> None:
    marketplace = Marketplace(ledger)
    for _ in range(2):
        marketplace.open(["ada", "ben"])
        marketplace.book(SALES)
        marketplace.refund(SALES[2])
        marketplace.pay_sellers("2026-11-30", {"ada": 5_000})
    assert network.lost > 5
    booked = [split(sale) for sale in SALES if sale.number != "3"]
    of_ada, of_ben = (sum(parts.get(f"sellers:{name}", 0) for parts in booked) for name in ("ada", "ben"))
    assert marketplace.owed_to_sellers() == {"ada": of_ada - 5_000, "ben": of_ben}
    assert marketplace.balance("marketplace:fees") == sum(
        parts.get("marketplace:fees", 0) for parts in booked
    )
    assert marketplace.balance("couriers") == 500
    assert marketplace.balance("acquirer") == 10_000 + 3_333 + 7
    assert len(list(ledger.transactions())) == len(SALES) + 2
