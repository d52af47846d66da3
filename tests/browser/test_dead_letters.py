"""Dead letters in the console: what was set aside, what a retry would do, and the decision."""

from collections.abc import Iterator
from uuid import uuid4

import pytest
from playwright.sync_api import Page, expect

from tests.browser.browsing import require_accessible
from tests.contract.books import Book
from tests.contract.serving import Served, serving
from tests.databases import Databases
from tests.poisoning import Poisoned, poisoned
from tests.projecting import eventually

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def balances() -> Iterator[Poisoned]:
    """The read model of balances, which fails where it is told to."""
    with poisoned("balances") as balances:
        yield balances


@pytest.fixture(scope="module")
def served(databases: Databases, balances: Poisoned) -> Iterator[Served]:
    """A service whose balances fail."""
    with serving(databases) as served, served.client() as client:
        client.post("/v1/ledgers", json={"name": "main"})
        yield served


@pytest.fixture
def held(book: Book, balances: Poisoned) -> str:
    """The id of a dead letter, behind which two events wait."""
    address = uuid4().hex
    stream = f"main/accounts/{address}"
    balances.streams.add(stream)
    book.open(address)
    for number in range(2):
        book.client.patch(f"{book.path}/accounts/{address}", json={"metadata": {"n": str(number)}})

    def letters() -> list[str]:
        data = book.client.get("/v1/dead-letters?state=open&projection=balances").json()["data"]
        return [each["id"] for each in data if each["stream"] == stream and each["held_events"] == 2]

    eventually(lambda: bool(letters()))
    return letters()[0]


def test_a_retry_is_tried_without_recording_and_then_made(
    held: str, page: Page, balances: Poisoned, book: Book
) -> None:
    page.goto("/console/dead-letters")
    expect(page.locator(".sentence")).to_contain_text("open dead letter")
    page.locator(f"a[href$='{held}']").click()
    expect(page.locator(".sentence")).to_contain_text("Two events wait behind it.")
    expect(page.locator("pre")).to_contain_text('"asset": "USD/2"')
    require_accessible(page)
    page.get_by_role("link", name="See what a retry would do").click()
    expect(page.locator("main")).to_contain_text(
        "it would fail again, with this reason: ValueError: poison at"
    )
    balances.streams.clear()
    page.reload()
    expect(page.locator("main")).to_contain_text("its event would be applied, and everything held behind it.")
    assert book.client.get(f"/v1/dead-letters/{held}").json()["state"] == "open"
    page.get_by_role("button", name="Retry").click()
    expect(page.locator(".sentence")).to_contain_text("applied after all")
    assert book.client.get(f"/v1/dead-letters/{held}").json()["state"] == "resolved"


def test_a_discard_needs_a_reason_which_is_kept(
    held: str, page: Page, balances: Poisoned, book: Book
) -> None:
    balances.streams.clear()
    page.goto(f"/console/dead-letters/{held}/discard")
    page.get_by_role("button", name="Discard").click()
    assert page.url.endswith("/discard")  # the browser asks for what is required
    page.get_by_label("Reason").fill("<b>written by a test</b>")
    page.get_by_role("button", name="Discard").click()
    expect(page.locator("main")).to_contain_text("by bootstrap: “<b>written by a test</b>”")
    assert book.client.get(f"/v1/dead-letters/{held}").json()["state"] == "discarded"
    page.goto("/console/dead-letters?state=discarded")
    expect(page.locator(f"a[href$='{held}']")).to_be_visible()
