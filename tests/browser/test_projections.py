"""Projections in the console: how far they are and why, paused, rebuilt, compared."""

import re
from collections.abc import Iterator

import psycopg
import pytest
from playwright.sync_api import Page, expect

from tests.browser.browsing import require_accessible, sentence_of
from tests.contract.books import Book
from tests.contract.serving import Served

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def moved(served: Served) -> Iterator[Book]:
    """The ledger `main`, in which money was moved and every list shows it."""
    with served.client() as client:
        book = Book(client, "main")
        for address in ("a", "b"):
            book.open(address)
        transfer(book)
        yield book


def transfer(book: Book) -> None:
    """Move money, and wait until the statement shows it."""
    query = {"min_position": book.transfer("a", "b", 5).headers["ledger-position"]}
    assert book.client.get(f"{book.path}/accounts/a/entries", params=query).status_code == 200


def act(page: Page, label: str, **fields: str) -> None:
    """Go to an action by its button, fill in its form, and send it."""
    page.locator("main").get_by_role("link", name=label, exact=True).click()
    for name, value in fields.items():
        page.locator(f"[name={name}]").fill(value)
    page.get_by_role("button", name=label, exact=True).click()
    expect(page.get_by_text(re.compile(f"(Done|Accepted): {label}"))).to_be_visible()


def test_why_is_this_list_behind(moved: Book, page: Page) -> None:
    moved.client.post("/v1/projections/entries/pause", json={"reason": "the disk is nearly full"})
    moved.transfer("a", "b", 7)
    page.goto("/console")
    row = page.get_by_role("row").filter(has=page.get_by_role("link", name="entries", exact=True))
    expect(row.get_by_text("paused")).to_be_visible()
    row.get_by_role("link", name="entries", exact=True).click()
    expect(page.locator(".sentence")).to_contain_text(
        "bootstrap paused it and said why: the disk is nearly full. Its answers get older. The oldest event that it"
        " lacks was recorded"
    )
    act(page, "Resume", reason="there is room again")
    expect(page.locator(".sentence")).to_contain_text("the newest.")


def test_a_difference_is_shown_side_by_side_and_is_cancelled_or_accepted(
    moved: Book, served: Served, page: Page
) -> None:
    live = moved.client.get("/v1/projections/entries").json()["version"]
    with psycopg.connect(served.database.conninfo("test"), autocommit=True) as connection:
        connection.execute(f"UPDATE entries_v{live:d} SET change = change - 1".encode())
    page.goto("/console/projections/entries")
    act(page, "Rebuild", reason="an audit")
    expect(page.get_by_text("different")).to_be_visible()
    compared = page.get_by_role("table", name=re.compile("Compared at position"))
    expect(compared.get_by_role("row").filter(has_text="turnovers").get_by_text("equal")).to_be_visible()
    versions = page.get_by_role("table", name="Versions").get_by_role("row")
    expect(versions.filter(has_text="read now")).to_contain_text(f"entries_v{live}")
    expect(versions.filter(has_text="being built")).to_contain_text("differing")
    page.get_by_text(f"Rows of entries_v{live} that only one version has").click()
    expect(page.locator("pre")).to_contain_text("only in the live version")
    require_accessible(page)
    act(page, "Cancel the rebuild")
    expect(page.get_by_text("different")).to_have_count(0)
    act(page, "Rebuild", accept_difference="a test damaged it")
    expect(versions.filter(has_text="read now")).not_to_contain_text(f"entries_v{live}")
    expect(versions.filter(has_text=f"entries_v{live}")).to_contain_text("retired")


def test_a_rebuild_is_paused_and_resumed(moved: Book, served: Served, page: Page) -> None:
    # A locked version cannot be caught up, so there is time to pause the rebuild.
    with psycopg.connect(served.database.conninfo("test")) as connection:
        connection.execute("SELECT FROM projection_versions WHERE name = 'entries' AND live FOR UPDATE")
        page.goto("/console/projections/entries")
        act(page, "Rebuild")
        act(page, "Pause the rebuild", reason="too busy")
        expect(page.locator("main")).to_contain_text("by bootstrap: “too busy”")
    act(page, "Resume the rebuild")
    expect(page.get_by_role("heading", name="The rebuild")).to_have_count(0)


def test_the_list_says_which_is_furthest_behind(moved: Book, page: Page) -> None:
    page.goto("/console/projections")
    expect(page.locator(".sentence")).to_have_text("Every projection shows everything that is recorded.")
    page.locator("#projection-balances").get_by_role("link", name="Pause").click()
    page.get_by_role("button", name="Pause").click()
    moved.transfer("a", "b", 1)
    page.goto("/console/projections")
    expect(page.locator(".sentence")).to_contain_text("balances is furthest behind")
    assert "lacks events" in sentence_of(page)
    act(page, "Resume")
    page.goto("/console/projections")
    expect(page.locator(".sentence")).to_have_text("Every projection shows everything that is recorded.")
