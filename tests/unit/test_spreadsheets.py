"""CSV for spreadsheets: no text is a formula, every number is a number, every text can be recovered."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.commands.report.spreadsheets import Number, csv_cells, csv_to, harmless

DANGEROUS = [
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    " =1",
    "＝1",
    "＋1",
    "－1",
    "＠1",
    "'=1",
    "\tx",
    "-",
]


@pytest.mark.parametrize("text", DANGEROUS)
def test_a_text_that_would_be_a_formula_begins_with_an_apostrophe(text: str) -> None:
    assert harmless(text) == f"'{text}"


@pytest.mark.parametrize(
    "text", ["", "a", "order-1", "a=b", "users:alice", "'tis", "1-2", "a\n=b", "é", "0x1"]
)
def test_other_texts_stay_as_they_are(text: str) -> None:
    assert harmless(text) == text


def written(*rows: list[str]) -> bytes:
    stream = io.BytesIO()
    with csv_to(stream) as writer:
        for row in rows:
            writer.writerow(csv_cells(row))
    assert not stream.closed
    return stream.getvalue()


def test_numbers_stay_numbers_and_rows_end_as_rfc_4180_has_it() -> None:
    row: list[str] = [Number("-1.50"), "-1.50", 'a "b", c', "é\nf"]
    assert written(row) == '-1.50,\'-1.50,"a ""b"", c","é\nf"\r\n'.encode()


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")), min_size=1))
def test_every_text_is_harmless_and_can_be_had_back(texts: list[str]) -> None:
    (read,) = csv.reader(io.StringIO(written(["first", *texts]).decode(), newline=""))
    for cell, text in zip(read[1:], texts, strict=True):
        assert cell in (text, f"'{text}")
        assert not cell.lstrip().startswith(("=", "+", "-", "@", "＝"))
        assert not cell.startswith(("\t", "\r", "\n"))
        taken = cell[1:] if cell.startswith("'") and harmless(cell[1:]) == cell else cell
        assert taken == text
