"""The frame of all pages: keys, menus, what the role may not do, refusals, and what stays up to date."""

import re
import socket
from urllib.parse import urlsplit

import httpx2
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect

from tests.browser.browsing import browsing, require_accessible, session_of, sign_in
from tests.contract.serving import Served

pytestmark = pytest.mark.browser


def test_every_place_of_the_menu_is_reached_by_keys(page: Page) -> None:
    page.goto("/console/ledgers")
    ways = page.locator("nav a[data-letter]").evaluate_all("all => all.map(a => [a.dataset.letter, a.href])")
    assert len({letter for letter, _ in ways}) == len(ways) > 7
    for letter, address in ways[:3]:
        page.goto("/console/ledgers")
        page.keyboard.press("g")
        page.keyboard.press(letter)
        page.wait_for_url(address)


def test_the_keys_are_explained_and_the_field_is_found_by_them(page: Page) -> None:
    page.goto("/console")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("Open anything")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.keyboard.type("g?/")  # keys are text while somebody types
    expect(page.get_by_role("searchbox")).to_have_value("g?/")


def test_the_content_is_reached_without_passing_the_menu(page: Page) -> None:
    page.goto("/console")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="To the content")).to_be_focused()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def test_what_a_role_may_not_read_is_greyed_with_the_reason(browser: Browser, served: Served) -> None:
    with served.client() as client, browsing(browser, served.url) as (context, _):
        made = client.post(
            "/v1/keys", json={"name": "buyer", "roles": ["client"], "ledgers": ["main"]}
        ).json()
        page = sign_in(context, made["key"])
        expect(
            page.locator("nav").get_by_role("link", name="Now")
        ).to_be_visible()  # it shows what the role may see
        keys = page.locator("nav").get_by_text("Keys", exact=False)
        assert keys.get_attribute("aria-disabled") == "true"
        assert (
            keys.get_attribute("title")
            == "Your key has the role client. This needs the role auditor or operator."
        )
        assert page.goto("/console/keys").status == 403  # type: ignore[union-attr]
        require_accessible(page)


def test_what_is_new_is_shown_by_itself(page: Page, served: Served) -> None:
    page.goto("/console/ledgers")
    with served.client() as client:
        assert client.post("/v1/ledgers", json={"name": "newer"}).status_code == 201
    expect(page.get_by_role("link", name="newer")).to_be_visible()


def test_a_form_in_use_is_not_replaced(page: Page, served: Served) -> None:
    page.goto("/console/ledgers/main/try")
    page.get_by_label("Reference").fill("order-1")
    with served.client() as client:
        assert client.post("/v1/ledgers", json={"name": "meanwhile"}).status_code == 201
    page.wait_for_timeout(4_000)
    expect(page.get_by_label("Reference")).to_have_value("order-1")


def test_a_loss_is_told_with_its_time_and_ends_by_itself(page: Page, context: BrowserContext) -> None:
    page.goto("/console/ledgers")
    context.set_offline(True)
    expect(page.locator("#away")).to_contain_text("does not answer since")
    context.set_offline(False)
    expect(page.locator("#away")).to_be_hidden()


@pytest.mark.parametrize(
    "path", ["/console/nosuch", "/console/ledgers/none/transactions/x", "/console/%00", "/console//"]
)
def test_an_unknown_address_is_a_page_that_says_so(served: Served, path: str) -> None:
    with session_of(served.url) as client:
        answer = client.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert "Correlation-Id" in answer.headers
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]


def test_head_answers_as_get_without_a_body(served: Served) -> None:
    with session_of(served.url) as client:
        answer = client.head("/console/ledgers")
    assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS"])
def test_other_methods_are_refused(served: Served, method: str) -> None:
    with session_of(served.url) as client:
        answer = client.request(method, "/console/ledgers")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD, POST")


@pytest.mark.parametrize(
    "cookie", ["", "x", "tallystick_session=", "tallystick_session=ts_wrong", 'a="; b', "=;=;"]
)
def test_a_broken_cookie_leads_to_signing_in(served: Served, cookie: str) -> None:
    with httpx2.Client(base_url=served.url, trust_env=False, verify=False) as client:
        answer = client.get("/console", headers={"cookie": cookie})
    assert (answer.status_code, answer.headers["location"]) == (303, "/console/sign-in?next=%2Fconsole")


@pytest.mark.parametrize(
    ("content", "media_type", "status"),
    [
        (b"{}", "application/json", 415),
        (b"csrf=%ff", "application/x-www-form-urlencoded", 400),
        (b"a=1&" * 6_000, "application/x-www-form-urlencoded", 400),
        (b"a" * 2_000_000, "application/x-www-form-urlencoded", 413),
        (b"", "application/x-www-form-urlencoded", 403),
    ],
)
def test_a_body_that_is_no_form_is_refused(
    served: Served, content: bytes, media_type: str, status: int
) -> None:
    with session_of(served.url) as client:
        answer = client.post(
            "/console/ledgers/main/transactions", content=content, headers={"content-type": media_type}
        )
    assert answer.status_code == status


@pytest.mark.parametrize("scheme", ["Bearer", "Session", "session"])
def test_a_session_is_no_key_of_the_api(served: Served, scheme: str) -> None:
    with session_of(served.url) as client:
        token = client.cookies["tallystick_session"]
        assert client.get("/v1/ledgers").status_code == 401
        headers = {"Authorization": f"{scheme} {token}", "Cookie": f"tallystick_session={token}"}
        assert client.get("/v1/ledgers", headers=headers).status_code == 401


def test_no_header_stands_for_a_session(served: Served) -> None:
    """Calls from within carry the token where no header can: not even one of that name."""
    with session_of(served.url) as client:
        token = client.cookies["tallystick_session"]
    address = urlsplit(served.url)
    with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
        head = f"GET /v1/ledgers HTTP/1.1\r\nHost: x\r\n:session: {token}\r\nConnection: close\r\n\r\n"
        connection.sendall(head.encode())
        status = connection.recv(64).split(b" ")[1]
    assert status in (b"400", b"401")


def test_the_address_cannot_put_words_into_the_page(served: Served) -> None:
    with session_of(served.url) as client:
        page = client.get("/console/ledgers", params={"did": "<script>", "as": "<b>x</b>", "cursor": "<i>"})
        assert "<script>alert" not in page.text and "<b>x</b>" not in page.text and "<i>" not in page.text
        words = {"did": "post-transaction", "how": "Done", "as": "<b>x</b>", "seal": "0" * 32}
        done = client.get("/console/ledgers", params=words)
    assert "Done: Send." not in done.text and "<b>x</b>" not in done.text


def test_what_was_done_is_said_to_the_session_that_did_it(served: Served) -> None:
    with session_of(served.url) as client, session_of(served.url) as other:
        form = client.get("/console/projections/payouts/pause").text
        (csrf,) = set(re.findall(r'name="csrf" value="(\w+)"', form))
        sent = client.post("/console/projections/payouts/pause", data={"csrf": csrf, "reason": "a look"})
        address = sent.headers["location"]
        assert "Done: Pause." in client.get(address).text
        assert "Done: Pause." not in other.get(address).text
        client.post("/console/projections/payouts/resume", data={"csrf": csrf})
        rebuilt = client.post("/console/projections/payouts/rebuild", data={"csrf": csrf})
        assert "Accepted: Rebuild." in client.get(rebuilt.headers["location"]).text


def test_the_focus_stays_where_it_was_when_the_page_is_made_again(page: Page) -> None:
    page.goto("/console/projections")
    page.get_by_role("link", name="Pause").nth(2).focus()
    where = page.evaluate("document.activeElement.href")
    page.evaluate("document.getElementById('main').dataset.former = 'yes'")
    expect(page.locator("#main:not([data-former])")).to_be_visible()
    assert page.evaluate("document.activeElement.href") == where
    assert page.evaluate("document.getElementById('main').contains(document.activeElement)")


def test_a_page_goes_on_by_itself_after_an_answer_that_broke_off(page: Page) -> None:
    broken = []

    def answer(route: Route) -> None:
        # First the connection is lost, then there is a fault. Then all is well again.
        broken.append(route)
        if len(broken) == 1:
            route.abort("connectionreset")
        elif len(broken) == 2:
            route.fulfill(status=500, content_type="text/html", body="<main id='main'>Internal error</main>")
        else:
            route.continue_()

    page.goto("/console/ledgers")
    page.evaluate("document.getElementById('main').dataset.former = 'yes'")
    page.route("**/console/ledgers", answer)
    expect(page.locator("#away")).to_be_visible()
    expect(page.get_by_role("heading", name="Ledgers")).to_be_visible()
    expect(page.locator("#main:not([data-former])")).to_be_visible()
    expect(page.locator("#away")).to_be_hidden()
    assert len(broken) >= 3
