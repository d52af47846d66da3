"""Money: a decimal amount with its asset, turned into minor units and back exactly, or refused."""

import re
from contextlib import suppress
from dataclasses import dataclass
from decimal import Context, Decimal, Inexact, InvalidOperation
from typing import Self

from .errors import InexactAmount

MAX_MINOR_UNITS = 2**53 - 1
"""The largest amount of an entry, in minor units."""

_ASSET = re.compile(r"[A-Z][A-Z0-9_]{0,15}/(0|[1-9]|1[0-8])")
# Wide enough for the totals of a ledger; what would have to be rounded raises instead.
_EXACT = Context(prec=100, traps=[Inexact, InvalidOperation])


@dataclass(frozen=True, slots=True)
class Money:
    """An amount in major units, such as 10.50 dollars, with its asset, such as `USD/2`.

    Raises `InexactAmount` if the amount is a float or has more places than the asset.
    """

    amount: Decimal
    asset: str

    def __init__(self, amount: Decimal | int | str, asset: str) -> None:
        if not _ASSET.fullmatch(str(asset)):
            raise InexactAmount(f"{asset!r} is no asset such as USD/2")
        if isinstance(amount, float | bool):
            raise InexactAmount(f"{amount!r} is not exact: give a Decimal, an int or a str")
        object.__setattr__(self, "asset", asset)
        object.__setattr__(self, "amount", _with_places(amount, self.scale))

    @classmethod
    def of_minor_units(cls, minor_units: int | str, asset: str) -> Self:
        """Return the money that is so many minor units of an asset."""
        scale = cls(0, asset).scale
        return cls(Decimal(minor_units).scaleb(-scale, _EXACT), asset)

    @property
    def scale(self) -> int:
        """How many decimal places the asset has."""
        return int(self.asset.partition("/")[2])

    @property
    def minor_units(self) -> int:
        """The amount in minor units, as the API takes and gives it."""
        return int(self.amount.scaleb(self.scale, _EXACT))

    def __str__(self) -> str:
        return f"{self.amount} {self.asset.partition('/')[0]}"


def _with_places(amount: Decimal | int | str, scale: int) -> Decimal:
    with suppress(ArithmeticError, TypeError, ValueError):
        exact = Decimal(amount).quantize(Decimal(1).scaleb(-scale), context=_EXACT)
        if exact.is_finite():
            return exact or abs(exact)  # nothing has a sign
    raise InexactAmount(f"{amount} has no exact value with {scale} decimal places")
