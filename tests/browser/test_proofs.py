"""Proofs: a saved checkpoint and an event are checked in the page, and what was tampered with is refused in it."""

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from domain.transparency.checkpoints import Checkpoint, origin_of
from domain.transparency.merkle_tree import Accumulator, consistency_path, folded, inclusion_path, leaf_hash
from domain.transparency.signed_notes import Signer
from tests.browser.browsing import browsing, require_accessible, sentence_of, sign_in
from tests.contract.books import Book, transfer_body
from tests.contract.serving import Served
from tests.projecting import eventually

pytestmark = pytest.mark.browser

LEAVES = [leaf_hash(f"leaf {number}".encode()) for number in range(40)]
CHECK = "Check in this browser"


def node(level: int, index: int) -> bytes:
    return folded(LEAVES[index << level : (index + 1) << level])


def root(size: int) -> bytes:
    return Accumulator(LEAVES[:size]).root


def hexes(path: list[bytes]) -> list[str]:
    return [each.hex() for each in path]


@pytest.fixture(scope="module")
def note(served: Served) -> str:
    """A checkpoint that somebody kept, and a history that has grown since."""
    with served.client() as client:
        book = Book(client, "main")
        book.open("world", normal_side="debit")
        book.open("alice")
        book.transfer("world", "alice", 100)
        kept = signed_note(book)
        book.transfer("world", "alice", 50)
        signed_note(book)
    return kept


def signed_note(book: Book) -> str:
    """The newest checkpoint, once it covers everything that was recorded."""
    head = int(book.account("alice").headers["Ledger-Head"])
    answer = book.client.get(
        "/v1/audit/checkpoint", params={"min_position": head}, headers={"Prefer": "wait=30"}
    )
    assert answer.status_code == 200
    return answer.text


def check(page: Page, note: str) -> str:
    """Check a note in the page, and return what the page says."""
    page.get_by_label("A checkpoint that you kept").fill(note)
    found = page.locator("#saved output")
    found.evaluate("found => found.replaceChildren()")
    page.get_by_role("button", name=CHECK).first.click()
    expect(found).not_to_be_empty()
    return found.inner_text()


def refusal(page: Page, note: str) -> str:
    """Check a note that the page refuses, and return what it says."""
    check(page, note)
    found = page.locator("#saved output.bad")
    expect(found).to_contain_text("Refused.")
    return found.inner_text()


def functions_of(page: Page) -> Callable[[str, Any], Any]:
    """A way to call the page's own module, with sizes as text."""
    page.goto("/console/audit")
    address = page.locator('script[src$="audit.js"]').get_attribute("src")
    assert address is not None
    source = address.replace("audit.js", "proofs.js")

    def call(body: str, given: Any) -> Any:
        return page.evaluate(
            f"async (given) => {{ const proofs = await import({source!r}); return await ({body})(proofs, given); }}",
            given,
        )

    return call


def test_is_this_history_the_one_that_was_signed(page: Page, note: str) -> None:
    page.goto("/console")
    page.get_by_role("link", name="Proofs").click()
    said = check(page, note)
    assert "Yes: this history is the one that was signed." in said
    size = note.split("\n")[1]
    assert f"begin with the {size} events of this checkpoint" in said
    assert "Computed in this browser." in said
    require_accessible(page)


def changed(note: str, line: int, change: Callable[[str], str]) -> str:
    lines = note.split("\n")
    lines[line] = change(lines[line])
    return "\n".join(lines)


def other(letter: str) -> str:
    return "A" if letter != "A" else "B"


TAMPERED: dict[str, tuple[Callable[[str], str], str]] = {
    "size": (lambda note: changed(note, 1, lambda size: str(int(size) - 1)), "is not of this text"),
    "root": (lambda note: changed(note, 2, lambda root: other(root[0]) + root[1:]), "is not of this text"),
    "signature": (
        lambda note: changed(note, 4, lambda line: line[:-20] + other(line[-20]) + line[-19:]),
        "is not of this text",
    ),
    "another key": (
        lambda note: Checkpoint(origin_of("another"), 3, bytes(32)).signed(
            [Signer(origin_of("another"), bytes(32))]
        ),
        "No signature is of a known key",
    ),
    "a blank line": (lambda note: changed(note, 1, lambda size: f"{size}\n"), "a blank line too many"),
    "no signature": (lambda note: note.partition("\n\n")[0], "no line of a signature"),
    "base64": (lambda note: changed(note, 2, lambda root: root[:-1]), "is not base64"),
}


def test_a_tampered_checkpoint_is_refused_with_the_reason(page: Page, note: str) -> None:
    page.goto("/console/audit")
    for tampered, (tamper, reason) in TAMPERED.items():
        assert "Yes" in check(page, note)
        said = refusal(page, tamper(note))
        assert reason in said and "Yes" not in said, tampered


def test_a_saved_file_is_checked_with_a_key_that_was_kept(page: Page, note: str, book: Book) -> None:
    page.goto("/console/audit")
    page.get_by_text("Check with a key that I kept").click()
    keys = page.get_by_label("Public keys, one on each line")
    keys.fill(str(Signer(origin_of("another"), bytes(32)).verifier))
    file = page.get_by_label("Or drop its file here, or choose it")
    file.set_input_files({"name": "kept.txt", "mimeType": "text/plain", "buffer": note.encode()})
    found = page.locator("#saved output")
    expect(found).to_contain_text("No signature is of a known key")
    keys.fill(book.client.get("/v1/audit/verifier-key").text)
    page.get_by_role("button", name=CHECK).first.click()
    expect(found).to_contain_text("You gave this key.")


def test_without_javascript_the_server_checks_and_says_so(
    browser: Browser, served: Served, note: str
) -> None:
    with browsing(browser, served.url, java_script_enabled=False) as (context, _):
        page = sign_in(context, then="/console/audit")
        page.get_by_label("A checkpoint that you kept").fill(note)
        page.get_by_role("button", name="Let the server check it").first.click()
        assert sentence_of(page) == "Yes: this history is the one that was signed."
        expect(page.locator("main")).to_contain_text("The server checked this, and not your browser")
        for tampered, (tamper, _) in TAMPERED.items():
            page.goto("/console/audit")
            page.get_by_label("A checkpoint that you kept").fill(tamper(note))
            page.get_by_role("button", name="Let the server check it").first.click()
            assert sentence_of(page) == "Refused.", tampered
        page.goto("/console/audit")
        page.get_by_label("Position of an event").fill("2")
        page.get_by_role("button", name="Let the server check it").nth(1).click()
        assert sentence_of(page) == "Yes: this event is in the journal that was signed."
        page.goto("/console/audit/check?position=999999")
        assert sentence_of(page) == "Not checked."


def test_an_event_is_proved_from_the_leaf_that_its_page_shows(page: Page, note: str, book: Book) -> None:
    hostile = {"note": "<script>alert(1)</script>", "2": "zwei \u2028", "10": "größe & </pre>"}
    answer = book.post({**transfer_body("world", "alice", 10**15), "metadata": hostile})
    assert answer.status_code == 201, answer.text
    made = answer.json()
    signed_note(book)
    page.goto(f"/console/ledgers/main/events/{made['position']}")
    page.get_by_role("button", name=CHECK).click()
    expect(page.locator("#inclusion output")).to_contain_text("this event is in the journal that was signed")
    page.evaluate("document.getElementById('leaf').append(' ')")
    page.get_by_role("button", name=CHECK).click()
    expect(page.locator("#inclusion output")).to_contain_text("is not at position")


def test_a_past_checkpoint_is_shown_and_saved_as_it_was_signed(page: Page, note: str) -> None:
    size = note.split("\n")[1]
    page.goto(f"/console/audit/checkpoints/{size}")
    assert page.get_by_label("A checkpoint that you kept").input_value() == note
    with page.expect_download() as download:
        page.get_by_role("link", name="save the note").click()
    assert download.value.suggested_filename == f"checkpoint-{size}.txt"
    assert download.value.path().read_bytes() == note.encode()


def test_the_page_reads_on_a_narrow_screen_in_the_dark(browser: Browser, served: Served, note: str) -> None:
    narrow = {"viewport": {"width": 360, "height": 780}, "color_scheme": "dark"}
    with browsing(browser, served.url, **narrow) as (context, _):
        page = sign_in(context, then="/console/audit")
        assert "Yes" in check(page, note)
        require_accessible(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_the_module_accepts_right_proofs_of_trees_of_every_size_and_no_others(page: Page) -> None:
    call = functions_of(page)
    growths = [
        (first, second, root(first).hex(), root(second).hex(), hexes(consistency_path(first, second, node)))
        for second in range(1, 26)
        for first in range(second + 1)
    ]
    places = [
        (LEAVES[index].hex(), index, size, root(size).hex(), hexes(inclusion_path(index, size, node)))
        for size in range(1, 26)
        for index in range(size)
    ]
    judge_growths = (
        "(proofs, given) => Promise.all(given.map(([first, second, before, after, path]) =>"
        " proofs.isBeginning(BigInt(first), BigInt(second), before, after, path)))"
    )
    judge_places = (
        "(proofs, given) => Promise.all(given.map(([leaf, index, size, root, path]) =>"
        " proofs.isIncluded(leaf, BigInt(index), BigInt(size), root, path)))"
    )
    assert set(call(judge_growths, growths)) == {True}
    assert set(call(judge_places, places)) == {True}
    zero = bytes(32).hex()
    wrong_growths = [
        wrong
        for first, second, before, after, path in growths
        for wrong in [
            (first, second, zero, after, path),
            *([(first, second, before, zero, path)] if first else []),
            (first, second, before, after, [*path, zero]),
            *([(first, second, before, after, path[:-1])] if path else []),
            *([(first, second, before, after, [zero, *path[1:]])] if path else []),
            (second + 1, second, before, after, path),
        ]
    ]
    wrong_places = [
        wrong
        for leaf, index, size, top, path in places
        for wrong in [
            (zero, index, size, top, path),
            (leaf, index, size, zero, path),
            (leaf, index, size, top, [*path, zero]),
            *([(leaf, index, size, top, path[:-1])] if path else []),
            (leaf, size, size, top, path),
        ]
    ]
    assert set(call(judge_growths, wrong_growths)) == {False}
    assert set(call(judge_places, wrong_places)) == {False}
    leaf = "größe {\u2028}"
    assert call("(proofs, given) => proofs.leafHash(given)", leaf) == leaf_hash(leaf.encode()).hex()


def test_a_history_that_was_rewritten_is_refused(page: Page, note: str, book: Book) -> None:
    """The page is answered with the proof of another history, as a service that lies would."""
    page.goto("/console/audit")

    def lie(route: Any) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, json={**answer.json(), "path": ["00" * 32]})

    page.route("**/proofs/consistency**", lie)
    said = check(page, note)
    assert "The history was rewritten" in said
    page.route("**/audit/checkpoint", lambda route: route.abort())
    assert check(page, note).startswith("Not checked.")


def test_a_page_without_secure_context_says_that_the_browser_cannot(page: Page, note: str) -> None:
    page.add_init_script("Object.defineProperty(crypto, 'subtle', {value: undefined})")
    page.goto("/console/audit")
    said = check(page, note)
    assert "computes no hashes on a page that did not come over https" in said
    page.get_by_role("button", name="Let the server check it").first.click()
    eventually(lambda: "Checked by the server" in page.title())
    assert sentence_of(page) == "Yes: this history is the one that was signed."
