"""The operators' pages without scripts, and with long texts on a narrow screen."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.browsing import browsing, sentence_of, sign_in
from tests.contract.books import Book
from tests.contract.serving import Served
from tests.projecting import eventually

pytestmark = pytest.mark.browser

NARROW = {"viewport": {"width": 360, "height": 800}}
LONG = "a-very-long-word-" * 12
NAMES = (
    "/console",
    "/console/stuck",
    "/console/projections",
    "/console/projections/entries",
    "/console/dead-letters",
    "/console/webhooks",
    "{hook}",
    "{hook}/deliveries",
    "{delivery}",
    "/console/ledgers/main/payouts",
    "{payout}",
    "{payout}/fail",
    "/console/make-webhook",
)


@pytest.fixture(scope="module")
def addresses(served: Served) -> Iterator[dict[str, Any]]:
    """The addresses of a webhook, a delivery and a payout, with texts as long as the API takes them."""
    with served.client() as client:
        book = Book(client, "main")
        book.open("cash", normal_side="debit")
        book.open("alice")
        body = {
            "url": f"https://93.184.216.34/{LONG}",
            "ledgers": ["*"],
            "types": ["*"],
            "description": LONG,
        }
        hook = client.post("/v1/webhooks", json=body).json()["id"]
        client.post(f"/v1/webhooks/{hook}/disable", json={"reason": LONG})
        made = book.pay_out(10, reference=LONG)
        deliveries = f"/v1/webhooks/{hook}/deliveries"
        eventually(lambda: bool(client.get(deliveries).json()["data"]))
        delivery = client.get(deliveries).json()["data"][0]["id"]
        payouts = f"{book.path}/payouts"
        eventually(lambda: bool(client.get(payouts).json()["data"]))
        yield {
            "hook": f"/console/webhooks/{hook}",
            "delivery": f"/console/webhooks/{hook}/deliveries/{delivery}",
            "payout": f"/console/ledgers/main/payouts/{made.json()['id']}",
        }


def test_every_page_is_read_without_scripts_and_is_no_wider_than_the_screen(
    browser: Browser, served: Served, addresses: dict[str, Any]
) -> None:
    with browsing(browser, served.url, java_script_enabled=False, **NARROW) as (context, _):
        page = sign_in(context)
        for name in NAMES:
            answer = page.goto(name.format_map(addresses))
            assert answer is not None and answer.status == 200, name
            assert sentence_of(page).endswith("."), name
            assert page.evaluate("document.documentElement.scrollWidth") <= 360, name
        page.goto("/console/projections/entries")
        for label in ("Pause", "Resume"):
            page.get_by_role("link", name=label, exact=True).click()
            page.get_by_role("button", name=label, exact=True).click()
            expect(page.locator("main")).to_contain_text(f"Done: {label}.")
