"""The pages of transactions: before and after, descent, proof, refusals, and what can be done."""

import re

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.browsing import browsing, require_accessible, sentence_of, sign_in
from tests.contract.books import Book
from tests.contract.serving import Served

pytestmark = pytest.mark.browser

TRANSACTIONS = "/console/ledgers/main/transactions"


@pytest.fixture(scope="module", autouse=True)
def accounts(served: Served) -> None:
    with served.client() as client:
        book = Book(client, "main")
        book.open("bank", normal_side="debit")
        book.open("alice", min_balance=0)
        book.open("bob")
        assert book.transfer("bank", "alice", 10_000).status_code == 201


def test_a_hold_is_settled_and_its_settlement_reversed(page: Page, book: Book) -> None:
    hold = book.hold("alice", "bob", 2000, reference="hotel").json()["id"]
    page.goto(f"{TRANSACTIONS}/{hold}")
    expect(page.locator(".sentence")).to_contain_text("This hold is pending.")
    page.get_by_role("link", name="Settle").click()
    expect(page.get_by_role("heading", name="What will happen")).to_be_visible()
    expect(page.get_by_role("row").filter(has_text="alice")).to_contain_text("20.00")
    page.get_by_label("Amount").fill("1500")
    page.get_by_role("button", name="Settle").click()
    expect(page.locator(".sentence")).to_contain_text("This hold is settled.")

    page.get_by_role("link", name="Settlement").click()
    page.get_by_role("link", name="Reverse").click()
    page.get_by_label("Amount").fill("500")
    page.get_by_role("button", name="Reverse").click()
    expect(page.get_by_role("status").filter(has_text="Done")).to_be_visible()
    line = page.locator(".descent li")
    expect(line).to_have_count(3)
    expect(line.nth(0)).to_contain_text("Hold hotel")
    expect(line.nth(1)).to_contain_text("This settlement")
    expect(line.nth(2)).to_contain_text("Reversal")
    assert book.amounts("bob") == (500, 1500, 0, 0)


def test_a_hold_is_voided(page: Page, book: Book) -> None:
    hold = book.hold("alice", "bob", 300).json()["id"]
    page.goto(f"{TRANSACTIONS}/{hold}")
    page.get_by_role("link", name="Void").click()
    page.get_by_role("button", name="Void").click()
    expect(page.locator(".sentence")).to_contain_text("This hold is voided.")
    assert book.transaction(hold).json()["status"] == "voided"
    expect(page.get_by_role("link", name="Settle")).to_have_count(0)


def test_each_account_stands_before_and_after(page: Page, book: Book) -> None:
    before = book.account("alice").json()["posted"]
    made = book.transfer("alice", "bob", 125).json()
    assert book.transfer("alice", "bob", 1).status_code == 201  # what comes later is not in the picture
    page.goto(f"{TRANSACTIONS}/{made['id']}")
    alice = page.locator(".card").filter(has=page.get_by_role("link", name="alice"))
    for when, debits in (("before", before["debits"]), ("after", before["debits"] + 125)):
        cell = alice.get_by_role("row", name=f"Posted {when}").locator("td").first
        expect(cell).to_have_text(f"{debits / 100:.2f}")
    require_accessible(page)
    page.emulate_media(color_scheme="dark")
    require_accessible(page)


def test_the_leaf_and_the_proof_are_those_of_the_journal(page: Page, book: Book) -> None:
    made = book.transfer("alice", "bob", 7).json()
    answer = book.client.get("/v1/audit/checkpoint", params={"min_position": made["position"]})
    assert answer.status_code == 200
    (event,) = book.client.get(
        f"{book.path}/events", params={"transaction_id": made["id"], "type": "transaction.posted"}
    ).json()["data"]
    page.goto(f"{TRANSACTIONS}/{made['id']}")
    expect(page.get_by_text(event["leaf_hash"])).to_be_visible()
    proof = book.client.get("/v1/audit/proofs/inclusion", params={"position": event["position"]}).json()
    page.reload()
    page.get_by_text("The path of the proof").click()
    expect(page.locator("#path pre")).to_contain_text(proof["path"][0])


def test_a_client_sees_why_it_gets_no_proof(browser: Browser, served: Served, book: Book) -> None:
    made = book.transfer("alice", "bob", 7).json()
    key = book.client.post("/v1/keys", json={"name": "shop", "roles": ["client"], "ledgers": ["main"]}).json()
    with browsing(browser, served.url) as (context, _):
        page = sign_in(context, key["key"], f"{TRANSACTIONS}/{made['id']}")
        expect(page.get_by_text("Proof of inclusion")).to_contain_text(
            "This needs the role auditor or operator"
        )


def test_a_refused_transaction_says_why_and_that_nothing_moved(page: Page, book: Book) -> None:
    refused = book.transfer("alice", "bob", 10**9, reference="too much").json()
    page.goto(f"{TRANSACTIONS}/{refused['transaction_id']}")
    sentence = sentence_of(page)
    assert sentence.startswith("This posting is refused (final).")
    assert "Nothing moved." in sentence
    expect(page.get_by_role("region", name="Why it was refused")).to_contain_text(refused["detail"])
    expect(page.get_by_role("heading", name="Before and after")).to_have_count(0)


def test_the_list_filters_and_leads_to_each(browser: Browser, served: Served, book: Book) -> None:
    made = book.transfer("alice", "bob", 4321, reference="the-one", metadata={"tier": "gold"}).json()
    answer = book.client.get(f"{book.path}/transactions", params={"min_position": made["position"]})
    assert answer.status_code == 200
    options = {"java_script_enabled": False, "viewport": {"width": 360, "height": 740}}
    with browsing(browser, served.url, **options) as (context, _):
        page = sign_in(context, then=TRANSACTIONS)
        page.get_by_label("Reference").fill("the-one")
        page.get_by_label("Kind").select_option("posting")
        page.get_by_text("More filters").click()
        page.get_by_label("Metadata key").fill("tier")
        page.get_by_label("is", exact=True).fill("gold")
        page.get_by_role("button", name="Show these transactions").click()
        expect(page.locator("tbody.transaction")).to_have_count(1)
        expect(page.locator("tbody.transaction")).to_contain_text(re.compile("alice.*43.21.*bob", re.DOTALL))
        page.get_by_role("link", name="posting the-one").click()
        expect(page.locator(".sentence")).to_contain_text("This posting is posted.")
