"""The checkout, with every answer lost once and the whole day done twice."""

from datetime import UTC, datetime, timedelta

import pytest

from api.client import id_of
from api.client.synchronous import Ledger
from tests.examples.checkout import HOLD_DAYS, Checkout, Declined, Order
from tests.examples.lost_answers import LosingAnswers


def test_a_day_done_twice_takes_every_price_once(ledger: Ledger, network: LosingAnswers) -> None:
    checkout = Checkout(ledger)
    placed_at = datetime.now(UTC) - timedelta(hours=1)
    shipped, cancelled, waiting, too_dear = (
        Order(f"order-{number}", "customers:ada", price, placed_at)
        for number, price in enumerate((3_000, 1_000, 2_000, 90_000))
    )
    for _ in range(2):
        checkout.open()
        checkout.sign_up("customers:ada", prepaid=10_000)
        for order in (shipped, cancelled, waiting):
            checkout.place(order)
        with pytest.raises(Declined):
            checkout.place(too_dear)
        checkout.ship(shipped, worth=2_500)
        checkout.cancel(cancelled)
        checkout.refund(shipped, 700, return_number="1")
    assert network.lost > 10
    assert checkout.available("customers:ada") == 10_000 - 2_000 - 2_500 + 700
    assert ledger.accounts.get("shop:sales").balance == 2_500 - 700
    made = list(ledger.transactions())
    assert [each.kind for each in made] == ["posting", *["hold"] * 4, "settlement", "void", "reversal"]
    assert [each.status for each in made].count("rejected") == 1
    hold = ledger.transaction(id_of(ledger.name, "order-2-hold"))
    assert hold.status == "pending"
    assert hold.expires_at == placed_at + timedelta(days=HOLD_DAYS)
