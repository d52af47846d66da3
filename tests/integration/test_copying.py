"""Rows for COPY: PostgreSQL has exactly the values sent, whatever characters are in them."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.journal.database import Database
from domain.journal.queries import Query
from projections.engine.copying import ROWS_AT_ONCE, copy_rows

pytestmark = pytest.mark.integration

# PostgreSQL's text cannot hold U+0000.
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0")) | st.sampled_from(
    ["", "\\N", "\\.", "\\", "a\tb", "a\nb", "\r", "\r\n", "é"]
)
ROWS = st.lists(st.tuples(TEXTS, TEXTS | st.none(), st.just("plain")), max_size=5)


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=st.sampled_from([0, 1, ROWS_AT_ONCE, ROWS_AT_ONCE + 1]), rows=ROWS)
def test_what_is_copied_is_there(
    database: Database, before: int, rows: list[tuple[str, str | None, str]]
) -> None:
    sent = [*[(str(number), "plain", "") for number in range(before)], *rows]
    with database.connect_as_owner("tallystick test") as connection:
        connection.execute("CREATE TEMPORARY TABLE copied (a text, b text, c text)")
        copy_rows(connection, Query("COPY copied (a, b, c) FROM STDIN"), iter(sent))
        found = connection.execute("SELECT a, b, c FROM copied").fetchall()
    assert sorted(found, key=repr) == sorted(sent, key=repr)
