"""The pages of accounts: as they are and as they stood, their statement, their limits, and what can be done."""

import re

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.browsing import browsing, require_accessible, sentence_of, sign_in
from tests.contract.books import Book
from tests.contract.serving import Served

pytestmark = pytest.mark.browser

HOSTILE = "<img src=x onerror=alert(1)>'\"&"
WALLET = "/console/ledgers/main/accounts/users:alice:wallet"


@pytest.fixture(scope="module", autouse=True)
def account(served: Served) -> None:
    """An account that took amounts in January, one amount later, and has something pending."""
    with served.client() as client:
        book = Book(client, "main")
        book.open("bank", normal_side="debit")
        book.open("users:alice:wallet", metadata={"note": HOSTILE})
        for day, amount in ((10, 5000), (20, 700)):
            answer = book.transfer(
                "bank",
                "users:alice:wallet",
                amount,
                effective_at=f"2026-01-{day}T12:00:00Z",
                reference=HOSTILE,
            )
            assert answer.status_code == 201
        assert book.transfer("users:alice:wallet", "bank", 1234).status_code == 201
        assert book.hold("users:alice:wallet", "bank", 66).status_code == 201
        head = book.account("bank").headers["ledger-position"]
        path = f"{book.path}/accounts/users:alice:wallet/entries"
        assert client.get(path, params={"min_position": head}).status_code == 200


def plain(text: str) -> str:
    """Return text with every kind of space as a plain one."""
    return re.sub(r"\s+", " ", text)


def open_wallet(page: Page) -> None:
    """Go from Now to the account, as somebody does who has never been there."""
    page.goto("/console")
    page.get_by_role("navigation", name="Pages").get_by_role("link", name="Ledgers").click()
    page.get_by_role("main").get_by_role("link", name="main").click()
    page.get_by_role("navigation", name="Pages").get_by_role("link", name="Accounts").click()
    page.get_by_role("link", name="users:alice:wallet").click()
    expect(page.get_by_role("heading", name="users:alice:wallet")).to_be_visible()


def test_what_was_the_balance_on_that_day(page: Page) -> None:
    open_wallet(page)
    page.get_by_label("Day (UTC)", exact=True).fill("2026-01-15")
    page.get_by_role("button", name="Show it at this time").click()
    expect(page.locator(".sentence")).to_contain_text("2026-01-15")
    assert plain(sentence_of(page)) == (
        "The account was not open yet at the end of 2026-01-15 UTC. "
        "By the time entries take effect, its balance then was 50.00 USD."
    )


def test_who_changed_this_limit(page: Page, served: Served) -> None:
    with served.client() as client:
        clerk = client.post(
            "/v1/keys", json={"name": "clerk", "roles": ["client"], "ledgers": ["main"]}
        ).json()
    with served.client(clerk["key"]) as client:
        limits = {"min_balance": -5000}
        answer = client.patch("/v1/ledgers/main/accounts/users:alice:wallet", json=limits)
        assert answer.status_code == 200
    open_wallet(page)
    row = page.get_by_role("row").filter(has_text="min_balance changed")
    expect(row).to_contain_text("from no limit to −50.00")
    expect(row).to_contain_text("clerk")
    expect(row.locator("time")).to_have_attribute("datetime", re.compile("^20"))
    row.get_by_role("link").click()
    expect(page.get_by_role("main")).to_contain_text("account.limits_changed")


def test_an_account_shows_both_sides_and_what_is_pending_below_the_line(page: Page) -> None:
    page.goto(WALLET)
    assert plain(sentence_of(page)).endswith("with a balance of 44.66 USD, 44.00 USD of it available.")
    sides = page.locator("table.t")
    expect(sides.get_by_role("row", name="Posted")).to_have_text(re.compile(r"Posted\s*12.34\s*57.00"))
    expect(sides.locator(".below")).to_have_text(re.compile(r"Pending\s*0.66\s*0.00"))
    require_accessible(page)
    page.emulate_media(color_scheme="dark")
    require_accessible(page)


def test_a_statement_runs_by_either_clock(page: Page) -> None:
    page.goto(WALLET)
    page.get_by_label("By the time").select_option("it takes effect")
    page.get_by_label("First day (UTC)").fill("2026-01-10")
    page.get_by_label("Last day (UTC)").fill("2026-01-20")
    page.get_by_role("button", name="Show these entries").click()
    page.wait_for_url("**clock=effective**")
    balances = page.locator("#statement ~ .table tbody td:nth-child(6)")
    expect(balances).to_have_text(["57.00", "50.00"])
    page.reload()
    expect(balances).to_have_text(["57.00", "50.00"])


def test_the_slider_shows_the_account_as_it_stood(page: Page) -> None:
    page.goto(WALLET)
    slider = page.get_by_label("Slide through its changes")
    slider.focus()
    page.keyboard.press("Home")
    expect(page.locator("#stood")).to_contain_text("as it stood at position")
    assert plain(sentence_of(page)).endswith("with a balance of 50.00 USD, all of it available.")
    assert "at_position=" in page.url
    stood = page.url
    page.keyboard.press("End")
    expect(page.locator("#stood")).not_to_contain_text("as it stood")
    page.goto(stood)
    assert "50.00" in sentence_of(page)


def test_everything_can_be_read_without_scripts(browser: Browser, served: Served) -> None:
    with browsing(browser, served.url, java_script_enabled=False) as (context, _):
        page = sign_in(context, then=WALLET)
        position = page.locator("#statement ~ .table tbody tr").last.locator("td").last.inner_text()
        expect(page.get_by_label("Slide through its changes")).to_be_hidden()
        page.get_by_label("Position", exact=True).fill(position)
        page.get_by_role("button", name="Show it at this position").click()
        expect(page).to_have_url(re.compile(f"at_position={position}"))
        assert plain(sentence_of(page)).endswith("with a balance of 50.00 USD, all of it available.")


def test_hostile_metadata_and_references_are_only_text(page: Page) -> None:
    page.goto(WALLET)
    expect(page.get_by_text(HOSTILE).first).to_be_visible()
    assert page.locator("main img").count() == 0
    page.goto("/console/ledgers/main/transactions")
    expect(page.get_by_text(HOSTILE).first).to_be_visible()
    assert page.locator("main img").count() == 0


@pytest.mark.parametrize("path", [WALLET, f"{WALLET}/truth", "/console/ledgers/main/accounts"])
def test_pages_fit_a_small_screen(browser: Browser, served: Served, path: str) -> None:
    with browsing(browser, served.url, viewport={"width": 360, "height": 740}) as (context, _):
        page = sign_in(context, then=path)
        assert page.evaluate("document.documentElement.scrollWidth") == 360
        require_accessible(page)


def test_an_account_is_frozen_changed_and_unfrozen(page: Page, book: Book) -> None:
    book.open("till", metadata={"place": "hall"})
    page.goto("/console/ledgers/main/accounts/till")
    page.get_by_role("link", name="Freeze").click()
    page.get_by_label("Reason").fill("audit")
    page.get_by_role("button", name="Freeze").click()
    expect(page.get_by_role("status").filter(has_text="Done")).to_contain_text("Freeze")
    expect(page.get_by_role("row").filter(has_text="audit")).to_contain_text("frozen")
    page.get_by_role("link", name="Change limits or metadata").click()
    expect(page.get_by_label("Metadata")).to_have_value('{"place": "hall"}')
    page.get_by_label("Minimum balance").fill("-2500")
    page.get_by_role("button", name="Change limits or metadata").click()
    expect(page.get_by_text("min_balance changed from no limit to −25.00")).to_be_visible()
    page.get_by_role("link", name="Unfreeze").click()
    page.get_by_role("button", name="Unfreeze").click()
    expect(page.locator(".sentence")).to_contain_text("The account is open")
    shown = book.account("till").json()
    assert (shown["status"], shown["min_balance"], shown["metadata"]) == ("open", -2500, {"place": "hall"})


def test_a_closed_account_offers_nothing(page: Page, book: Book) -> None:
    book.open("gone")
    page.goto("/console/ledgers/main/accounts/gone")
    page.get_by_role("link", name="Close for ever").click()
    page.get_by_role("button", name="Close for ever").click()
    expect(page.locator(".sentence")).to_contain_text("The account is closed")
    expect(page.get_by_role("link", name="Freeze")).to_have_count(0)


def test_an_auditor_sees_why_nothing_can_be_changed(browser: Browser, served: Served) -> None:
    with served.client() as client, browsing(browser, served.url) as (context, _):
        made = client.post(
            "/v1/keys", json={"name": "auditor", "roles": ["auditor"], "ledgers": ["main"]}
        ).json()
        page = sign_in(context, made["key"], WALLET)
        expect(page.get_by_text("Freeze").locator("small")).to_contain_text("This needs the role client")
        expect(page.get_by_role("link", name="Freeze")).to_have_count(0)


def test_the_list_filters_by_everything_that_the_api_does(page: Page) -> None:
    page.goto("/console/ledgers/main/accounts")
    page.get_by_label("Address begins with").fill("users:")
    page.get_by_label("Asset").fill("USD/2")
    page.get_by_label("Status").select_option("open")
    page.get_by_label("Metadata key").fill("note")
    page.get_by_label("is", exact=True).fill(HOSTILE)
    page.get_by_role("button", name="Show these accounts").click()
    expect(page.locator("tbody th")).to_have_text(["users:alice:wallet"])
    page.get_by_label("is", exact=True).fill("other")
    page.get_by_role("button", name="Show these accounts").click()
    expect(page.get_by_text("No account is like this.")).to_be_visible()
