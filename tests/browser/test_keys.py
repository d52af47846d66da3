"""Keys: made, rotated and revoked by forms, each once, with the trail that it leaves."""

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.browsing import browsing, require_accessible, sign_in
from tests.contract.serving import Served

pytestmark = pytest.mark.browser

HOSTILE = "<img src=x onerror=document.title='hacked'>"


def make(page: Page, name: str, *roles: str, ledgers: str = "") -> str:
    """Make a key by the form; return its secret."""
    page.goto("/console/keys")
    page.get_by_role("link", name="Make a key").click()
    page.get_by_label("Name").fill(name)
    for role in roles:
        page.get_by_role("checkbox", name=role).first.check()
    page.get_by_label("Ledgers optional", exact=True).fill(ledgers)
    page.get_by_role("button", name="Make a key").click()
    return page.locator("dt", has_text="key").last.locator("+ dd").inner_text()


def test_a_key_is_made_rotated_and_revoked(page: Page, served: Served) -> None:
    secret = make(page, HOSTILE, "client", "auditor", ledgers="main, ")
    require_accessible(page)
    with served.client(secret) as client:
        assert client.get("/v1/ledgers/main").status_code == 200
    page.get_by_role("link", name="Go on").click()
    row = page.locator("tbody tr", has_text="<img").first
    expect(row).to_contain_text("client, auditor")
    assert secret not in page.content()
    require_accessible(page)

    row.get_by_role("link", name="Rotate").click()
    page.get_by_label("Overlap in seconds").fill("0")
    page.get_by_role("button", name="Rotate").click()
    expect(page.get_by_role("status")).to_contain_text("This answer is shown once")
    page.get_by_role("link", name="Go on").click()
    expect(page.locator("tbody").first).to_contain_text("expired")

    row = page.locator("tbody tr", has_text="valid").filter(has_text="<img").first
    row.get_by_role("link", name="Revoke").click()
    expect(page.locator(".sentence")).to_contain_text("refused within a second")
    page.get_by_role("button", name="Revoke").click()
    expect(page.get_by_role("status")).to_contain_text("Done: Revoke")
    with served.client() as client:
        (found,) = client.get("/v1/keys?state=revoked").json()["data"]
        assert (found["name"], found["revoked_by"]) == (HOSTILE, "bootstrap")
        assert found["ledgers"] == ["main"]
        # The page of a proof takes the newest checkpoint, which must be one that holds all of this.
        position = client.get("/v1/ledgers/main").headers["ledger-position"]
        signed = client.get(f"/v1/audit/checkpoint?min_position={position}", headers={"Prefer": "wait=30"})
        assert signed.status_code == 200

    page.get_by_role("link", name="The whole trail").click()
    trail = page.locator("tbody tr", has_text="<img").locator("td:nth-child(2)")
    expect(trail).to_have_text(["revoked", "rotated", "made", "made"])
    expect(page.locator("main img")).to_have_count(0)
    assert "hacked" not in page.title()
    page.get_by_role("link", name="Prove position").first.click()
    page.get_by_role("button", name="Check in this browser").nth(1).click()
    expect(page.locator("#inclusion output")).to_contain_text("this event is in the journal that was signed")


def test_a_form_that_the_api_refuses_keeps_what_was_chosen(page: Page) -> None:
    page.goto("/console/keys/make")
    page.get_by_label("Name").fill("bootstrap")
    page.get_by_role("checkbox", name="poster").first.check()
    page.get_by_role("button", name="Make a key").click()
    expect(page.get_by_role("alert")).to_contain_text("/name")
    expect(page.get_by_label("Name")).to_have_value("bootstrap")
    expect(page.get_by_role("checkbox", name="poster").first).to_be_checked()
    expect(page.get_by_role("checkbox", name="auditor")).not_to_be_checked()


def test_an_auditor_sees_why_it_may_not_change_keys(browser: Browser, page: Page, served: Served) -> None:
    secret = make(page, "audit firm", "auditor", ledgers="*")
    with served.client(secret) as client:
        assert client.post("/v1/projections/balances/pause", json={"reason": "x"}).status_code == 403
    with browsing(browser, served.url, viewport={"width": 360, "height": 780}, color_scheme="dark") as (
        context,
        _,
    ):
        auditor = sign_in(context, secret, "/console/keys")
        expect(auditor.locator("[aria-disabled]", has_text="Make a key")).to_contain_text(
            "needs the role operator"
        )
        require_accessible(auditor)
        assert auditor.evaluate("document.documentElement.scrollWidth") <= 360
        auditor.get_by_role("link", name="Denied requests").click()
        row = auditor.locator("tr", has_text="POST /v1/projections/{name}/pause")
        expect(row.locator("td").nth(1)).to_have_text("1")
        require_accessible(auditor)
