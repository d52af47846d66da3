"""Shapes of load: which accounts pay which, and how many of the payments are first held.

Some are shapes that other ledgers publish (yardsticks/peers.py). Accounts are numbered. A world or a bank comes first.
"bounded" is the uniform shape among as many further accounts, numbered after all others, with a limited overdraft.
"""

from collections.abc import Callable, Mapping
from functools import cache
from itertools import accumulate
from random import Random
from typing import NamedTuple

WORLD, BANK = 0, 1
HOT_ACCOUNTS = 10
YCSB_EXPONENT = 0.99
"""The exponent of YCSB: of 10,000 accounts, the first takes part in a fifth of all transfers."""

CONTENTION_EXPONENTS = (0, 0.5, 1, 1.5)
"""How much some accounts are preferred: from not at all, to one account in more than half of all transfers."""

Pick = Callable[[Random, int], tuple[int, int]]
"""Chooses the account debited and another account credited, by number, of `accounts` accounts."""


class Shape(NamedTuple):
    """Who pays whom. `two_phase_percent` of the payments are holds, settled or voided at once."""

    pick: Pick
    two_phase_percent: int = 0


def _uniform(random: Random, accounts: int) -> tuple[int, int]:
    debited, credited = random.sample(range(accounts), 2)
    return debited, credited


def _hot_account(random: Random, accounts: int) -> tuple[int, int]:
    return 0, random.randrange(1, accounts)


def _hot_set(random: Random, accounts: int) -> tuple[int, int]:
    hot = min(HOT_ACCOUNTS, accounts - 1)
    return random.randrange(hot), random.randrange(hot, accounts)


def _zipfian(exponent: float) -> Pick:
    """Return the choice of accounts by popularity: the account of rank r is chosen in proportion to 1 / r^exponent."""

    def pick(random: Random, accounts: int) -> tuple[int, int]:
        numbers, weights = _popularity(accounts, exponent)
        while True:
            debited, credited = random.choices(numbers, cum_weights=weights, k=2)
            if debited != credited:
                return debited, credited

    return pick


@cache
def _popularity(accounts: int, exponent: float) -> tuple[list[int], list[float]]:
    """Return the accounts, most popular first, and the cumulative sums of their weights.

    Popular accounts have random numbers, so that they are not neighbours in the index.
    """
    numbers = list(range(accounts))
    Random(0).shuffle(numbers)
    return numbers, list(accumulate(1 / rank**exponent for rank in range(1, accounts + 1)))


def contention(exponent: float) -> str:
    """Return the name of the shape that prefers accounts with this exponent."""
    return f"contention-{exponent:g}"


def _world_to_bank(random: Random, accounts: int) -> tuple[int, int]:
    return WORLD, BANK


def _world_to_any(random: Random, accounts: int) -> tuple[int, int]:
    return WORLD, random.randrange(BANK + 1, accounts)


def _bounded(random: Random, accounts: int) -> tuple[int, int]:
    debited, credited = _uniform(random, accounts)
    return accounts + debited, accounts + credited


def _any_to_bank(random: Random, accounts: int) -> tuple[int, int]:
    return random.randrange(BANK + 1, accounts), BANK


SHAPES: Mapping[str, Shape] = {
    "uniform": Shape(_uniform),
    "hot": Shape(_hot_account),
    "hot-set": Shape(_hot_set),
    "zipfian": Shape(_zipfian(YCSB_EXPONENT)),
    **{contention(exponent): Shape(_zipfian(exponent)) for exponent in CONTENTION_EXPONENTS},
    "two-phase": Shape(_uniform, 30),
    "world-to-bank": Shape(_world_to_bank),
    "world-to-any": Shape(_world_to_any),
    "any-to-bank": Shape(_any_to_bank),
    "bounded": Shape(_bounded),
}
"""Every shape by its name."""
