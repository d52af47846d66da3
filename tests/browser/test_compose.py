"""Try: a posting is composed, tried, sent and copied."""

import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.browsing import browsing, require_accessible, sentence_of, sign_in
from tests.contract.books import Book
from tests.contract.serving import KEY, Served

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module", autouse=True)
def opened(served: Served) -> None:
    """Two accounts, one of which may not fall below zero."""
    with served.client() as client:
        book = Book(client, "main")
        book.open("bank:cash", normal_side="debit")
        book.open("users:alice:wallet", min_balance=0)


def balance(book: Book) -> int:
    found: int = book.account("users:alice:wallet").json()["balance"]
    return found


def fill(page: Page, debit: str, credit: str, amount: str) -> None:
    page.goto("/console/ledgers/main/try")
    page.get_by_label("Account of entry 1").fill(debit)
    page.get_by_label("Debit of entry 1").fill(amount)
    page.get_by_label("Account of entry 2").fill(credit)
    page.get_by_label("Credit of entry 2").fill(amount)
    page.get_by_role("button", name="See what it would do").click()


@pytest.mark.parametrize("scripts", [True, False])
def test_a_posting_is_tried_and_then_sent_once(
    browser: Browser, served: Served, book: Book, scripts: bool
) -> None:
    with browsing(browser, served.url, java_script_enabled=scripts) as (context, _):
        page = sign_in(context)
        before = balance(book)
        fill(page, "bank:cash", "users:alice:wallet", "1 234.50")
        assert sentence_of(page) == "It would move 1\u202f234.50 USD. Nothing was recorded yet."
        assert balance(book) == before
        page.get_by_role("button", name="Send").click()
        page.wait_for_url("**/operations/console-**")
        assert balance(book) == before + 123_450
        page.go_back()
        assert sentence_of(page).startswith("This posting was sent already.")
        expect(page.get_by_role("button", name="Send")).to_have_count(0)
        page.get_by_label("Debit of entry 1").fill("5")
        page.get_by_label("Credit of entry 2").fill("5")
        page.get_by_role("button", name="See what it would do").click()
        expect(page.get_by_role("alert")).to_contain_text("key")
        assert balance(book) == before + 123_450


def test_what_the_ledger_would_refuse_is_told_and_cannot_be_sent(page: Page) -> None:
    fill(page, "users:alice:wallet", "bank:cash", "99999999")
    expect(page.get_by_role("alert")).to_contain_text("min_balance")
    assert sentence_of(page).startswith("The ledger would refuse it now:")
    expect(page.get_by_role("button", name="Send")).to_have_count(0)
    require_accessible(page)


@pytest.mark.parametrize(
    ("account", "amount", "error"),
    [
        ("nobody", "1", "no such account"),
        ("bank:cash", "1.005", "at most 2 decimals"),
        ("bank:cash", "1,5", "at most 2 decimals"),
        ("bank:cash", "-1", "above zero"),
        ("", "1", "Name the account"),
    ],
)
def test_what_is_wrong_with_an_entry_stands_beside_it(
    page: Page, account: str, amount: str, error: str
) -> None:
    fill(page, account, "users:alice:wallet", amount)
    expect(page.locator("#error-1")).to_contain_text(error)
    expect(page.get_by_role("button", name="Send")).to_have_count(0)


@pytest.mark.parametrize("heading", ["curl", "Python"])
def test_the_posting_can_be_copied_as_a_program(
    page: Page, served: Served, book: Book, tmp_path: Path, heading: str
) -> None:
    fill(page, "bank:cash", "users:alice:wallet", "0.01")
    program = page.locator(f"h3:text-is('{heading}') + pre").inner_text()
    before = balance(book)
    command = ["sh", "-c", program] if heading == "curl" else [sys.executable, "-c", program]
    environment = {
        "TALLYSTICK_URL": served.url,
        "TALLYSTICK_KEY": KEY,
        "PATH": "/usr/bin:/bin",
        "no_proxy": "*",
    }
    for _ in range(2):  # the key is in the program, so running it twice acts once
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=True, cwd=tmp_path
        )
        assert '"status":"posted"' in done.stdout
    assert balance(book) == before + 1


def test_who_may_not_post_is_told_why(browser: Browser, served: Served) -> None:
    with served.client() as client, browsing(browser, served.url) as (context, _):
        made = client.post(
            "/v1/keys", json={"name": "reader", "roles": ["auditor"], "ledgers": ["main"]}
        ).json()
        page = sign_in(context, made["key"])
        fill(page, "bank:cash", "users:alice:wallet", "1")
        expect(page.get_by_role("alert")).to_be_visible()
        expect(page.get_by_role("button", name="Send")).to_have_count(0)
