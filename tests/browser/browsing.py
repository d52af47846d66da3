"""A real browser: Debian's Chromium, driven by Playwright."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx2
import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, sync_playwright

from tests.contract.serving import KEY

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
]
SERIOUS = {"serious", "critical"}


@contextmanager
def chromium() -> Iterator[Browser]:
    """A running browser. Skips the test where there is none, but never in CI."""
    if not CHROMIUM.exists() and "CI" not in os.environ:
        pytest.skip(f"there is no browser at {CHROMIUM}: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


class Watched(NamedTuple):
    """What a browser did on the way: the hosts that it asked, and what its console complained about."""

    hosts: set[str]
    complaints: list[str]


@contextmanager
def browsing(browser: Browser, url: str, **options: Any) -> Iterator[tuple[BrowserContext, Watched]]:
    """A fresh browser without cookies for the service at `url`. In the end it has asked nobody else, and no page of it
    has raised an error or been refused anything by its own policy."""
    watched = Watched(set(), [])
    options = {"viewport": {"width": 1280, "height": 900}, "base_url": url, **options}
    context = browser.new_context(**options)
    context.set_default_timeout(60_000)

    def note_host(request: Request) -> None:
        if (host := urlsplit(request.url).netloc) != "":
            watched.hosts.add(host)

    def note_complaint(message: ConsoleMessage) -> None:
        # A refused request is what some tests ask for; the browser calls each an error.
        if message.type == "error" and "Failed to load resource" not in message.text:
            watched.complaints.append(message.text)

    context.on("request", note_host)
    context.on("console", note_complaint)
    context.on("weberror", lambda error: watched.complaints.append(str(error.error)))
    try:
        yield context, watched
    finally:
        context.close()
    assert watched.hosts <= {urlsplit(url).netloc}, "a page asked another host"
    assert not watched.complaints, watched.complaints


@contextmanager
def session_of(url: str, key: str = KEY) -> Iterator[httpx2.Client]:
    """A client with the session of a browser."""
    with httpx2.Client(base_url=url, trust_env=False, verify=False, timeout=30.0) as client:
        assert client.post("/console/sign-in", data={"key": key}).status_code == 303
        yield client


def begin_session(context: BrowserContext, key: str = KEY) -> None:
    """Sign in with a key. The form is sent without its page: `test_sessions.py` fills it in, as a person does."""
    answer = context.request.post("/console/sign-in", form={"key": key}, max_redirects=0)
    assert answer.status == 303, answer.text()


def sign_in(context: BrowserContext, key: str = KEY, then: str = "/console") -> Page:
    """Sign in with a key, and return the page `then`."""
    begin_session(context, key)
    page = context.new_page()
    page.goto(then)
    page.wait_for_selector("nav")
    return page


def require_accessible(page: Page) -> None:
    """Check that axe finds nothing serious on a page."""
    found = Axe().run(page).response["violations"]
    serious = [
        (violation["id"], [node["html"][:200] for node in violation["nodes"]])
        for violation in found
        if violation["impact"] in SERIOUS
    ]
    assert not serious, serious


def sentence_of(page: Page) -> str:
    """Return the sentence at the top of a page."""
    return page.locator(".sentence").inner_text()
