"""SQL in files: every query is named, and its comments are left out."""

import re
from pathlib import Path

import pytest

from domain.journal.queries import load


def write(folder: Path, package: str, text: str) -> None:
    (folder / package).mkdir()
    (folder / package / "__init__.py").touch()
    (folder / package / "queries.sql").write_text(text, encoding="utf-8")


def test_queries_by_name_without_their_comments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    write(
        tmp_path,
        "queries_of_a_test",
        "-- A word on the file.\n\n"
        "-- name: first\n-- Why it is so; with a semicolon.\nSELECT 1\n  -- why this line\nFROM a;\n\n"
        "-- name: second_one\nSELECT '--name: third', %(ü)s\n",
    )
    queries = load("queries_of_a_test.queries")
    assert dict(queries) == {"first": "SELECT 1\nFROM a", "second_one": "SELECT '--name: third', %(ü)s"}
    assert load("queries_of_a_test.queries") is queries


def test_a_file_without_queries_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    write(tmp_path, "no_queries_of_a_test", "-- only words\n")
    assert load("no_queries_of_a_test.queries") == {}


def test_a_file_or_a_query_that_is_not_there_is_an_error() -> None:
    with pytest.raises(FileNotFoundError):
        load("domain.journal.nothing")
    with pytest.raises(KeyError):
        load("domain.journal.journal")["nothing"]


def test_each_query_of_the_journal_is_one_statement() -> None:
    for name, query in load("domain.journal.journal").items():
        assert re.match(r"(SELECT|INSERT|WITH) ", query), name
        assert ";" not in query and "--" not in query, name
