"""The entries of a transaction, as a caller writes them."""

from dataclasses import dataclass
from typing import Literal

from .errors import InexactAmount
from .money import MAX_MINOR_UNITS, Money

Direction = Literal["debit", "credit"]
Amount = int | Money
"""Minor units of the account's asset, or money, whose asset must be the account's."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One side of a transaction: an amount debited or credited to an account."""

    account: str
    direction: Direction
    amount: int
    asset: str | None = None
    """The asset that the caller named. None if the amount was given in minor units."""

    @property
    def body(self) -> dict[str, object]:
        """The entry as the API takes it."""
        return {"account": self.account, "direction": self.direction, "amount": self.amount}


def debit(account: str, amount: Amount) -> Entry:
    """Return an entry that debits an account. Raises `InexactAmount` for an amount that the API cannot take."""
    return _entry(account, "debit", amount)


def credit(account: str, amount: Amount) -> Entry:
    """Return an entry that credits an account. Raises `InexactAmount` for an amount that the API cannot take."""
    return _entry(account, "credit", amount)


def _entry(account: str, direction: Direction, amount: Amount) -> Entry:
    return Entry(
        account, direction, minor_units_of(amount), amount.asset if isinstance(amount, Money) else None
    )


def minor_units_of(amount: Amount) -> int:
    """Return an amount in minor units. Raises `InexactAmount` if it is not one of 1 … 2^53−1."""
    minor_units = amount.minor_units if isinstance(amount, Money) else amount
    if type(minor_units) is not int or not 1 <= minor_units <= MAX_MINOR_UNITS:
        raise InexactAmount(f"{amount!r} is not an amount: give 1 to {MAX_MINOR_UNITS} minor units, or money")
    return minor_units
