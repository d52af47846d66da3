"""How the projections are divided among projectors."""

import pytest

from projections.registry import PROJECTIONS
from projections.running.shares import COSTS, READ_EVERYTHING, divided

NAMES = frozenset(PROJECTIONS)


@pytest.mark.parametrize("of", range(1, len(NAMES) + 1))
def test_each_projection_has_one_owner_and_no_share_is_empty(of: int) -> None:
    owners = divided(NAMES, of)
    assert owners.keys() == NAMES
    assert set(owners.values()) == set(range(of))


@pytest.mark.parametrize(("of", "most"), [(1, 100), (2, 55), (3, 40), (4, 35)])
def test_what_is_costly_is_divided_as_evenly_as_whole_projections_can_be(of: int, most: int) -> None:
    owners = divided(NAMES, of)
    costs = [sum(COSTS.get(name, 1) for name in NAMES if owners[name] == number) for number in range(of)]
    assert max(costs) <= most


@pytest.mark.parametrize("of", range(2, 8))
def test_one_share_reads_every_event(of: int) -> None:
    owners = divided(NAMES, of)
    assert len({owners[name] for name in READ_EVERYTHING}) == 1


def test_only_projections_that_there_are_have_costs() -> None:
    assert COSTS.keys() <= NAMES
    assert {name for name in NAMES if PROJECTIONS[name].all_events} == READ_EVERYTHING
