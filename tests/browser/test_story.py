"""The story of a request, followed live while nobody knows how it ends, and opening anything by one field."""

from typing import Any
from uuid import uuid4

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from scripts.simulator.faults import Script
from scripts.simulator.server import Simulator
from tests.browser.browsing import browsing, require_accessible, sign_in
from tests.contract.books import Book
from tests.contract.serving import Served

pytestmark = pytest.mark.browser

SILENT: dict[str, Any] = {"faults": ["drop_after"], "ask_errors": 10**6, "lose": True}
"""The provider pays, and tells nobody: no answer, no report, and every question fails."""


@pytest.fixture
def bank(book: Book) -> Book:
    """The ledger `main`, in which Alice has money."""
    for address in ("mint", "alice"):
        if book.account(address).status_code == 404:
            book.open(address)
    book.transfer("mint", "alice", 1_000)
    return book


def pay_out(bank: Book, simulator: Simulator, key: str, **script: Any) -> dict[str, Any]:
    """A payout whose provider follows a script."""
    destination = {"iban": uuid4().hex}
    simulator.faults.follow(Script(destination=destination, **script))
    made: dict[str, Any] = bank.pay_out(40, key, destination=destination).json()
    return made


def open_anything(page: Page, text: str) -> None:
    """Type into the field that opens anything, by the keyboard alone."""
    page.keyboard.press("/")
    page.keyboard.type(text)
    page.keyboard.press("Enter")


def story_of(key: str) -> str:
    """The address of a request's story."""
    return f"/console/ledgers/main/operations/{key}"


def sentence(page: Page) -> Locator:
    return page.locator(".sentence")


def test_did_the_payment_with_this_key_happen(page: Page, bank: Book, served: Served) -> None:
    key = f"payment-{uuid4()}"
    page.goto("/console")
    open_anything(page, key)
    expect(page.locator("main")).to_contain_text("Nothing is recorded under this key in the ledger main")
    expect(page.locator("main")).to_contain_text("Sending the request there under this key is safe")

    made = pay_out(bank, served.simulator, key, **SILENT)
    bank.await_payout(made["id"], "in_doubt")
    page.goto("/console")
    open_anything(page, key)
    expect(page.get_by_role("heading", level=1)).to_have_text(f"Request {key}")
    expect(sentence(page)).to_contain_text("Nobody knows yet whether the money left.")
    expect(page.locator(".verdict")).to_contain_text("Ask the provider, as often as you like")
    unsafe = page.locator(".unsafe li").filter(has_text="Pay out again under a new key")
    expect(unsafe).to_contain_text("Not safe: The money may have left.")
    expect(unsafe.get_by_role("link")).to_have_count(0)

    page.locator(".verdict").get_by_role("link", name="Ask the provider").click()
    page.get_by_role("button", name="Ask the provider").click()
    expect(page.get_by_text("Done: Ask the provider.")).to_be_visible()


def test_a_payout_is_followed_live_from_its_request_to_its_end(
    page: Page, bank: Book, served: Served
) -> None:
    key = f"payment-{uuid4()}"
    page.goto(story_of(key))
    expect(sentence(page)).to_have_text("Nothing is recorded under this key in the ledger main.")

    made = pay_out(bank, served.simulator, key, **SILENT)
    state = page.locator("main .row .state")
    expect(state.nth(1)).to_have_text("in doubt")
    expect(state.nth(0)).to_have_text("reconciling")
    lanes = page.get_by_role("img", name="The story in")
    expect(lanes.get_by_text("provider", exact=True)).to_be_visible()
    moments = page.get_by_role("table").filter(has_text="In the order of time")
    expect(moments).to_contain_text("provider silent")

    asked = moments.get_by_text("no answer to the inquiry")
    expect(asked.first).to_be_visible()
    assert bank.resolve("complete", made["id"], "the statement shows it").status_code == 200
    expect(sentence(page)).to_have_text("The money left, and the hold is settled.")
    expect(state.nth(0)).to_have_text("completed")
    expect(moments).to_contain_text("an operator says: completed: the statement shows it")
    expect(page.locator(".unsafe")).to_contain_text("Under a new key it would be done a second time.")


def test_a_story_says_who_repeated_the_request(page: Page, bank: Book) -> None:
    key = f"order-{uuid4()}"
    for amount in (5, 5, 6):
        bank.transfer("mint", "alice", amount, key)
    page.goto(story_of(key))
    sent = page.locator("section", has=page.locator("#sent"))
    expect(sent).to_contain_text("the same request came again, once, and was answered as before")
    expect(sent).to_contain_text("a different request came under this key, once, and was refused")
    expect(page.locator("main")).to_contain_text(
        "Different requests came under the key, and were refused: 1."
    )
    expect(page.locator("main .row").first).to_contain_text("0.05")


def test_what_keeps_others_from_seeing_it_leads_to_its_remedy(page: Page, bank: Book) -> None:
    key, entries = f"order-{uuid4()}", "/v1/projections/entries"
    assert bank.client.post(f"{entries}/pause", json={"reason": "a test"}).status_code == 200
    try:
        bank.transfer("mint", "alice", 5, key)
        page.goto(story_of(key))
        concerns = page.locator("section", has=page.locator("#concerns"))
        expect(concerns).to_contain_text("entries does not show it yet")
        expect(concerns.get_by_role("link", name="Resume")).to_have_attribute(
            "href", "/console/projections/entries/resume"
        )
        expect(page.get_by_role("table").filter(has_text="In the order of time")).to_contain_text("not yet")
    finally:
        assert bank.client.post(f"{entries}/resume", json={"reason": "a test"}).status_code == 200


def test_a_correlation_id_tells_of_all_its_requests(page: Page, bank: Book) -> None:
    conversation, keys = f"checkout-{uuid4()}", [f"order-{uuid4()}" for _ in range(2)]
    for key in keys:
        bank.post(
            {
                "entries": [
                    {"account": "mint", "direction": "debit", "amount": 5},
                    {"account": "alice", "direction": "credit", "amount": 5},
                ]
            },
            key,
            **{"Correlation-Id": conversation},
        )
    page.goto("/console")
    open_anything(page, conversation)
    expect(page.get_by_role("heading", level=1)).to_have_text(f"Correlation id {conversation}")
    for key in keys:
        expect(page.get_by_role("rowheader").get_by_role("link", name=key)).to_be_visible()


def test_one_field_opens_whatever_there_is(page: Page, bank: Book) -> None:
    made = bank.transfer("mint", "alice", 5, f"order-{uuid4()}").json()
    events = bank.client.get(f"{bank.path}/events", params={"order": "desc", "page_size": 1}).json()["data"]
    for text, address in {
        made["id"]: f"/transactions/{made['id']}",
        "alice": "/accounts/alice",
        str(made["position"]): f"/events/{made['position']}",
        events[0]["leaf_hash"]: f"/events/{events[0]['position']}",
    }.items():
        page.goto("/console")
        open_anything(page, text)
        page.wait_for_url(f"**/console/ledgers/main{address}")


def test_what_names_several_things_is_listed_and_what_may_not_be_asked_is_said(
    browser: Browser, bank: Book, served: Served
) -> None:
    made = pay_out(bank, served.simulator, f"payment-{uuid4()}", lose=True)
    granted = {"name": f"reader-{uuid4()}", "roles": ["client"], "ledgers": ["main"]}
    key = bank.client.post("/v1/keys", json=granted).json()["key"]
    with browsing(browser, served.url, java_script_enabled=False) as (context, _):
        page = sign_in(context, key, f"/console/open?q={made['id']}")
        found = page.locator("main").get_by_role("link")
        expect(found.filter(has_text="The payout in main")).to_be_visible()
        expect(found.filter(has_text="The transaction in main")).to_be_visible()
        expect(page.locator("main")).to_contain_text("The dead letter:")


def test_what_somebody_types_never_becomes_markup(page: Page) -> None:
    hostile = "<img/src=x onerror=alert(1)>'\"&"
    page.goto("/console")
    open_anything(page, hostile)
    expect(page.get_by_role("heading", level=1)).to_have_text(f"Open {hostile}")
    expect(page.locator("main img")).to_have_count(0)


def test_a_key_that_looks_like_an_address_is_opened_as_it_is(page: Page, bank: Book) -> None:
    key = f"<b>?a=1&b#c%2E{uuid4()}"
    bank.transfer("mint", "alice", 5, key)
    page.goto("/console")
    open_anything(page, key)
    expect(page.get_by_role("heading", level=1)).to_have_text(f"Request {key}")
    expect(sentence(page)).to_have_text("The transaction was posted: money moved.")
    expect(page.locator("main b")).to_have_count(0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_stories_are_accessible_and_fit_a_small_screen(
    browser: Browser, bank: Book, served: Served, scheme: Any
) -> None:
    key = f"payment-{uuid4()}"
    bank.await_payout(pay_out(bank, served.simulator, key, **SILENT)["id"], "in_doubt")
    small = {"width": 360, "height": 740}
    with browsing(browser, served.url, color_scheme=scheme, viewport=small, java_script_enabled=True) as (
        context,
        _,
    ):
        page = sign_in(context)
        for address in (story_of(key), story_of("unknown"), "/console/open?q=unknown"):
            page.goto(address)
            require_accessible(page)
            assert page.evaluate("document.documentElement.scrollWidth") == small["width"]


def test_a_story_reads_without_javascript(browser: Browser, bank: Book, served: Served) -> None:
    key = f"order-{uuid4()}"
    bank.transfer("mint", "alice", 5, key)
    with browsing(browser, served.url, java_script_enabled=False) as (context, _):
        page = sign_in(context)
        page.goto(story_of(key))
        expect(sentence(page)).to_have_text("The transaction was posted: money moved.")
        expect(page.get_by_role("img", name="The story in")).to_be_visible()
        assert page.get_by_role("table").filter(has_text="In the order of time").is_visible()
