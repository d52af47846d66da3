"""What a payer learns of a provider by calling it, and whom it then asks early."""

import pytest

from domain.model.times import Instant, later
from projections.process_managers import provider_health
from projections.process_managers.provider_health import MARGIN_SECONDS, Callee, ProviderHealth

NOW = "2026-11-23T20:00:00.000000Z"
SOON = later(NOW, MARGIN_SECONDS)


class Clock:
    """A clock that a test sets."""

    now = NOW

    def __call__(self) -> Instant:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def health(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> ProviderHealth:
    """A provider that is silent with the first call that it does not answer, and is asked again without a pause."""
    monkeypatch.setattr(provider_health, "SILENT_AFTER_SECONDS", 0.0)
    monkeypatch.setattr(provider_health, "FIRST_PAUSE_SECONDS", 0.0)
    return ProviderHealth(Callee("bank"), clock)


def look(health: ProviderHealth, found: int, *, is_all: bool, position: int = 7, head: int = 7) -> None:
    """Look in a read model that has reached the head, unless a test says otherwise."""
    health.looked(found, is_all=is_all, position=position, head=head)


def ask_early(health: ProviderHealth, *ids: str, is_answered: bool, is_all: bool = False) -> None:
    look(health, len(ids), is_all=is_all)
    for id in ids:
        if is_answered:
            health.answered()
        else:
            health.did_not_answer("no")
        health.let_go(id, is_answered=is_answered)


def test_nobody_is_asked_early_of_one_that_answers(health: ProviderHealth) -> None:
    assert health.early is None
    health.answered()
    assert health.early is None
    assert not health.is_silent


def test_of_a_silent_one_each_is_asked_in_turn_and_one_at_a_time(health: ProviderHealth) -> None:
    health.did_not_answer("no")
    assert health.is_silent
    turns = []
    for id in ("a", "b", "c", "a", "b"):
        early = health.early
        assert early is not None and (early.since, early.most) == (SOON, 1)
        turns.append((id, sorted(early.excluding)))
        look(health, 1, is_all=False)
        assert health.early is None, "one at a time"
        health.did_not_answer("no")
        health.let_go(id, is_answered=False)
        if id == "c":
            look(health, 0, is_all=True)
    assert turns == [("a", []), ("b", ["a"]), ("c", ["a", "b"]), ("a", []), ("b", ["a"])]


def test_all_are_asked_once_it_answers_again(health: ProviderHealth, clock: Clock) -> None:
    health.did_not_answer("no")
    ask_early(health, "a", is_answered=True)
    early = health.early
    assert early is not None and (early.since, early.most, early.excluding) == (SOON, None, frozenset())
    ask_early(health, "b", "c", is_answered=True, is_all=False)
    clock.now = SOON
    look(health, 0, is_all=True)
    assert health.early is None


def most(health: ProviderHealth) -> int | None:
    early = health.early
    assert early is not None
    return early.most


def test_those_whose_answer_was_lost_have_another_round(
    health: ProviderHealth, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provider_health, "SILENT_AFTER_SECONDS", 3600.0)
    health.begin()
    clock.now = SOON
    ask_early(health, "a", is_answered=False)
    assert most(health) == 1
    ask_early(health, "b", is_answered=True)
    assert most(health) is None
    look(health, 0, is_all=True)
    assert health.early is not None, "a is asked again"
    ask_early(health, "a", is_answered=True)
    look(health, 0, is_all=True)
    assert health.early is None


def test_a_round_that_gains_nothing_is_the_last(
    health: ProviderHealth, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A payout that the provider never answers about is not asked for ever, while it answers about others."""
    monkeypatch.setattr(provider_health, "SILENT_AFTER_SECONDS", 3600.0)
    health.begin()
    clock.now = SOON
    ask_early(health, "poison", is_answered=False)
    health.answered()
    look(health, 0, is_all=True)
    assert health.early is None


def test_a_round_ends_only_when_each_was_let_go(health: ProviderHealth, clock: Clock) -> None:
    health.begin()
    clock.now = SOON
    look(health, 1, is_all=True)
    health.answered()
    assert health.early is not None
    health.let_go("a", is_answered=True)
    look(health, 0, is_all=True)
    assert health.early is None


def test_rounds_go_on_until_the_read_model_shows_what_was_recorded_before(
    health: ProviderHealth, clock: Clock
) -> None:
    health.begin()
    clock.now = SOON
    look(health, 0, is_all=True, position=3, head=7)
    assert health.early is not None
    look(health, 0, is_all=True, position=6, head=9)
    assert health.early is not None
    look(health, 0, is_all=True, position=7, head=9)
    assert health.early is None


def test_rounds_go_on_while_something_may_be_dated_before_they_began(
    health: ProviderHealth, clock: Clock
) -> None:
    """Whoever had the place before may just be recording a long pause."""
    health.begin()
    for _ in range(3):
        look(health, 0, is_all=True)
        assert health.early is not None
    clock.now = SOON
    look(health, 0, is_all=True)
    assert health.early is None
