"""The tail of the journal: one read for all projections gives each the same as its own read."""

from typing import Any

import psycopg
import pytest
from psycopg import Connection

from domain.journal.database import Database
from projections.engine import batches
from projections.engine import recent_events as tails
from projections.engine.batches import read_batch
from projections.engine.recent_events import RecentEvents
from projections.registry import PROJECTIONS
from tests.ledgers import open_accounts, outcomes, running, transfer
from tests.projecting import append, delete_event

pytestmark = pytest.mark.integration


@pytest.fixture
def head(database: Database) -> int:
    """A journal of some 60 events. Returns the newest position."""
    with running(database) as ledger:
        open_accounts(ledger, "a", "b")
        outcomes(ledger.execute(*(transfer("a", "b", amount) for amount in range(1, 20))).result())
        return ledger.head()


@pytest.mark.parametrize("name", PROJECTIONS)
def test_a_batch_is_what_the_projection_would_have_read_itself(
    name: str, database: Database, owner: Connection[Any], head: int
) -> None:
    tail, projection = RecentEvents(), PROJECTIONS[name]
    for after, upto in ((0, 5), (5, 20), (20, 21), (21, head), (7, 30), (0, head)):
        assert tail.batch(owner, projection, after, upto) == read_batch(owner, projection, after, upto)


def test_events_are_read_once_for_all(database: Database, owner: Connection[Any], head: int) -> None:
    tail = RecentEvents()
    first = tail.batch(owner, PROJECTIONS["entries"], 0, head)
    with psycopg.connect(database.url) as elsewhere:
        elsewhere.close()
        # Nothing is left to read, so even a closed connection works.
        again = tail.batch(elsewhere, PROJECTIONS["entries"], 0, head)
    assert first is not None and again is not None
    assert all(one is other for one, other in zip(first.events, again.events, strict=True))


SHARES = (("entries",), ("balances",), ("due", "ledgers"), ("transactions", "payouts"), ("outbox", "entries"))


@pytest.mark.parametrize("names", SHARES)
def test_a_share_fetches_what_its_own_read(
    names: tuple[str, ...], database: Database, owner: Connection[Any], head: int
) -> None:
    tail = RecentEvents()
    tail.serve(PROJECTIONS[name] for name in names)
    for after, upto in ((1, 5), (5, 20), (20, 21), (21, head - 1), (head - 1, head)):
        for name, projection in PROJECTIONS.items():
            batch = tail.batch(owner, projection, after, upto)
            if name in names:
                assert batch == read_batch(owner, projection, after, upto)
            elif not {"outbox", "transactions"} & {*names}:  # which read what others read
                assert batch is None


def test_a_share_that_changes_fetches_what_its_new_one_reads(
    database: Database, owner: Connection[Any], head: int
) -> None:
    tail = RecentEvents()
    for names in (("entries",), ("entries", "balances"), ("balances",)):
        tail.serve(PROJECTIONS[name] for name in names)
        for name in names:
            found = tail.batch(owner, PROJECTIONS[name], head - 10, head)
            assert found in (None, read_batch(owner, PROJECTIONS[name], head - 10, head))
        position = append(owner, f"main/x/{'-'.join(names)}", 1, "future.event", b"{}")
        for name in names:
            found = tail.batch(owner, PROJECTIONS[name], position - 1, position)
            assert found == read_batch(owner, PROJECTIONS[name], position - 1, position)


def test_a_share_ends_where_a_command_ends_and_sees_a_gap(
    database: Database, owner: Connection[Any], head: int
) -> None:
    tail, whole = RecentEvents(), RecentEvents()
    tail.serve([PROJECTIONS["entries"]])
    for upto in range(2, head):
        assert tail.last_whole(owner, 1, upto) == whole.last_whole(owner, 1, upto)
    delete_event(owner, head)  # of an account, which this share does not fetch
    far = RecentEvents()
    far.serve([PROJECTIONS["entries"]])
    assert far.batch(owner, PROJECTIONS["entries"], head - 5, head) is None


def test_who_lags_behind_what_is_kept_reads_for_itself(
    database: Database, owner: Connection[Any], head: int
) -> None:
    tail, projection = RecentEvents(max_events=10), PROJECTIONS["balances"]
    assert tail.batch(owner, projection, head - 20, head) is None
    assert tail.batch(owner, projection, head - 10, head) is not None
    assert tail.batch(owner, projection, head - 11, head) is None
    far = RecentEvents()
    assert far.batch(owner, projection, head - 5, head) is not None
    assert far.batch(owner, projection, 0, 5) is None


def test_a_gap_is_left_to_who_can_name_it(database: Database, owner: Connection[Any], head: int) -> None:
    delete_event(owner, head - 3)
    tail, projection = RecentEvents(), PROJECTIONS["balances"]
    assert tail.batch(owner, projection, head - 10, head) is None
    assert tail.batch(owner, projection, head - 10, head - 4) is not None


def test_what_cannot_be_read_is_told_of_and_what_is_newer_stops_who_reads_it(
    database: Database, owner: Connection[Any], head: int
) -> None:
    append(owner, "main/transactions/x", 1, "transaction.posted", b"no event")
    append(owner, "main/transactions/y", 1, "transaction.unheard_of", b"no event")
    append(owner, "main/transactions/z", 1, "transaction.posted", b'{"class_version":99,"data":{}}')
    tail = RecentEvents()
    stopped = tail.batch(owner, PROJECTIONS["entries"], 0, head + 3)
    assert stopped is not None and stopped.upto == head + 2 and stopped.obstacle is not None
    assert [position for position, _ in stopped.unreadable] == [head + 1]
    passing = tail.batch(owner, PROJECTIONS["balances"], 0, head + 3)
    assert passing is not None and passing.upto == head + 3
    assert (passing.obstacle, passing.unreadable) == (None, ())


def test_what_is_too_large_is_read_by_and_by(
    database: Database, owner: Connection[Any], head: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (batches, tails):
        monkeypatch.setattr(module, "MAX_BATCH_BYTES", 2_000)
    tail, projection, after, ends = RecentEvents(), PROJECTIONS["event_index"], 0, []
    while after < head:
        batch = tail.batch(owner, projection, after, head)
        assert batch == read_batch(owner, projection, after, head)
        after = batch.upto
        ends.append(after)
    assert len(ends) > 5 and ends[-1] == head
