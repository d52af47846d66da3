"""Stretches of the journal: read once for several projections, whole or in parts that make up the whole."""

from typing import Any

import pytest
from psycopg import Connection

from domain.journal.database import Database
from projections.engine import batches
from projections.engine.batches import WHOLE, Part, read_batch, read_stretch
from projections.registry import PROJECTIONS
from projections.running import dead_letter_decisions as verdicts
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


@pytest.mark.parametrize("part", [WHOLE, Part(0, 2), Part(1, 2)])
@pytest.mark.parametrize("most_bytes", [1, 2_000, 5_000])
def test_a_stretch_ends_with_the_event_that_makes_it_too_large(
    owner: Connection[Any], head: int, part: Part, most_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = [event.row for event in read_stretch(owner, ALL, 0, head, part).events]
    monkeypatch.setattr(batches, "MAX_BATCH_BYTES", most_bytes)
    found, after = [], 0
    while after < head:
        stretch = read_stretch(owner, ALL, after, head, part)
        rows = [event.row for event in stretch.events]
        assert stretch.obstacle is None and sum(len(row[3]) for row in rows[:-1]) < most_bytes
        assert stretch.upto == head or stretch.upto == rows[-1][4] < head
        found += rows
        after = stretch.upto
    assert found == whole


def test_a_stretch_that_is_too_large_ends_before_a_gap_or_says_nothing_of_it(
    owner: Connection[Any], head: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    delete_event(owner, head - 3)
    monkeypatch.setattr(batches, "MAX_BATCH_BYTES", 1)
    stretch = read_stretch(owner, ALL, 0, head)
    assert (stretch.upto, stretch.obstacle) == (1, None)
    before_gap = read_stretch(owner, ALL, head - 4, head)
    assert before_gap.upto == head - 4 and before_gap.obstacle is not None


def test_what_does_not_fit_is_not_fetched(owner: Connection[Any]) -> None:
    large = b'{"class_version":1,"data":"%s"}' % (b"x" * 1024**2)
    for number in range(40):
        append(owner, f"main/transactions/{number}", 1, "transaction.unheard_of", large)
    stretch, after, counts = read_stretch(owner, ALL, 0, 40), 0, []
    while stretch.events:
        counts.append(len(stretch.events))
        after = stretch.upto
        stretch = read_stretch(owner, ALL, after, 40)
    assert (counts, after) == ([16, 16, 8], 40)


def test_what_is_held_of_a_stream_is_read_by_and_by(
    owner: Connection[Any], head: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = verdicts._Stream(owner, PROJECTIONS["balances"], 1, "main/accounts/a", head)
    whole = stream._rows(0)
    assert len(whole) == 20
    monkeypatch.setattr(verdicts, "MAX_BATCH_BYTES", 1)
    found, after = [], 0
    while rows := stream._rows(after):
        assert len(rows) == 1
        found += rows
        after = rows[-1][1]
    assert found == whole
