"""The rule of bridges: what two ledgers say of each other cancels out, but for what is under way.

Two ledgers may be in two databases, which cannot be read at one instant. So their accounts are read first, each with
the head of its journal, then the bridges that may have been under way meanwhile. Of each of these, its events tell
whether the receiver's entry and the sender's are among those of the account that was read: they are if they stand at or
before the head that was read with it. Every other bridge has both its entries in the accounts, or neither.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Side(NamedTuple):
    """What a ledger says that another one owes it, debits − credits, in minor units: negative if it owes the other."""

    ledger: str
    other: str
    asset: str
    balance: int


class Crossing(NamedTuple):
    """A bridge that may have been under way, and which of its entries are in the accounts that were read."""

    sender: str
    receiver: str
    asset: str
    amount: int
    is_received: bool
    is_sent: bool


class Imbalance(NamedTuple):
    """Two ledgers that do not agree: by how much what they say differs from what is under way between them."""

    ledgers: tuple[str, str]
    asset: str
    difference: int


def imbalances(sides: Iterable[Side], crossings: Iterable[Crossing]) -> list[Imbalance]:
    """Return the pairs of ledgers, and the assets, whose accounts do not cancel out. A side that is missing is 0."""
    found: Counter[tuple[tuple[str, str], str]] = Counter()
    for side in sides:
        found[_pair(side.ledger, side.other), side.asset] += side.balance
    for crossing in crossings:
        under_way = crossing.amount * (crossing.is_received - crossing.is_sent)
        found[_pair(crossing.sender, crossing.receiver), crossing.asset] -= under_way
    return [Imbalance(*of, difference) for of, difference in sorted(found.items()) if difference]


def is_sent_at(ends: Sequence[tuple[str, int]], head: int) -> bool:
    """Tell whether the sender's entry was among those up to `head`.

    `ends` are the ends that were recorded of a payout, `completed` or `failed`, each with its position, in order.
    """
    known = [end for end, position in ends if position <= head]
    return bool(known) and known[-1] == "completed"


def _pair(one: str, other: str) -> tuple[str, str]:
    return min(one, other), max(one, other)
