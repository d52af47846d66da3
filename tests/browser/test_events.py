"""Events: the journal's tail, every filter of the API, and what an event did."""

import re
from collections.abc import Iterator
from uuid import uuid4

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.browsing import browsing, require_accessible, sentence_of, sign_in
from tests.contract.books import Book, transfer_body
from tests.contract.serving import Served

pytestmark = pytest.mark.browser

TAIL = "/console/ledgers/main/events"
HOSTILE = "<img src=x onerror=document.title='hacked'>\"'"


@pytest.fixture(scope="module")
def book(served: Served) -> Iterator[Book]:
    """The ledger `main` with two accounts, and a transaction whose texts look like markup."""
    texts = {"reference": HOSTILE, "description": HOSTILE, "metadata": {"note": HOSTILE}}
    with served.client() as client:
        book = Book(client, "main")
        book.open("world", normal_side="debit")
        book.open("alice")
        assert book.post({**transfer_body("world", "alice", 700), **texts}, "first").status_code == 201
        yield book


def positions(page: Page) -> list[int]:
    """The positions that a page lists."""
    found = page.locator("tbody th[scope=row] data.position")
    return [int(each.get_attribute("value") or "0") for each in found.all()]


def test_the_tail_shows_the_newest_first_and_goes_on_by_itself(page: Page, book: Book) -> None:
    page.goto(TAIL)
    shown = positions(page)
    assert shown == sorted(shown, reverse=True)
    assert sentence_of(page).startswith("Every event of main up to position")
    book.transfer("world", "alice", 5, "second")
    expect(page.locator("tbody tr")).to_have_count(len(shown) + 3)
    assert positions(page)[3:] == shown
    require_accessible(page)


def test_every_filter_of_the_api_is_in_the_address(page: Page, book: Book) -> None:
    page.goto(TAIL)
    route = "/v1/ledgers/{ledger}/events"
    document = book.client.get("/openapi.json").json()["paths"][route]["get"]["parameters"]
    filters = {each["name"] for each in document if each["in"] == "query"}
    inputs = page.locator("form.filters [name]")
    offered = {each.get_attribute("name") for each in inputs.all()}
    assert filters - offered == {"page_size", "cursor", "min_position"}
    page.get_by_label("Type").select_option("account.entries_posted")
    page.get_by_label("Account", exact=True).fill("alice")
    page.get_by_role("button", name="Show").click()
    page.wait_for_url("**type=account.entries_posted**")
    rows = page.locator("tbody tr")
    expect(rows.first).to_contain_text("alice")
    assert "world" not in page.locator("tbody").inner_text()
    asked = {"type": "account.entries_posted", "account": "alice", "order": "desc"}
    listed = book.client.get(f"{book.path}/events", params=asked).json()["data"]
    assert positions(page) == [event["position"] for event in listed]
    page.get_by_label("Recorded from").fill("yesterday")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_role("alert")).to_contain_text("from")
    expect(page.get_by_label("Recorded from")).to_have_value("yesterday")


def test_an_event_is_shown_with_the_account_before_and_after_it(page: Page, book: Book) -> None:
    made = book.transfer("world", "alice", 1234).json()
    position = made["position"] - 1
    assert (
        book.client.get(f"{book.path}/events", params={"after": position - 1, "page_size": 1})
        .json()["data"][0]["stream"]
        .endswith("/alice")
    )
    page.goto(f"{TAIL}/{position}")
    for at, column in ((position - 1, 1), (position, 2)):
        then = book.account("alice", params={"at_position": at}).json()
        row = page.locator("table.effect tr", has_text="Balance").first
        value = row.locator("td").nth(column - 1).locator("data").get_attribute("value")
        assert value == str(then["balance"])
    assert page.locator("tr.changed th").all_inner_texts() == ["Posted credits", "Balance", "Available"]
    require_accessible(page)
    page.goto(f"{TAIL}/{made['position']}")
    assert page.locator("table.effect").count() == 2
    assert positions(page) == [position - 1, position, made["position"]]
    assert "/trace?correlation_id=" in (page.locator("dl a").nth(1).get_attribute("href") or "")


def test_texts_that_look_like_markup_stay_texts(page: Page, book: Book) -> None:
    made = book.transaction(book.id_of("first")).json()
    page.goto(f"{TAIL}/{made['position']}")
    expect(page.locator("main pre").first).to_contain_text("<img src=x onerror=")
    assert page.locator("main img").count() == 0
    assert page.title() == f"Event {made['position']} · Tallystick"


def test_a_position_of_no_event_of_the_ledger_is_not_found(page: Page, book: Book) -> None:
    for position in ("1", "999999", "x", "9" * 30):  # position 1 is a key's
        answer = page.goto(f"{TAIL}/{position}")
        assert answer is not None and answer.status == 404, position
    book.client.post("/v1/ledgers", json={"name": "other"})
    page.goto("/console/ledgers/other/events")
    expect(page.locator("tbody tr")).to_have_count(1)


def test_who_may_not_read_proofs_sees_why(browser: Browser, served: Served, book: Book) -> None:
    wanted = {"name": uuid4().hex, "roles": ["client"], "ledgers": ["main"]}
    made = book.client.post("/v1/keys", json=wanted).json()
    position = book.transaction(book.id_of("first")).json()["position"]
    narrow = {"viewport": {"width": 360, "height": 780}, "color_scheme": "dark"}
    with browsing(browser, served.url, **narrow) as (context, _):
        page = sign_in(context, made["key"], f"{TAIL}/{position}")
        expect(page.locator("#proof + .notice")).to_contain_text(
            re.compile("needs the role auditor or operator")
        )
        require_accessible(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        page.goto(TAIL)
        require_accessible(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
