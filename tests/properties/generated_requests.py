"""Random requests to a ledger that are likely to meet: few names, small amounts, and names from earlier requests."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol, TypeVar

from hypothesis import strategies as st

from domain.commit.decider import Result
from domain.model.money import MAX_AMOUNT
from tests.properties.requests import (
    Change,
    Complete,
    Expire,
    Keyed,
    Leg,
    Open,
    OpenBook,
    Post,
    Request,
    Reverse,
    SetStatus,
    Settle,
    Void,
)

T = TypeVar("T")


class Draw(Protocol):
    """Draws from a strategy, in a strategy or in a test."""

    def __call__(self, strategy: st.SearchStrategy[T], /) -> T: ...


DOLLARS = ["a", "b", "users:c", "users:d"]
EUROS = ["users:c:eur", "users:d:eur"]
ADDRESSES = DOLLARS + EUROS
LATE = "late"
"""An address that has no account at first. A ledger that is not open at first has the same name."""
BOOKS = ["main", "other"]

books = st.sampled_from(["main"] * 20 + ["other", "other", LATE])
addresses = st.sampled_from(ADDRESSES * 3 + [LATE])
opened = st.sampled_from([DOLLARS] * 8 + [EUROS, EUROS, ADDRESSES])
versions = st.sampled_from([None] * 9 + [1, 2, 3])
sides = st.sampled_from(["debit", "credit"])
assets = st.sampled_from(["USD/2"] * 6 + ["EUR/2", "USD/3"])
metadata = st.sampled_from([{}, {"customer": "42"}, {"customer": "ü€😀"}])
limits = st.none() | st.none() | st.integers(-30, 30) | st.sampled_from([-MAX_AMOUNT, MAX_AMOUNT])


def _is_in_order(asked: dict[str, Any]) -> bool:
    floor, ceiling = asked.get("floor"), asked.get("ceiling")
    return floor is None or ceiling is None or floor <= ceiling


changes: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {}, optional={"floor": limits, "ceiling": limits, "notes": metadata}
).filter(_is_in_order)
"""Changes of an account. When both limits are given, the API checks their order."""
statuses = st.sampled_from(["open", "open", "open", "frozen", "frozen", "closed"])
small_amounts = st.integers(1, 40)
large_amounts = st.sampled_from([MAX_AMOUNT // 2, MAX_AMOUNT - 1, MAX_AMOUNT])
amounts = small_amounts | small_amounts | small_amounts | large_amounts
waits = st.integers(1, 30)

KINDS = st.sampled_from(
    ["posting"] * 4
    + ["hold"] * 5
    + ["acceptance", "complete", "expire"] * 2
    + ["settle"] * 5
    + ["void", "reverse", "reverse", "again", "again", "reuse"] * 2
    + ["open", "change", "change", "status", "status", "open book"]
)


@st.composite
def first_openings(draw: st.DrawFn, book: str, address: str) -> Open:
    """An account to begin with, on which something can happen."""
    minimum = draw(st.none() | st.none() | st.none() | st.integers(-100, 0))
    maximum = draw(st.none() | st.none() | st.none() | st.integers(0, 100))
    asset = "EUR/2" if address in EUROS else "USD/2"
    return Open(book, address, asset, draw(sides), minimum, maximum, draw(metadata))


@st.composite
def openings(draw: st.DrawFn, book: str, address: str) -> Open:
    minimum, maximum = draw(limits), draw(limits)
    if minimum is not None and maximum is not None:
        minimum, maximum = sorted((minimum, maximum))
    return Open(book, address, draw(assets), draw(sides), minimum, maximum, draw(metadata))


@st.composite
def transfers(draw: st.DrawFn, amounts: st.SearchStrategy[int]) -> list[Leg]:
    """Pairs of a debit and a credit of the same amount. They balance if the accounts have the same asset."""
    legs: list[Leg] = []
    for _ in range(draw(st.sampled_from([1, 1, 1, 2, 3]))):
        amount, among = draw(amounts), st.sampled_from(draw(opened))
        legs += [(draw(among), "debit", amount), (draw(among), "credit", amount)]
    return draw(st.permutations(legs))


@st.composite
def splits(draw: st.DrawFn) -> list[Leg]:
    """One side against two to five parts of it."""
    parts = draw(st.lists(small_amounts, min_size=2, max_size=4))
    if draw(st.booleans()):
        parts.append(MAX_AMOUNT - sum(parts))
    (one, other), among = draw(st.permutations(["debit", "credit"])), st.sampled_from(draw(opened))
    return [(draw(among), one, sum(parts)), *((draw(among), other, part) for part in parts)]


unrelated = st.lists(st.tuples(addresses, sides, amounts), min_size=2, max_size=6)
few_legs = transfers(small_amounts)
legs: st.SearchStrategy[list[Leg]] = st.integers(0, 19).flatmap(
    lambda n: {0: unrelated, 1: transfers(amounts), 2: splits()}.get(n, few_legs)
)


@st.composite
def parts(draw: st.DrawFn, held: Sequence[Leg]) -> list[Leg]:
    """Entries to settle a hold with: all, or pairs of its entries of either side. Rarely ones it does not have."""
    debits, credits = ([leg for leg in held if leg[1] == side] for side in ("debit", "credit"))
    how = draw(st.sampled_from(["all", "pairs", "pairs", "pairs", "unrelated"]))
    if how == "all" or not (debits and credits):
        return list(held)
    if how == "unrelated":
        return draw(legs)
    chosen: list[Leg] = []
    for _ in range(draw(st.integers(1, 2))):
        one, other = draw(st.sampled_from(debits)), draw(st.sampled_from(credits))
        amount = draw(st.integers(1, min(one[2], other[2]) + 1))
        chosen += [(*one[:2], amount), (*other[:2], amount)]
    return chosen


class Asked:
    """The requests so far. Draws the next one.

    If answers depend on the order of concurrent requests, the draws must not depend on the answers. `answered` is not
    called then, and more requests name things that were never made.
    """

    def __init__(self) -> None:
        self.keyed: list[Keyed] = []
        self.later: list[Post] = []
        self.holds: list[Post] = []
        """Requests that made a hold, or may have until they are answered."""
        self.moving: list[Post | Settle | Reverse] = []
        """Requests that moved money, or may have until they are answered."""

    def draw(self, draw: Draw, now: int) -> Request:
        """Draw a request and remember it."""
        kind = draw(KINDS)
        request = self._unkeyed(draw, kind) or self._keyed(draw, kind, now)
        if isinstance(request, Keyed):
            self.keyed.append(request)
        made = request.request if isinstance(request, Complete) else request
        if made is request and isinstance(made, Post) and made.later:
            self.later.append(made)
        elif isinstance(made, Post) and made.pending:
            self.holds.append(made)
        elif isinstance(made, Post | Settle | Reverse):
            self.moving.append(made)
        return request

    def answered(self, request: Request, result: Result) -> None:
        """Note a request's outcome, so that later requests mostly name things that exist."""
        if isinstance(result, Exception) or result.is_refused:
            self.forget(request)

    def forget(self, request: Request) -> None:
        """Note that a request has made nothing."""
        made = request.request if isinstance(request, Complete) else request
        self.later = [known for known in self.later if known is not made]
        self.holds = [known for known in self.holds if known is not made]
        self.moving = [known for known in self.moving if known is not made]

    def _unkeyed(self, draw: Draw, kind: str) -> Request | None:
        book = draw(books)
        match kind:
            case "open book":
                return OpenBook(book, draw(st.sampled_from([{}, {}, {"name": "other"}])))
            case "open":
                return draw(openings(book, draw(addresses)))
            case "change":
                return Change(book, draw(addresses), draw(changes), draw(versions))
            case "status":
                return SetStatus(book, draw(addresses), draw(statuses), draw(versions))
            case "complete" if self.later:
                return Complete(_recent(draw, self.later))
            case "expire" if self.holds:
                hold = _recent(draw, self.holds)
                return Expire(hold.book, hold.key)
        return None

    def _keyed(self, draw: Draw, kind: str, now: int) -> Keyed:
        key = f"key-{len(self.keyed)}"
        match kind:
            case "again" if self.keyed:
                again = _recent(draw, self.keyed)
                return replace(again, later=draw(st.booleans())) if isinstance(again, Post) else again
            case "reuse" if self.keyed:
                known = _recent(draw, self.keyed)
                return replace(self._keyed(draw, "settle", now), book=known.book, key=known.key)
            case "settle" if self.holds:
                hold, book = self._named(draw, self.holds)
                how = draw(st.sampled_from(["whole", "amount", "legs", "legs"]))
                amount = draw(small_amounts) if how == "amount" else None
                chosen = tuple(draw(parts(hold.legs))) if how == "legs" and isinstance(hold, Post) else None
                return Settle(book, key, hold.key, amount, chosen)
            case "void" if self.holds:
                hold, book = self._named(draw, self.holds)
                return Void(book, key, hold.key)
            case "reverse" if self.moving:
                named, book = self._named(draw, self.moving)
                amount = draw(st.none() | small_amounts)
                return Reverse(book, key, named.key, amount, draw(st.none() | st.integers(0, 1000)))
        return self._posting(draw, key, kind, now)

    def _named(self, draw: Draw, usual: Sequence[Any]) -> tuple[Keyed, str]:
        """Draw the thing a request names, and the book in which it looks for it, mostly the right one."""
        named: Keyed = _recent(draw, usual if draw(st.integers(0, 9)) else self.keyed)
        return named, named.book if draw(st.integers(0, 19)) else draw(books)

    def _posting(self, draw: Draw, key: str, kind: str, now: int) -> Post:
        pending = kind == "hold" or draw(st.integers(0, 1 if kind == "acceptance" else 3)) == 0
        return Post(
            draw(books),
            key,
            tuple(draw(legs)),
            pending,
            draw(st.none() | st.integers(now, now + 40)) if pending else None,
            draw(st.none() | st.integers(0, 1000)),
            draw(st.sampled_from(["", "order-1"])),
            kind == "acceptance",
        )


def _recent(draw: Draw, known: Sequence[T]) -> T:
    """Draw one of the known things, mostly a recent one."""
    reach = len(known) if draw(st.integers(0, 3)) == 0 else min(len(known), 5)
    return known[-1 - draw(st.integers(0, reach - 1))]
