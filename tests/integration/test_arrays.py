"""Arrays as parameters: PostgreSQL reads back exactly the values sent."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.journal.arrays import Array, bigint_array, bytea_array, text_array, word_array
from domain.journal.database import Database

pytestmark = pytest.mark.integration

MAX_BIGINT = 2**63 - 1
# PostgreSQL's text cannot hold U+0000.
TEXTS = st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0")))
NUMBERS = st.lists(st.integers(-MAX_BIGINT - 1, MAX_BIGINT))


def read_back(database: Database, array_type: str, array: Array) -> object:
    with database.connect("tallystick test") as connection:
        cursor = connection.execute(f"SELECT %b::{array_type}", (array,), binary=True)
        (read,) = cursor.fetchone() or (None,)
    return read


@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=TEXTS, numbers=NUMBERS, pieces=st.lists(st.binary()))
def test_what_is_sent_is_read(
    database: Database, texts: list[str], numbers: list[int], pieces: list[bytes]
) -> None:
    assert read_back(database, "text[]", text_array(texts)) == texts
    assert read_back(database, "text[]", word_array(texts)) == texts
    assert read_back(database, "bigint[]", bigint_array(numbers)) == numbers
    assert read_back(database, "bytea[]", bytea_array(pieces)) == pieces


@pytest.mark.parametrize("number", [MAX_BIGINT + 1, -MAX_BIGINT - 2])
def test_what_is_no_bigint_is_refused(number: int) -> None:
    with pytest.raises(ValueError, match="no bigint"):
        bigint_array([1, number])
