"""Runs contestants in turn, so that a disturbance of the machine affects all of them."""

import gc
from collections.abc import Callable, Sequence
from random import Random

from scripts.bench.report.figures import Contestant, Figures, Measurement


def measure(
    contestants: Sequence[Contestant],
    rounds: int,
    seconds: float,
    tell: Callable[[str], None],
    warm_up: float = 1.0,
    order: Random | None = None,
) -> list[Figures]:
    """Run every contestant once in each round, for about `seconds` each: in the given order, or in one drawn from
    `order` for each round, so that none always runs after the same other one.

    An uncounted run before the first round warms up and shows how much fits into that time, unless the contestant's
    rate is set. Every run then does the same amount, because a count also bounds the run of a machine that becomes
    slow. `warm_up` is the part of each contestant's warm-up that is run.
    """
    counts: dict[str, int] = {}
    for contestant in contestants:
        rate = contestant.rate
        if rate is None:
            tell(f"{contestant.name}: warming up")
            rate = _run(contestant, max(1, round(contestant.warm_up * warm_up))).rate
        counts[contestant.name] = max(1, min(contestant.most, round(rate * seconds)))
    readings: dict[str, list[Measurement]] = {contestant.name: [] for contestant in contestants}
    for number in range(1, rounds + 1):
        in_turn = order.sample(contestants, len(contestants)) if order else contestants
        for contestant in in_turn:
            tell(f"{contestant.name}: round {number} of {rounds}")
            readings[contestant.name].append(_run(contestant, counts[contestant.name]))
    return [Figures(name, unit, readings[name]) for name, unit, *_ in contestants]


def _run(contestant: Contestant, count: int) -> Measurement:
    gc.collect()  # no run pays for the garbage of another
    return contestant.run(count)
