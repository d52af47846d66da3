"""Stretches of the journal: read once for several projections, whole or in parts that make up the whole."""

from typing import Any

import pytest
from psycopg import Connection

from domain.journal.database import Database
from projections.engine.batches import Part, read_batch, read_stretch
from projections.registry import PROJECTIONS
from tests.ledgers import open_accounts, outcomes, running, transfer
from tests.projecting import append, delete_event

pytestmark = pytest.mark.integration

ALL = tuple(PROJECTIONS.values())


@pytest.fixture
def head(database: Database) -> int:
    """A journal of some 60 events. Returns the newest position."""
    with running(database) as ledger:
        open_accounts(ledger, "a", "b")
        outcomes(ledger.execute(*(transfer("a", "b", amount) for amount in range(1, 20))).result())
        return ledger.head()


@pytest.mark.parametrize("projection", ALL, ids=lambda projection: projection.name)
def test_each_projection_is_given_what_it_would_have_read_alone(
    projection: Any, owner: Connection[Any], head: int
) -> None:
    stretch = read_stretch(owner, ALL, 5, head)
    assert stretch.batch(projection) == read_batch(owner, projection, 5, head)


def test_events_are_decoded_once_for_all(owner: Connection[Any], head: int) -> None:
    stretch = read_stretch(owner, ALL, 0, head)
    entries, transactions = (stretch.batch(PROJECTIONS[name]) for name in ("entries", "transactions"))
    assert len(entries.events) == 19
    assert all(one is other for one, other in zip(entries.events, transactions.events, strict=True))


def test_parts_are_the_whole_and_each_stream_is_in_one(owner: Connection[Any], head: int) -> None:
    parts = [read_stretch(owner, ALL, 0, head, Part(number, 3)) for number in range(3)]
    assert all((part.after, part.upto, part.obstacle) == (0, head, None) for part in parts)
    found = [{event.row[0] for event in part.events} for part in parts]
    assert all(streams for streams in found)
    assert not found[0] & found[1] and not found[0] & found[2] and not found[1] & found[2]
    positions = sorted(event.row[4] for part in parts for event in part.events)
    assert positions == list(range(1, head + 1))


def test_every_part_ends_before_a_gap(owner: Connection[Any], head: int) -> None:
    delete_event(owner, head - 3)
    for number in range(3):
        stretch = read_stretch(owner, ALL, 0, head, Part(number, 3))
        assert stretch.upto == head - 4
        assert stretch.obstacle == f"the journal has a gap: event {head - 3} is missing"
        assert all(event.row[4] < head - 3 for event in stretch.events)


def test_what_is_newer_stops_only_who_reads_it(owner: Connection[Any], head: int) -> None:
    position = append(owner, "main/transactions/x", 1, "transaction.posted", b'{"class_version":99}')
    stretch = read_stretch(owner, ALL, 0, position)
    stopped = stretch.batch(PROJECTIONS["entries"])
    assert (stopped.upto, len(stopped.events)) == (position - 1, 19) and stopped.obstacle is not None
    passing = stretch.batch(PROJECTIONS["balances"])
    assert (passing.upto, passing.obstacle) == (position, None)
