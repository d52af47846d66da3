"""The pictures of the console in README.md are made here.

`TALLYSTICK_PICTURES=keep scripts/test tests/browser/test_pictures.py` makes those kept in `api/console/pictures`.
"""

import os
import random
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from scripts.simulator.faults import Script
from tests.browser.browsing import browsing, sign_in
from tests.contract.books import Book
from tests.contract.serving import Served
from tests.service import ROOT

pytestmark = pytest.mark.browser

KEPT = ROOT / "api" / "console" / "pictures"
PICTURES = {
    "now": "/console",
    "story": "/console/ledgers/main/operations/payout-in-doubt",
    "account": "/console/ledgers/main/accounts/users:alice:wallet",
}
MOST_BYTES = 150_000


@pytest.fixture(scope="module", autouse=True)
def shop(served: Served) -> None:
    """A shop with some orders, and a payout of which nobody knows yet how it ended."""
    chance = random.Random(1)
    with served.client() as client:
        book = Book(client, "main")
        book.open("bank:cash", normal_side="debit")
        book.open("shop:sales")
        book.open("users:alice:wallet", min_balance=0, max_balance=500_000, metadata={"customer": "42"})
        for number in range(12):
            book.transfer(
                "bank:cash", "users:alice:wallet", chance.randint(10_000, 50_000), f"deposit-{number}"
            )
            book.transfer("users:alice:wallet", "shop:sales", chance.randint(1_000, 9_000), f"order-{number}")
        held = book.transfer("users:alice:wallet", "shop:sales", 2_500, "hold-1", pending=True)
        assert held.status_code == 201
        served.simulator.faults.follow(
            Script(amount=7_000, faults=["drop_after"] * 50, ask_errors=10_000, lose=True)
        )
        made = book.pay_out(7_000, "payout-in-doubt", "users:alice:wallet")
        book.await_payout(made.json()["id"], "in_doubt")


@pytest.mark.parametrize("name", PICTURES)
def test_the_readme_shows_pictures_that_are_made_of_the_console(
    browser: Browser, served: Served, tmp_path: Path, name: str
) -> None:
    folder = KEPT if os.environ.get("TALLYSTICK_PICTURES") == "keep" else tmp_path
    with browsing(browser, served.url, viewport={"width": 1080, "height": 680}) as (context, _):
        page = sign_in(context)
        page.goto(PICTURES[name])
        page.wait_for_load_state("networkidle") if name != "now" else page.wait_for_timeout(1_000)
        page.screenshot(path=folder / f"{name}.png")
    assert f"api/console/pictures/{name}.png" in (ROOT / "README.md").read_text()
    made, kept = (folder / f"{name}.png").read_bytes(), (KEPT / f"{name}.png").read_bytes()
    assert made[:24] == kept[:24]  # the signature of PNG, and the same width and height
    assert len(kept) < MOST_BYTES
