"""Amounts and assets.

Amounts are whole minor units within ±(2^53−1), so that they are exact in every client, including JavaScript (RFC 8259
§6; api/README.md, Conventions).
"""

import re
from typing import Literal

Direction = Literal["debit", "credit"]

MAX_AMOUNT = 2**53 - 1
MAX_SCALE = 18
ASSET_PATTERN = r"^[A-Z][A-Z0-9_]{0,15}/(?:[0-9]|1[0-8])$"

_ASSET = re.compile(ASSET_PATTERN[1:-1])


def is_asset(text: str) -> bool:
    """Tell whether the text is an asset: a code and its scale, such as `USD/2`."""
    return _ASSET.fullmatch(text) is not None


def split_asset(asset: str) -> tuple[str, int]:
    """Return the code of an asset and its scale, the number of decimal digits of its minor unit."""
    code, scale = asset.split("/")
    return code, int(scale)
