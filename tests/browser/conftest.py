"""Fixtures of the tests in a browser."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser.browsing import begin_session, browsing, chromium
from tests.contract.books import Book
from tests.contract.serving import Served, serving
from tests.databases import Databases

# Only ends a failing test; the machine may be busy.
expect.set_options(timeout=60_000)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser for all tests of a module.

    It must not outlive the module: Playwright keeps an event loop running in this thread, and tests of other modules
    run loops of their own.
    """
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def served(databases: Databases) -> Iterator[Served]:
    """A service for the tests of one module, with the ledger `main`."""
    with serving(databases) as served:
        with served.client() as client:
            assert client.post("/v1/ledgers", json={"name": "main"}).status_code == 201
        yield served


@pytest.fixture
def context(browser: Browser, served: Served) -> Iterator[BrowserContext]:
    """A fresh browser, not signed in."""
    with browsing(browser, served.url) as (context, _):
        yield context


@pytest.fixture
def page(context: BrowserContext) -> Page:
    """An empty page, signed in with a key that has every role on every ledger."""
    begin_session(context)
    return context.new_page()


@pytest.fixture
def book(served: Served) -> Iterator[Book]:
    """The ledger `main`, as a program uses it."""
    with served.client() as client:
        yield Book(client, "main")
