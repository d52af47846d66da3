"""Projections are the same however events were divided: into batches, or into parts written at once."""

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from typing import Any

import pytest
from msgspec.structs import astuple
from psycopg import Connection
from psycopg.sql import SQL, Identifier

from domain.journal.database import Database
from projections.engine.batches import WHOLE, Part, read_stretch
from projections.engine.projection import Projection
from projections.registry import PROJECTIONS, create_indexes
from tests.author import Bookkeeper
from tests.ledgers import folded, history

pytestmark = pytest.mark.integration

ALL = tuple(projection for projection in PROJECTIONS.values() if projection.by_stream)
PARTS = 3
AT_ONCE = 10**9


@pytest.fixture
def database(migrated_database: Database) -> Database:
    """A database without the tables of projections, which the tests make."""
    return migrated_database


@pytest.fixture
def head(database: Database, owner: Connection[Any]) -> int:
    """A journal with every kind of event of accounts and transactions. Returns the newest position."""
    Bookkeeper(database, 5).write()
    ((head,),) = owner.execute("SELECT position FROM head").fetchall()
    return int(head)


def make_tables(database: Database, version: int) -> None:
    with database.connect("test of parts") as connection:
        for projection in ALL:
            connection.execute(projection.queries(version)["create_tables"])
            create_indexes(connection, projection, version)


def fill(database: Database, version: int, head: int, sizes: Iterator[int], part: Part = WHOLE) -> None:
    """Write a part for all projections, one stretch per transaction."""
    with database.connect("test of parts") as connection:
        after = 0
        while after < head:
            stretch = read_stretch(connection, ALL, after, min(head, after + next(sizes)), part)
            with connection.transaction():
                for projection in ALL:
                    if events := stretch.batch(projection).events:
                        projection.project(connection, projection.queries(version), events)
            after = stretch.upto


def contents(owner: Connection[Any], projection: Projection, version: int) -> list[list[tuple[Any, ...]]]:
    """The rows of a version's tables, as text and sorted independently of how they were written."""
    return [
        owner.execute(SQL("SELECT t::text FROM {} AS t ORDER BY 1").format(Identifier(table))).fetchall()
        for table in projection.table_names(version)
    ]


@pytest.mark.parametrize("largest", [1, 4, 60])
def test_batches_of_any_size_come_to_the_same(
    database: Database, owner: Connection[Any], head: int, largest: int
) -> None:
    chance = random.Random(largest)
    for version, sizes in ((1, cycle([AT_ONCE])), (2, iter(lambda: chance.randint(1, largest), 0))):
        make_tables(database, version)
        fill(database, version, head, sizes)
    for projection in ALL:
        rows = contents(owner, projection, 1)
        assert any(rows) or projection.name == "payouts", projection.name  # the bookkeeper makes none
        assert contents(owner, projection, 2) == rows, projection.name


def test_parts_that_are_written_at_once_come_to_the_same(
    database: Database, owner: Connection[Any], head: int
) -> None:
    for version in (1, 2):
        make_tables(database, version)
    fill(database, 1, head, cycle([AT_ONCE]))
    with ThreadPoolExecutor(PARTS) as pool:
        filling = [
            pool.submit(fill, database, 2, head, cycle([3 + number, 20]), Part(number, PARTS))
            for number in range(PARTS)
        ]
        for filled in filling:
            filled.result()
    for projection in ALL:
        assert contents(owner, projection, 2) == contents(owner, projection, 1), projection.name


def test_accounts_are_those_of_a_fold(database: Database, owner: Connection[Any], head: int) -> None:
    make_tables(database, 1)
    fill(database, 1, head, cycle([7]))
    found = owner.execute(
        "SELECT ledger, address, asset, normal_side, status, min_balance, max_balance, metadata, posted_debits,"
        " posted_credits, pending_debits, pending_credits, version, position FROM balances_v1"
    ).fetchall()
    accounts = [state for stream, state in folded(history(database)).items() if "/accounts/" in stream]
    assert {account.status for account in accounts} == {"open", "frozen"}
    assert sorted(found) == sorted(
        (*astuple(account)[:12], account.version, account.position) for account in accounts
    )
