"""Now: what is known of the books, for each role; a projector that stops, and a service that goes away."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import httpx2
import pytest
from playwright.sync_api import Browser, Page, expect
from pydantic import SecretStr

from api.app import create_app
from api.security.keys import ensure_bootstrap_key
from api.settings import Settings
from domain.journal.database import Database
from tests.browser.browsing import browsing, require_accessible, sentence_of, sign_in
from tests.contract.books import Book
from tests.contract.serving import KEY, Served, listening, running_server
from tests.databases import Databases
from tests.projecting import projecting

pytestmark = pytest.mark.browser


class Staged:
    """A service on one port whose server and projector can be stopped and started."""

    def __init__(self, database: Database) -> None:
        self._database = database
        with listening() as free:
            self._port: int = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"
        ensure_bootstrap_key(database, SecretStr(KEY))

    @contextmanager
    def server(self) -> Iterator[None]:
        """The server, running meanwhile."""
        settings = Settings(
            database_url=self._database.url, schema_=self._database.schema, bootstrap_key=SecretStr(KEY)
        )
        with socket.socket() as bound:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(("127.0.0.1", self._port))
            with running_server(create_app(settings), bound):
                yield

    def projector(self) -> ExitStack:
        """A projector, running until the stack is closed."""
        stack = ExitStack()
        stack.enter_context(projecting(self._database))
        return stack

    def client(self) -> httpx2.Client:
        """A program that uses the service."""
        headers = {"Authorization": f"Bearer {KEY}"}
        return httpx2.Client(base_url=self.url, headers=headers, timeout=30.0, trust_env=False, verify=False)


@pytest.fixture
def staged(databases: Databases) -> Iterator[Staged]:
    """A service whose parts the test runs."""
    with databases.installed() as database:
        yield Staged(database)


def test_a_projector_that_stops_is_noticed_and_its_return_as_well(staged: Staged, browser: Browser) -> None:
    with staged.server(), staged.client() as client, browsing(browser, staged.url) as (context, _):
        projector = staged.projector()
        with projector:
            assert client.post("/v1/ledgers", json={"name": "first"}).status_code == 201
            page = sign_in(context)
            expect(page.get_by_text("Every read model shows position")).to_be_visible()
        lists = context.new_page()
        lists.goto("/console/ledgers")
        expect(lists.get_by_role("link", name="first")).to_be_visible()
        assert client.post("/v1/ledgers", json={"name": "second"}).status_code == 201
        behind = page.get_by_role("row").filter(has=page.get_by_role("link", name="ledgers", exact=True))
        expect(behind.get_by_text("catching up")).to_be_visible()
        expect(lists.get_by_text("This list reflects position")).to_be_visible()
        with staged.projector():
            expect(page.get_by_text("Every read model shows position")).to_be_visible()
            expect(lists.get_by_role("link", name="second")).to_be_visible()
            expect(lists.get_by_text("This list reflects position")).to_have_count(0)


def test_a_service_that_goes_away_is_missed_and_its_return_is_noticed(
    staged: Staged, browser: Browser
) -> None:
    with staged.projector(), browsing(browser, staged.url) as (context, _):
        with staged.server():
            page = sign_in(context)
            page.goto("/console/ledgers")
        expect(page.locator("#away")).to_contain_text("The service does not answer since")
        expect(page.get_by_role("heading", name="Ledgers")).to_be_visible()  # what was known stays
        with staged.server(), staged.client() as client:
            assert client.post("/v1/ledgers", json={"name": "after"}).status_code == 201
            expect(page.get_by_role("link", name="after")).to_be_visible()
            expect(page.locator("#away")).to_be_hidden()


@pytest.fixture(scope="module")
def moved(served: Served) -> Iterator[Book]:
    """The ledger `main`, in which money was moved, and a projection that is halted."""
    with served.client() as client:
        book = Book(client, "main")
        for address in ("a", "b"):
            book.open(address)
        position = book.transfer("a", "b", 5).headers["ledger-position"]
        balance = client.get(f"{book.path}/trial-balance", params={"min_position": position})
        assert balance.status_code == 200
        with served.database.connect_as_owner("test owner") as owner:
            owner.execute("UPDATE projection_versions SET state = 'halted' WHERE name = 'balances'")
        yield book


def page_of(browser: Browser, served: Served, moved: Book, *roles: str) -> Iterator[Page]:
    made = moved.client.post("/v1/keys", json={"name": "-".join(roles), "roles": roles, "ledgers": ["*"]})
    with browsing(browser, served.url) as (context, _):
        yield sign_in(context, made.json()["key"])


@pytest.mark.parametrize(
    ("role", "balance", "needs", "may_resume"),
    [
        ("operator", False, "One thing needs you.", True),
        ("auditor", True, "One thing needs an operator.", False),
        ("client", True, None, None),
    ],
)
def test_each_role_is_told_what_it_may_know(
    browser: Browser,
    served: Served,
    moved: Book,
    role: str,
    balance: bool,
    needs: str | None,
    may_resume: bool | None,
) -> None:
    for page in page_of(browser, served, moved, role):
        said = sentence_of(page)
        assert ("The books balance at position" in said) == balance
        assert (needs or "needs") in said or needs is None
        if needs is None:
            assert "need" not in said
            expect(page.get_by_text("Your key may not see what is stuck")).to_be_visible()
        if not balance:
            expect(page.get_by_text("Your key may not read the books")).to_be_visible()
        row = page.locator("#need-projection_halted")
        if may_resume is False:
            greyed = row.get_by_text("Resume").first
            assert greyed.get_attribute("aria-disabled") == "true"
            expect(greyed).to_contain_text("This needs the role operator.")
        elif may_resume:
            expect(row.get_by_role("link", name="Resume")).to_be_visible()
        require_accessible(page)


def test_the_console_says_only_what_it_checked(served: Served, page: Page, moved: Book) -> None:
    page.goto("/console")
    assert "The books balance at position" in sentence_of(page)
    with served.database.connect_as_owner("test owner") as owner:
        owner.execute("UPDATE projection_versions SET state = 'rebuilding' WHERE name = 'entries' AND live")
    page.reload()
    assert "Whether the books balance cannot be said now." in sentence_of(page)
    with served.database.connect_as_owner("test owner") as owner:
        owner.execute("UPDATE projection_versions SET state = 'running' WHERE name = 'entries' AND live")
