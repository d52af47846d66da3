"""Bodies of requests with several entries, and the relations of a transaction that has none."""

from typing import Any

UNRELATED: dict[str, Any] = {
    "settles": None,
    "voids": None,
    "reverses": None,
    "settled_by": None,
    "voided_by": None,
    "reversed_by": [],
}


def parts(*parts: tuple[str, str, int]) -> dict[str, Any]:
    """A body with entries."""
    return {"entries": [{"account": a, "direction": d, "amount": n} for a, d, n in parts]}


SPLIT = parts(("a", "debit", 10), ("b", "credit", 7), ("c", "credit", 3))
