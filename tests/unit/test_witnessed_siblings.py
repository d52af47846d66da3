"""Which installations of a placement one of them witnesses."""

from collections import Counter

import pytest

from domain.journal.database import Database
from domain.placement.installations import Installation
from scripts.serving.serve import MAX_WITNESSED_SIBLINGS, witnessed_by


@pytest.mark.parametrize("count", [1, 2, 3, 5, 6, 40])
def test_each_is_witnessed_by_as_many_others_and_never_by_itself(count: int) -> None:
    placed = [Installation(f"i{number}", Database("postgresql://x", f"s{number}")) for number in range(count)]
    witnessed = {own.name: witnessed_by(own, placed) for own in placed}
    assert all(own not in {other.name for other in others} for own, others in witnessed.items())
    times = Counter(other.name for others in witnessed.values() for other in others)
    expected = min(count - 1, MAX_WITNESSED_SIBLINGS)
    assert {times[own.name] for own in placed} == {expected}
    assert all(len({*others}) == expected for others in witnessed.values())
