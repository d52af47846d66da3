"""Named queries run the same on any connection, whatever the form of its rows."""

from typing import Any, NamedTuple

import pytest
from psycopg import Connection, errors
from psycopg.rows import dict_row, tuple_row

from domain.journal.database import Database
from domain.journal.queries import Query

NUMBERS = Query("SELECT n, n * 2 FROM generate_series(1, %(last)s::int) AS n ORDER BY n :order")


class Doubled(NamedTuple):
    number: int
    double: int


def test_rows_are_tuples_on_any_connection(database: Database) -> None:
    query = NUMBERS.fill(order="DESC")
    with database.connect("test") as connection:
        connection.row_factory = dict_row
        assert query.rows(connection, {"last": 2}) == [(2, 4), (1, 2)]
        assert query.rows(connection, {"last": 2}, into=Doubled, prepare=True, binary=True) == [
            Doubled(2, 4),
            Doubled(1, 2),
        ]
        assert query.row(connection, {"last": 2}) == (2, 4)
        assert query.row(connection, {"last": 0}) is None
        assert query.only(connection, {"last": 1}) == (1, 2)
        assert query.run(connection, {"last": 9}).rowcount == 9
        with connection.cursor(row_factory=tuple_row) as cursor:
            assert query.rows(cursor, {"last": 1}) == [(1, 2)]


@pytest.mark.parametrize("last", [0, 2])
def test_only_is_for_one_row(owner: Connection[Any], last: int) -> None:
    with pytest.raises(ValueError, match="values to unpack"):
        NUMBERS.fill(order="ASC").only(owner, {"last": last})


def test_a_part_that_was_not_filled_in_is_an_error(owner: Connection[Any]) -> None:
    with pytest.raises(errors.SyntaxError):
        NUMBERS.rows(owner, {"last": 1})
