"""What holds for every page and every action of the console, whatever is added."""

from collections.abc import Iterator, Mapping

import httpx2
import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from api.console.actions.action import ACTIONS
from api.console.pages import all as kinds
from api.console.view import PAGES
from tests.browser.browsing import browsing, require_accessible, sign_in
from tests.contract.books import Book
from tests.contract.everything import prepare
from tests.contract.serving import KEY, Served, serving
from tests.databases import Databases

pytestmark = [pytest.mark.browser, pytest.mark.long]

FIRST_LOAD_BYTES = 100_000
NARROW = {"viewport": {"width": 360, "height": 740}}

Names = Mapping[str, str]


@pytest.fixture(scope="module")
def served(databases: Databases) -> Iterator[Served]:
    """A service for these tests alone, with something of everything."""
    with serving(databases) as served:
        yield served


@pytest.fixture(scope="module")
def names(served: Served) -> Names:
    """The names in the paths of pages and actions. An id is of what stands before it in the path."""
    with served.client() as client:
        made = prepare(served, client)
        book = Book(client, "main")
        return {
            "ledger": "main",
            "address": "users:alice:wallet",
            "key": "payout-1",
            "name": "payouts",
            "size": made["checkpoint_size"],
            "position": "9",
            "delivery": made["delivery_id"],
            "transactions": book.id_of("hold-1"),
            "payouts": book.id_of("payout-2"),
            "webhooks": made["webhook_id"],
            "dead-letters": made["retried_id"],
            "keys": made["spare_key_id"],
        }


def address_of(path: str, names: Names) -> str:
    """Return the address of a page of something that exists."""
    parts = path.split("/")
    for place, part in enumerate(parts):
        if part == "{id}":
            parts[place] = names[parts[place - 1]]
        elif part.startswith("{"):
            parts[place] = names[part.strip("{}")]
    query = {
        "/console/ledgers/{ledger}/trace": "?correlation_id=nothing",
        "/console/open": "?q=payment-1",
        "/console/audit/proofs/inclusion": f"?position=1&size={names['size']}",
        "/console/audit/proofs/consistency": f"?from=1&to={names['size']}",
    }
    return "/".join(parts) + query.get(path, "")


assert len(PAGES) > len(kinds.__all__)  # importing the kinds has listed their pages

ADDRESSES = [page.path for page in PAGES] + [action.address for action in ACTIONS.values()]


@pytest.fixture(scope="module")
def session(served: Served) -> Iterator[httpx2.Client]:
    """The session of a browser with every role."""
    with httpx2.Client(base_url=served.url, trust_env=False, verify=False, timeout=60) as client:
        assert client.post("/console/sign-in", data={"key": KEY}).status_code == 303
        yield client


@pytest.mark.parametrize("path", sorted(set(ADDRESSES)))
def test_every_address_answers_within_its_bounds(session: httpx2.Client, names: Names, path: str) -> None:
    answer = session.get(address_of(path, names))
    assert answer.status_code in (200, 303), answer.text
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "no-store"
    text = answer.text
    assert " style=" not in text and "<style" not in text and " onclick" not in text
    assert len(answer.content) < FIRST_LOAD_BYTES


@pytest.mark.parametrize("roles", [["auditor"], ["operator"], ["client"], ["poster"]])
@pytest.mark.parametrize("ledgers", [["main"], ["*"], ["other"]])
def test_no_caller_meets_a_fault(served: Served, names: Names, roles: list[str], ledgers: list[str]) -> None:
    """Every page is shown, or says why not. A caller without the ledger learns nothing of it."""
    with served.client() as client:
        name = "-".join(roles + ledgers)
        granted = "ledgers_to_come" if ledgers == ["other"] else "ledgers"
        made = client.post("/v1/keys", json={"name": name, "roles": roles, granted: ledgers})
        assert made.status_code == 201, made.text
    with httpx2.Client(base_url=served.url, trust_env=False, verify=False, timeout=60) as session:
        assert session.post("/console/sign-in", data={"key": made.json()["key"]}).status_code == 303
        for path in sorted(set(ADDRESSES)):
            answer = session.get(address_of(path, names))
            assert answer.status_code in (200, 303, 403, 404), (path, answer.text)
            if ledgers == ["other"] and "{address}" in path:
                assert answer.status_code == 403 or path.removeprefix("/console") not in PAGE_PATHS


PAGE_PATHS = {page.path.removeprefix("/console") for page in PAGES}


@pytest.mark.parametrize("id", ["x", "0" * 36, "00000000-0000-4000-8000-000000000009", "%2e%2e", "'\"<b>"])
def test_no_wrong_id_is_a_fault(session: httpx2.Client, names: Names, id: str) -> None:
    for path in sorted(set(ADDRESSES)):
        if "{id}" in path or "{position}" in path or "{size}" in path or "{key}" in path:
            wrong = {
                name: (value if name in ("ledger", "name", "address") else id)
                for name, value in names.items()
            }
            answer = session.get(address_of(path, wrong))
            assert answer.status_code < 500, (path, answer.text)
            assert "'\"<b>" not in answer.text


@pytest.fixture(scope="module")
def wide(browser: Browser, served: Served) -> Iterator[Page]:
    """A signed-in page."""
    with browsing(browser, served.url) as (context, _):
        yield sign_in(context)


@pytest.fixture(scope="module")
def narrow_and_dark(browser: Browser, served: Served) -> Iterator[Page]:
    """A signed-in page of a telephone in its dark theme."""
    with browsing(browser, served.url, color_scheme="dark", **NARROW) as (context, _):
        yield sign_in(context)


SHOWN = sorted({page.path for page in PAGES if page.template not in ("audit.html",)} | {"/console/audit"})


@pytest.mark.parametrize("path", SHOWN)
def test_every_page_can_be_read_by_anybody(wide: Page, names: Names, path: str) -> None:
    wide.goto(address_of(path, names))
    assert wide.locator("h1").count() == 1
    assert wide.locator(".sentence").inner_text().strip().endswith((".", "?"))
    require_accessible(wide)


@pytest.mark.parametrize("path", SHOWN)
def test_every_page_fits_a_telephone_in_the_dark(narrow_and_dark: Page, names: Names, path: str) -> None:
    narrow_and_dark.goto(address_of(path, names))
    width = narrow_and_dark.evaluate("document.documentElement.scrollWidth")
    assert width <= 360
    require_accessible(narrow_and_dark)


def test_every_page_and_action_is_read_without_scripts(
    browser: Browser, served: Served, names: Names
) -> None:
    with browsing(browser, served.url, java_script_enabled=False) as (context, _):
        page = sign_in(context)
        for path in sorted(set(SHOWN) | {action.address for action in ACTIONS.values()}):
            page.goto(address_of(path, names))
            assert page.locator("h1").count() == 1, path


def weight_of(context: BrowserContext, address: str) -> int:
    """The bytes of a first load, without what the browser kept."""
    page = context.new_page()
    sizes: list[int] = []
    page.on("response", lambda answer: sizes.append(int(answer.headers.get("content-length", 0))))
    page.goto(address)
    page.wait_for_load_state("load")
    page.close()
    return sum(sizes)


@pytest.mark.parametrize(
    "path", ["/console", "/console/ledgers/{ledger}/accounts/{address}", "/console/audit"]
)
def test_a_first_load_is_small(browser: Browser, served: Served, names: Names, path: str) -> None:
    with browsing(browser, served.url) as (context, _):
        sign_in(context)
        assert weight_of(context, address_of(path, names)) < FIRST_LOAD_BYTES
