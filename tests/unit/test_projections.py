"""The parts of projections that need no database: their SQL, rates, words."""

import re

import pytest

from domain.journal.queries import Query
from domain.model import accounts, ledgers, moves, transactions
from domain.model.payouts import payout
from domain.model.registry import EVENT_TYPES
from domain.model.transactions import TransactionAccepted
from projections.engine.comparison import TableComparison
from projections.engine.projection import Projection, directed, versioned
from projections.engine.rate import Rate
from projections.read_models.entries import StatementEntry, StatementPlace
from projections.read_models.transaction_list import Span
from projections.registry import PROJECTIONS

ALL = pytest.mark.parametrize("projection", PROJECTIONS.values(), ids=list(PROJECTIONS))


@ALL
def test_each_version_has_tables_of_its_own(projection: Projection) -> None:
    for version in (1, 12):
        queries = projection.queries(version)
        assert {"create_tables", "create_indexes"} <= queries.keys()
        made = re.findall(r"CREATE TABLE (\S+) ", queries["create_tables"])
        assert made == projection.table_names(version)
        assert all(table.endswith(f"_v{version}") for table in made)
        for text in queries.values():
            assert ":version" not in text
            assert set(re.findall(r"_v(\d+)", text)) <= {str(version)}


def test_a_version_is_a_number() -> None:
    with pytest.raises(ValueError, match="format"):
        versioned("projections.read_models.entries", "1; DROP TABLE events")


@ALL
def test_the_events_that_are_read_have_topics_of_the_journal(projection: Projection) -> None:
    assert [EVENT_TYPES[topic] for topic in projection.topics] == list(projection.events)


def test_no_event_of_an_aggregate_is_left_out_of_its_list() -> None:
    assert set(PROJECTIONS["balances"].events) == set(accounts.EVENTS)
    assert set(PROJECTIONS["ledgers"].events) == {*ledgers.EVENTS, *moves.OF_LEDGERS}
    assert set(PROJECTIONS["payouts"].events) == set(payout.EVENTS)
    # An accepted request is no transaction yet.
    assert {*PROJECTIONS["transactions"].events, TransactionAccepted} == set(transactions.EVENTS)


def test_spans_of_positions_have_their_overlap_in_common() -> None:
    assert Span().within(Span(3, 9)) == Span(3, 9)
    assert Span(3, 9).within(Span(low=5)) == Span(5, 9)
    assert Span(3, 9).within(Span(high=5)) == Span(3, 5)


def test_a_direction_is_that_of_the_sort_and_of_what_lies_beyond() -> None:
    query = Query("a :beyond 1 ORDER BY a :order")
    assert directed(query, descending=False) == "a > 1 ORDER BY a ASC"
    assert directed(query, descending=True) == "a < 1 ORDER BY a DESC"


class Clock:
    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def test_a_steady_rate_is_shown_from_the_first_measurement() -> None:
    clock = Clock()
    rate = Rate(5.0, clock)
    assert rate.events_per_second == 0
    for _ in range(50):
        clock.seconds += 0.5
        assert rate.measure(1000) == pytest.approx(2000)
    assert rate.events_per_second == pytest.approx(2000)


def test_a_rate_follows_the_last_moments_and_counts_waiting() -> None:
    clock = Clock()
    rate = Rate(5.0, clock)
    clock.seconds += 1
    rate.measure(1000)
    clock.seconds += 50
    assert rate.measure(50) == pytest.approx(1, rel=0.01)
    rate.measure(0)  # within the same instant
    assert rate.events_per_second == pytest.approx(1, rel=0.01)


def test_a_comparison_says_in_words_what_was_compared() -> None:
    equal = TableComparison("entries_v1", "entries_v2", 7, 7, "123", "123")
    assert equal.equal
    assert "entries_v1 and entries_v2 are equal: 7 rows" in str(equal)
    assert "123" in str(equal)
    for differs in (
        equal._replace(rebuilt_rows=8, differing=("only in the rebuilt version: (1,2)",)),
        equal._replace(rebuilt_checksum="124", differing=("only in the rebuilt version: (1,2)",)),
    ):
        assert not differs.equal
        assert "differ" in str(differs)
        assert "(1,2)" in str(differs)


def test_an_entry_stands_at_a_place_by_each_clock() -> None:
    entry = StatementEntry(
        account="a",
        position=9,
        entry=2,
        transaction_id="t",
        kind="posting",
        direction="debit",
        amount=5,
        change=-5,
        balance_after=-5,
        effective_at="2026-01-01T00:00:00.000000Z",
        recorded_at="2026-02-02T00:00:00.000000Z",
        reference="",
    )
    assert entry.place("recorded") == StatementPlace("2026-02-02T00:00:00.000000Z", 9, 2)
    assert entry.place("effective") == StatementPlace("2026-01-01T00:00:00.000000Z", 9, 2)
