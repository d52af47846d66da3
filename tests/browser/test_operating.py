"""The operators' pages: in both themes, on a narrow screen, without scripts, and small."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.browser.browsing import browsing, require_accessible, sentence_of, sign_in
from tests.contract.books import Book
from tests.contract.serving import Served
from tests.projecting import eventually

pytestmark = pytest.mark.browser

MAX_BYTES = 100_000
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


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_page_is_readable_in_each_theme_and_on_a_narrow_screen(
    browser: Browser, served: Served, addresses: dict[str, Any], theme: str
) -> None:
    with browsing(browser, served.url, color_scheme=theme) as (context, _):
        page = sign_in(context)
        for name in NAMES:
            page.goto(name.format_map(addresses))
            require_accessible(page)
            page.set_viewport_size({"width": 360, "height": 800})
            assert page.evaluate("document.documentElement.scrollWidth") <= 360, name
            page.set_viewport_size({"width": 1280, "height": 900})


def test_every_page_is_read_without_scripts_and_is_small(
    browser: Browser, served: Served, addresses: dict[str, Any]
) -> None:
    with browsing(browser, served.url, java_script_enabled=False) as (context, _):
        page = sign_in(context)
        for name in NAMES:
            answer = page.goto(name.format_map(addresses))
            assert answer is not None and answer.status == 200, name
            assert sentence_of(page).endswith("."), name
            assert len(answer.body()) < MAX_BYTES, name
        page.goto("/console/projections/entries")
        for label in ("Pause", "Resume"):
            page.get_by_role("link", name=label, exact=True).click()
            page.get_by_role("button", name=label, exact=True).click()
            assert f"Done: {label}." in page.inner_text("main")
