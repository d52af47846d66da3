"""SQL in files: every query is named, and its comments are left out."""

import re
from pathlib import Path

import pytest
from psycopg.sql import Identifier

from domain.journal.queries import Query, load


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


def test_a_query_names_another_of_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    write(
        tmp_path,
        "naming_queries_of_a_test",
        "-- name: columns\na, :second\n-- name: second\nb::text\n"
        "-- name: list\nSELECT :columns, c::columns FROM t_v:version WHERE :columns_of = '12:columns'\n",
    )
    queries = load("naming_queries_of_a_test.queries")
    assert queries["list"] == (
        "SELECT a, b::text, c::columns FROM t_v:version WHERE :columns_of = '12:columns'"
    )


def test_parts_take_the_place_of_placeholders() -> None:
    query = Query("SELECT * FROM :table WHERE id :beyond %(id)s AND v:version_of ORDER BY id :order")
    filled = query.fill(order="DESC", beyond="<", version=3, table=Identifier('a"b'))
    assert filled == 'SELECT * FROM "a""b" WHERE id < %(id)s AND v3_of ORDER BY id DESC'
    assert query.fill(order="ASC").fill(beyond=">") == query.fill(beyond=">", order="ASC")


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
