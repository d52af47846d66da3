"""Signing in and out, what protects a session, and when it ends."""

import httpx2
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser.browsing import browsing, require_accessible, sign_in
from tests.contract.serving import KEY, Served

pytestmark = pytest.mark.browser


def test_a_browser_at_the_root_is_led_to_the_page_that_it_wanted(context: BrowserContext) -> None:
    page = context.new_page()
    page.goto("/")
    assert page.url.endswith("/console/sign-in?next=%2Fconsole")
    page.goto("/console/ledgers")
    page.get_by_label("API key").fill(KEY)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Ledgers")).to_be_visible()


def test_a_wrong_key_is_refused_in_words(context: BrowserContext) -> None:
    page = context.new_page()
    page.goto("/console")
    page.get_by_label("API key").fill("tk_wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("not valid")
    require_accessible(page)


def test_the_key_is_not_kept_in_the_browser(context: BrowserContext, page: Page) -> None:
    page.goto("/console")
    (cookie,) = context.cookies()
    assert cookie["name"] == "tallystick_session"
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, "Strict", "/console")
    assert KEY not in str(context.cookies()) + page.content()
    assert page.evaluate("localStorage.length + sessionStorage.length") == 0


@pytest.mark.parametrize("header", [{"x-forwarded-proto": "https"}, {}])
def test_the_cookie_is_secure_where_the_browser_speaks_tls(served: Served, header: dict[str, str]) -> None:
    with httpx2.Client(base_url=served.url, trust_env=False, verify=False) as client:
        answer = client.post("/console/sign-in", data={"key": KEY}, headers=header)
    assert answer.status_code == 303
    assert ("Secure" in answer.headers["set-cookie"]) == bool(header)


def test_signing_out_ends_the_session(context: BrowserContext, page: Page, served: Served) -> None:
    page.goto("/console")
    (cookie,) = context.cookies()
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/console/sign-in")
    with httpx2.Client(base_url=served.url, trust_env=False, verify=False) as client:
        again = client.get("/console", headers={"cookie": f"{cookie['name']}={cookie['value']}"})
    assert again.headers["location"].startswith("/console/sign-in")


def test_a_revoked_key_ends_its_sessions(browser: Browser, served: Served) -> None:
    with served.client() as client, browsing(browser, served.url) as (context, _):
        made = client.post("/v1/keys", json={"name": "short", "roles": ["operator"], "ledgers": []}).json()
        page = sign_in(context, made["key"])
        assert client.delete(f"/v1/keys/{made['id']}").status_code == 204
        page.wait_for_url("**/console/sign-in**")


@pytest.mark.parametrize("csrf", ["", "0" * 64])
def test_a_form_that_no_page_of_the_session_made_is_refused(
    context: BrowserContext, page: Page, csrf: str
) -> None:
    answer = context.request.post("/console/sign-out", form={"csrf": csrf})
    assert answer.status == 403
    page.goto("/console")
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()


@pytest.mark.parametrize(
    "header",
    [{"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"}, {"origin": "https://evil.example"}],
)
def test_a_form_from_another_site_is_refused(served: Served, header: dict[str, str]) -> None:
    with httpx2.Client(base_url=served.url, trust_env=False, verify=False) as client:
        assert client.post("/console/sign-in", data={"key": KEY}, headers=header).status_code == 403


def test_no_page_may_be_framed_or_load_from_elsewhere(page: Page) -> None:
    answer = page.goto("/console")
    assert answer is not None
    policy = answer.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "elsewhere", ["https://evil.example/", "//evil.example", "/console\\evil", "/v1/ledgers"]
)
def test_signing_in_leads_nowhere_else(served: Served, elsewhere: str) -> None:
    with httpx2.Client(base_url=served.url, trust_env=False, verify=False) as client:
        answer = client.post("/console/sign-in", data={"key": KEY, "next": elsewhere})
    assert answer.headers["location"] == "/console"


@pytest.mark.parametrize("announced", [True, False])
def test_who_is_not_signed_in_has_no_room_for_a_large_form(served: Served, announced: bool) -> None:
    content = b"key=" + b"a" * 100_000
    headers = {"content-type": "application/x-www-form-urlencoded"}
    with httpx2.Client(base_url=served.url, trust_env=False, verify=False) as client:
        answer = client.post(
            "/console/sign-in", content=content if announced else iter([content]), headers=headers
        )
    assert answer.status_code == 413
