"""Payouts in the console: nobody says more than is known, and what may pay twice is set apart."""

import re
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from playwright.sync_api import Page, expect

from scripts.simulator.faults import Script
from tests.browser.browsing import require_accessible
from tests.contract.books import Book
from tests.contract.serving import Served

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def bank(served: Served) -> Iterator[Book]:
    """The ledger `main`, in which Alice has 100.00."""
    with served.client() as client:
        book = Book(client, "main")
        book.open("cash", normal_side="debit")
        book.open("alice", min_balance=0)
        book.transfer("cash", "alice", 10_000)
        yield book


def in_doubt(bank: Book, served: Served) -> str:
    """A payout whose provider answers nothing. Return its id."""
    destination: dict[str, Any] = {"iban": uuid4().hex}
    script = Script(destination=dict(destination), faults=["drop_after"], lose=True, ask_errors=1_000)
    served.simulator.faults.follow(script)
    made = bank.pay_out(1050, destination=destination, reference="<i>wages</i>").json()
    id: str = bank.await_payout(made["id"], "in_doubt")["id"]
    return id


def test_in_doubt_is_said_with_when_we_ask_again(bank: Book, served: Served, page: Page) -> None:
    id = in_doubt(bank, served)
    page.goto("/console/ledgers/main/payouts?state=in_doubt")
    expect(page.locator(".sentence")).to_contain_text("nobody knows yet whether the money left")
    page.get_by_role("link", name="<i>wages</i>").click()
    time = r"\d\d:\d\d UTC"
    asks = rf"(We ask again at {time} at the latest|Asking again has been due since {time})"
    expect(page.locator(".sentence")).to_have_text(
        re.compile(rf"^Nobody knows yet whether the money left\. {asks}\.$")
    )
    expect(page.locator("main")).to_contain_text("10.50\u202fUSD")
    expect(page.get_by_text("Not safe: The money may have left.")).to_be_visible()
    assert "failed" not in page.locator("main").inner_text()
    require_accessible(page)
    page.get_by_role("link", name="Ask the provider").click()
    page.get_by_role("button", name="Ask the provider").click()
    expect(page.locator("main")).to_contain_text("reconciliation requested")

    page.get_by_role("link", name="It was not paid").click()
    page.get_by_label("Reason").fill("the statement shows nothing")
    page.get_by_role("button", name="It was not paid").click()
    assert page.url.endswith("/fail")  # the browser asks for the confirmation
    page.get_by_role("checkbox").check()
    page.get_by_role("button", name="It was not paid").click()
    expect(page.locator(".sentence")).to_contain_text("The amount is released")
    assert bank.payout(id)["state"] == "failed"


def test_an_operator_says_that_it_was_paid(bank: Book, served: Served, page: Page) -> None:
    id = in_doubt(bank, served)
    page.goto(f"/console/ledgers/main/payouts/{id}/complete")
    page.get_by_label("Reason").fill("the statement shows it")
    page.get_by_role("button", name="It was paid").click()
    expect(page.locator(".sentence")).to_have_text("The money left, and the hold is settled.")


def test_a_payout_is_asked_for_and_what_it_lacks_is_said(bank: Book, page: Page) -> None:
    page.goto("/console/ledgers/main/payouts")
    page.get_by_role("link", name="Request a payout").click()
    page.get_by_label("Account that pays").fill("alice")
    page.get_by_label("Amount").fill("100000")
    page.get_by_label("Provider").fill("simulator")
    page.get_by_label("Destination").fill("no object")
    page.get_by_role("button", name="Request a payout").click()
    expect(page.get_by_role("alert")).to_contain_text("/destination")
    page.get_by_label("Destination").fill('{"iban": "1"}')
    page.get_by_role("button", name="Request a payout").click()
    expect(page.get_by_role("alert")).to_contain_text("Insufficient funds")
    page.get_by_label("Amount").fill("250")
    page.get_by_role("button", name="Request a payout").click()
    expect(page.locator(".sentence")).to_have_text("The money left, and the hold is settled.")
    expect(page.locator("main")).to_contain_text("2.50\u202fUSD")
