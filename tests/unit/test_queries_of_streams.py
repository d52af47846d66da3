"""Every query that looks up events of a stream asks for the key, which alone is indexed in a new journal."""

import re
from pathlib import Path

import pytest

from domain.journal.queries import load

ROOT = Path(__file__).parent.parent.parent
PACKAGES = ("domain", "projections", "api", "scripts")
BY_NAME = re.compile(r"originator_id\s*(=|<|>|LIKE|IN\b)")
SOURCE = re.compile(r"\b(?:FROM|JOIN)\s+(\w+)")
PASSES = {
    ("projections.read_models.account_changes", "of_prefix"),  # one pass over the journal, for a report
    ("projections.audit.audit", "accounts"),  # every account
    ("scripts.doctor.bridges", "accounts_opened"),  # what a read model does not show yet
}
"""Queries that read the whole journal."""


MODULES = [
    ".".join(file.relative_to(ROOT).with_suffix("").parts)
    for package in PACKAGES
    for file in sorted((ROOT / package).rglob("*.sql"))
    if file.parent.name != "migrations"
]


@pytest.mark.parametrize("module", MODULES)
def test_events_are_found_by_the_key_of_their_stream(module: str) -> None:
    for name, text in load(module).items():
        for found in BY_NAME.finditer(text):
            sources = SOURCE.findall(text[: found.start()]) or [""]
            assert sources[-1] == "snapshots" or (module, name) in PASSES, text
