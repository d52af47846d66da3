"""The balances of a ledger: the tree, the trial balance, and the difference between two moments."""

import re

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.browsing import browsing, require_accessible, sentence_of, sign_in
from tests.contract.books import Book
from tests.contract.serving import Served

pytestmark = pytest.mark.browser

LEDGER = "/console/ledgers/main"


@pytest.fixture(scope="module", autouse=True)
def middle(served: Served) -> int:
    """A ledger with a small tree. Returns a position between its two transactions."""
    with served.client() as client:
        book = Book(client, "main")
        book.open("bank", normal_side="debit")
        for address in ("users:alice", "users:alice:wallet", "users:bob:wallet"):
            book.open(address)
        first = book.transfer("bank", "users:alice:wallet", 5000, effective_at="2026-01-10T00:00:00Z").json()
        last = book.transfer("bank", "users:bob:wallet", 250, effective_at="2026-01-20T00:00:00Z").json()
        for name in ("trial-balance", "balances"):
            asked = {"min_position": last["position"]}
            assert client.get(f"{book.path}/{name}", params=asked).status_code == 200
        return int(first["position"])


def row(page: Page, name: str) -> str:
    text = (
        page.get_by_role("row").filter(has=page.get_by_role("rowheader", name=name, exact=True)).inner_text()
    )
    return re.sub(r"\s+", " ", text).strip()


def test_the_tree_is_gone_down_segment_by_segment(page: Page) -> None:
    page.goto(f"{LEDGER}/balances")
    assert "52.50 USD" in row(page, "users")
    page.get_by_role("link", name="users", exact=True).click()
    page.get_by_role("link", name="users:alice", exact=True).click()
    expect(page.get_by_text("The account users:alice itself")).to_be_visible()
    assert "50.00 USD" in row(page, "users:alice:wallet")
    page.get_by_role("navigation", name="The way down").get_by_role("link", name="users").click()
    assert "2.50 USD" in row(page, "users:bob")
    require_accessible(page)


def test_the_trial_balance_has_two_equal_columns(page: Page) -> None:
    page.goto(LEDGER)
    page.get_by_role("link", name="trial balance").click()
    assert sentence_of(page) == "The books balance now: in each asset, debits equal credits."
    assert row(page, "bank") == "bank 52.50"
    assert row(page, "Total") == "Total 52.50 52.50"
    require_accessible(page)
    page.get_by_label("At the end of day (UTC)").fill("2026-01-15")
    page.get_by_role("button", name="Show it then").click()
    page.wait_for_url("**at=2026-01-15**")
    assert row(page, "USD/2") == "USD/2 50.00 50.00"


def test_the_difference_between_two_times(page: Page) -> None:
    page.goto(f"{LEDGER}/balances/difference?first=2026-01-15&second=2026-01-31")
    assert row(page, "users:bob:wallet") == "users:bob:wallet 0.00 USD 2.50 USD 2.50 USD"
    assert row(page, "users:alice:wallet").endswith("same")
    assert row(page, "USD/2") == "USD/2 50.00 USD 52.50 USD 2.50 USD"


def test_the_difference_between_two_positions(browser: Browser, served: Served, middle: int) -> None:
    options = {
        "java_script_enabled": False,
        "viewport": {"width": 360, "height": 740},
        "color_scheme": "dark",
    }
    with browsing(browser, served.url, **options) as (context, _):
        page = sign_in(context, then=f"{LEDGER}/balances/difference")
        page.get_by_label("From").fill(str(middle))
        page.get_by_role("button", name="Show the difference").click()
        assert row(page, "users:bob:wallet") == "users:bob:wallet 0.00 USD 2.50 USD 2.50 USD"
        expect(page.get_by_text("known by time only")).to_be_visible()
