"""Which projections are filled together when they are rebuilt together."""

import pytest

from projections.engine.projection import Projection
from projections.rebuilding.division import MANY_WORKERS, grouped
from projections.registry import PROJECTIONS

SIZES = {"transactions": 50, "entries": 40, "balances": 10, "event_index": 20}


def names_of(groups: list[list[Projection]]) -> list[set[str]]:
    return [{projection.name for projection in group} for group in groups]


def topics_of(group: list[Projection]) -> set[str]:
    return {topic for one in group for topic in (*one.topics, *one.non_initial_topics)}


LARGEST = {"transactions", "entries", "due"}
OTHERS = {"balances", "ledgers", "payouts"}
OF_ALL_EVENTS = {"event_index", "seals", "outbox"}


def test_those_that_read_the_same_are_filled_together_and_the_largest_apart_from_the_others() -> None:
    assert names_of(grouped(PROJECTIONS.values(), SIZES, 3)) == [LARGEST, OTHERS, OF_ALL_EVENTS]


def test_there_are_no_more_groups_than_few_workers() -> None:
    assert names_of(grouped(PROJECTIONS.values(), SIZES, 2)) == [LARGEST, OTHERS | OF_ALL_EVENTS]
    assert names_of(grouped(PROJECTIONS.values(), SIZES, 1)) == [LARGEST | OTHERS | OF_ALL_EVENTS]


def test_those_that_cannot_be_divided_are_each_alone_if_there_are_many_workers() -> None:
    assert names_of(grouped(PROJECTIONS.values(), SIZES, MANY_WORKERS))[2:] == [
        {"event_index"},
        {"seals"},
        {"outbox"},
    ]


@pytest.mark.parametrize("name", PROJECTIONS)
def test_one_projection_is_one_group(name: str) -> None:
    assert names_of(grouped([PROJECTIONS[name]], {}, 2)) == [{name}]


@pytest.mark.parametrize("workers", [1, 2, 3, 8])
def test_each_is_in_one_group_and_no_event_of_streams_is_decoded_in_two(workers: int) -> None:
    groups = grouped(PROJECTIONS.values(), {}, workers)
    assert sorted(one.name for group in groups for one in group) == sorted(PROJECTIONS)
    topics = [topics_of(group) for group in groups]
    assert sum(map(len, topics)) == len(set().union(*topics))
