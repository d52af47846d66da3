"""Strategies for what people ask of a ledger: few names and small amounts, so that requests meet each other."""

from hypothesis import strategies as st

from domain.money import MAX_AMOUNT
from tests.properties.book_model import Leg

ADDRESSES = ["a", "b", "users:c", "users:d"]
LATE = "late"
"""An address at which no account is open in the beginning."""

addresses = st.sampled_from([*ADDRESSES, LATE])
opened = st.sampled_from(ADDRESSES)
sides = st.sampled_from(["debit", "credit"])
assets = st.sampled_from(["USD/2"] * 6 + ["EUR/2", "USD/3"])
metadata = st.sampled_from([{}, {"customer": "42"}, {"customer": "ü€😀"}])
limits = st.none() | st.none() | st.integers(-30, 30) | st.sampled_from([-MAX_AMOUNT, MAX_AMOUNT])
small_amounts = st.integers(1, 40)
large_amounts = st.sampled_from([MAX_AMOUNT // 2, MAX_AMOUNT - 1, MAX_AMOUNT])
amounts = small_amounts | small_amounts | small_amounts | large_amounts


@st.composite
def openings(draw: st.DrawFn) -> tuple[str, str, int | None, int | None, dict[str, str]]:
    """The attributes of an account to open: asset, normal side, minimum, maximum, metadata."""
    minimum, maximum = draw(limits), draw(limits)
    if minimum is not None and maximum is not None:
        minimum, maximum = sorted((minimum, maximum))
    return draw(assets), draw(sides), minimum, maximum, draw(metadata)


@st.composite
def transfers(draw: st.DrawFn, amounts: st.SearchStrategy[int]) -> list[Leg]:
    """Pairs of one debit and one credit of the same amount: balanced, if the accounts agree on the asset."""
    legs: list[Leg] = []
    for _ in range(draw(st.integers(1, 3))):
        amount = draw(amounts)
        legs += [(draw(opened), "debit", amount), (draw(opened), "credit", amount)]
    return draw(st.permutations(legs))


@st.composite
def splits(draw: st.DrawFn) -> list[Leg]:
    """One side against two to five parts of it."""
    parts = draw(st.lists(small_amounts, min_size=2, max_size=4))
    if draw(st.booleans()):
        parts.append(MAX_AMOUNT - sum(parts))
    one, other = draw(st.permutations(["debit", "credit"]))
    return [(draw(opened), one, sum(parts)), *((draw(opened), other, part) for part in parts)]


unrelated = st.lists(st.tuples(addresses, sides, amounts), min_size=2, max_size=6)
legs: st.SearchStrategy[list[Leg]] = (
    transfers(amounts) | transfers(amounts) | transfers(amounts) | splits() | unrelated
)
