"""An account's limits as a bar: how far the balance is from them, and how much of it is held."""

from collections.abc import Mapping
from typing import Any, NamedTuple

WIDTH = 1000


class Bar(NamedTuple):
    """The bar as it is drawn, from left to right in its own units. A limit that is not set has no place."""

    zero: float
    least: float | None
    most: float | None
    available: float
    balance: float


def drawn(account: Mapping[str, Any]) -> Bar:
    """Return the bar of an account."""
    least, most = account["min_balance"], account["max_balance"]
    balance, available = account["balance"], account["available"]
    figures: list[int] = [0, balance, available, *(limit for limit in (least, most) if limit is not None)]
    low, high = min(figures), max(figures)
    # A side without a limit is open: what is drawn does not end at its last figure.
    room = max(high - low, 8) // 8
    low, high = low - (room if least is None else 0), high + (room if most is None else 0)

    def place(figure: int) -> float:
        return round((figure - low) / (high - low or 1) * WIDTH, 1)

    return Bar(
        place(0),
        None if least is None else place(least),
        None if most is None else place(most),
        place(available),
        place(balance),
    )
