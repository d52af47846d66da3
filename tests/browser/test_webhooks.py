"""Webhooks in the console: made, told of events, given up, retried, disabled, deleted."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.browsing import require_accessible
from tests.contract.books import Book
from tests.contract.serving import Served
from tests.projecting import eventually

pytestmark = pytest.mark.browser

HOSTILE = "<img src=x onerror=alert(1)>"


def test_a_webhook_from_its_secret_to_its_end(page: Page, book: Book, served: Served) -> None:
    page.goto("/console/webhooks")
    page.get_by_role("link", name="Register a webhook").click()
    page.get_by_label("URL").fill("https://93.184.216.34/hook")
    page.get_by_label("Ledgers").fill("main, other")
    page.get_by_label("Description").fill(HOSTILE)
    page.get_by_role("button", name="Register a webhook").click()
    expect(page.locator("main")).to_contain_text("whsec_")
    secret = page.locator("code").filter(has_text="whsec_").inner_text()
    page.get_by_role("link", name="Go on").click()
    expect(page.locator("main")).to_contain_text(HOSTILE)
    expect(page.locator("main")).to_contain_text("main, other")
    assert secret not in page.content()
    page.get_by_role("link", name="https://93.184.216.34/hook").click()
    expect(page).to_have_url(re.compile(r"/console/webhooks/[0-9a-f-]{36}$"))
    path = page.url.partition("/console")[2]

    book.open("a")
    found = f"/v1{path}/deliveries"
    eventually(lambda: bool(book.client.get(found).json()["data"]))
    with served.database.connect_as_owner("test owner") as owner:
        owner.execute("UPDATE deliveries SET state = 'failed', due_at = NULL, reason = 'answered 500'")
    page.get_by_role("link", name="Deliveries", exact=True).click()
    expect(page.locator(".sentence")).to_contain_text("given up")
    page.get_by_role("link", name="account.opened at").click()
    expect(page.locator("main")).to_contain_text("answered 500")
    require_accessible(page)
    page.get_by_role("link", name="Send again").click()
    page.get_by_role("button", name="Send again").click()
    expect(page.locator(".sentence")).to_have_text("It is sent when its turn comes.")
    page.get_by_role("link", name="Discard").click()
    page.get_by_label("Reason").fill("never mind")
    page.get_by_role("button", name="Discard").click()
    expect(page.locator("main")).to_contain_text("never mind (bootstrap)")

    page.goto(f"/console{path}")
    for label, words in (("Disable", "Nothing is sent."), ("Enable", "Its events are sent.")):
        page.get_by_role("link", name=label, exact=True).click()
        page.get_by_label("Reason").fill("it is moved")
        page.get_by_role("button", name=label).click()
        expect(page.locator(".sentence")).to_contain_text(words)
    page.get_by_role("link", name="Delete").click()
    page.get_by_role("button", name="Delete").click()
    expect(page.locator(".sentence")).to_have_text("Nobody is told of events.")
