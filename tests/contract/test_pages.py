"""The pages for readers: their links lead somewhere, and they name every setting, command and event type."""

import re
from pathlib import Path

import pytest

from api.settings import Settings
from domain.model.registry import EVENT_TYPES
from scripts.endings import DONE, ERRORS, INTERRUPTED, UNREAD, USAGE, WARNINGS
from scripts.tallystick import COMMANDS
from tests.service import ROOT

WINGS = ("domain", "projections", "api", "scripts", "tests")
PAGES = ("README.md", *(f"{wing}/README.md" for wing in WINGS), "scripts/BACKUP.md", "scripts/CLUSTER.md")
MAX_WORDS, MAX_LINES = 1_500, 200
OUTSIDE = re.compile(r"https?://")


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(
        r"^#+ (.*)", re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S), re.M
    )
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", text_of(page)) if not OUTSIDE.match(link)]
    assert links or page.startswith(("domain", "tests", "projections"))
    for link in links:
        path, _, anchor = link.partition("#")
        target = (ROOT / page).parent / path if path else ROOT / page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES)
def test_files_that_are_named_exist(page: str) -> None:
    """Paths with a folder in them are of the repository or of the page's own wing."""
    prose = re.sub(r"```.*?```", "", text_of(page), flags=re.S)
    for named in re.findall(r"`((?:[a-z_]+/)+[a-z_]*(?:\.(?:py|sql|yaml|md))?)`", prose):
        wing, folder = (ROOT / page).parent, named.split("/")[0]
        if (ROOT / folder).is_dir() or (wing / folder).is_dir():
            assert (ROOT / named).exists() or (wing / named).exists(), named


@pytest.mark.parametrize("field", Settings.model_fields)
def test_every_setting_is_in_the_page_on_operating(field: str) -> None:
    assert f"| `TALLYSTICK_{field.rstrip('_').upper()}` |" in text_of("scripts/README.md")


def test_no_setting_is_named_that_there_is_not() -> None:
    known = {f"TALLYSTICK_{field.rstrip('_').upper()}" for field in Settings.model_fields}
    of_tests = {
        "TALLYSTICK_CALLS",
        "TALLYSTICK_KILLS",
        "TALLYSTICK_PICTURES",
        "TALLYSTICK_PAYOUTS",
        "TALLYSTICK_GENERATED",
        "TALLYSTICK_TEST_DATABASE_URL",
        "TALLYSTICK_TEST_TOPOLOGY",
    }
    of_commands = {"TALLYSTICK_KEY", "TALLYSTICK_URL", "TALLYSTICK_WITNESS_API_KEY"}
    of_compose = {"TALLYSTICK_DATABASE_HOSTS", "TALLYSTICK_PASSWORD"}
    for page in PAGES:
        named = set(re.findall(r"\bTALLYSTICK_[A-Z_]+[A-Z]\b", text_of(page)))
        assert named - known - of_tests - of_commands - of_compose <= {"TALLYSTICK_ADAPTER"}, page


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_in_the_page_on_operating(command: str) -> None:
    assert re.search(rf"`tallystick {command}\b", text_of("scripts/README.md"))


def test_no_command_is_named_that_there_is_not() -> None:
    for page in PAGES:
        for command in re.findall(r"\btallystick ([a-z][a-z-]+)\b", text_of(page)):
            assert command in COMMANDS or command in ("needs", "runs"), (page, command)


def test_every_exit_code_is_in_the_page_on_operating() -> None:
    codes = re.findall(r"^\| ([\d, ]+) \|", text_of("scripts/README.md"), re.M)
    named = {int(code) for row in codes for code in row.split(",")}
    assert {DONE, WARNINGS, USAGE, ERRORS, INTERRUPTED, UNREAD} <= named


def test_every_event_type_is_in_the_page_on_writing_and_no_other() -> None:
    named = set(
        re.findall(
            r"`((?:ledger|account|transaction|payout|key|checkpoint)\.\w+)`", text_of("domain/README.md")
        )
    )
    assert named == set(EVENT_TYPES)


def test_the_first_page_is_short() -> None:
    page = text_of("README.md")
    assert len(page.split()) <= MAX_WORDS and len(page.splitlines()) <= MAX_LINES


def test_code_cites_pages_and_sections_that_exist() -> None:
    for path in sorted(
        path for wing in ("domain", "projections", "api", "scripts") for path in (ROOT / wing).rglob("*.py")
    ):
        source = re.sub(r"\s+(?:# )?", " ", path.read_text(encoding="utf-8"))
        assert not re.search(r"\b(DESIGN|API|HOUSE)\.md\b", source), path
        for page, section in re.findall(
            r"`?((?:domain|projections|api|scripts|tests)/README\.md)`?, ([A-Z][\w' ]+\w)", source
        ):
            headings = anchors(ROOT / page)
            words = section.lower().replace("'", "").replace(" ", "-")
            assert any(words == heading or words.startswith(f"{heading}-") for heading in headings), (
                path,
                section,
            )
