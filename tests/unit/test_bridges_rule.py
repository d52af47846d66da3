"""The rule of bridges: given what was read of two ledgers, then they agree or differ by so much."""

import pytest

from projections.audit.bridges import Crossing, Imbalance, Side, imbalances, is_sent_at

SENT = Side("east", "west", "USD/2", -40)
RECEIVED = Side("west", "east", "USD/2", 40)


def crossing(*, is_received: bool, is_sent: bool, amount: int = 40) -> Crossing:
    return Crossing("east", "west", "USD/2", amount, is_received=is_received, is_sent=is_sent)


def test_at_rest_the_two_sides_cancel_out() -> None:
    assert imbalances([SENT, RECEIVED], []) == []
    assert imbalances([], []) == []


@pytest.mark.parametrize(
    ("sides", "under_way"),
    [
        ([], crossing(is_received=False, is_sent=False)),
        ([RECEIVED], crossing(is_received=True, is_sent=False)),
        ([SENT], crossing(is_received=False, is_sent=True)),
        ([SENT, RECEIVED], crossing(is_received=True, is_sent=True)),
    ],
)
def test_what_is_under_way_is_no_difference_whichever_side_was_read_first(
    sides: list[Side], under_way: Crossing
) -> None:
    assert imbalances(sides, [under_way]) == []


def test_what_neither_side_nor_a_bridge_explains_is_a_difference() -> None:
    pair = ("east", "west")
    assert imbalances([RECEIVED], []) == [Imbalance(pair, "USD/2", 40)]
    assert imbalances([SENT], []) == [Imbalance(pair, "USD/2", -40)]
    doubled = RECEIVED._replace(balance=80)
    assert imbalances([SENT, doubled], [crossing(is_received=True, is_sent=True)]) == [
        Imbalance(pair, "USD/2", 40)
    ]


def test_each_pair_and_asset_is_judged_by_itself() -> None:
    euros = RECEIVED._replace(asset="EUR/2")
    north = Side("north", "east", "USD/2", 7)
    assert imbalances([SENT, RECEIVED, euros, north], []) == [
        Imbalance(("east", "north"), "USD/2", 7),
        Imbalance(("east", "west"), "EUR/2", 40),
    ]


@pytest.mark.parametrize(
    ("head", "is_sent"), [(9, False), (10, True), (11, True), (19, True), (20, False), (25, True)]
)
def test_the_sender_s_entry_counts_from_its_position_on(head: int, is_sent: bool) -> None:
    """An operator who resolves a contradiction may reverse it, and post it again."""
    assert is_sent_at([("completed", 10), ("failed", 20), ("completed", 25)], head) is is_sent


def test_a_bridge_that_failed_or_has_not_ended_was_not_sent() -> None:
    assert not is_sent_at([("failed", 10)], 30)
    assert not is_sent_at([], 30)
