"""What the examples of all resources share. Together they tell one small story."""

from typing import Any

TIME = "2026-11-23T20:00:00.000000Z"
TRANSACTION_ID = "9d0a2b9f-54a1-5a0c-9a3f-6b1f5e1c7d42"
CORRELATION_ID = "8a6e0804-2bd0-4672-b79d-d97027f9071a"
KEY_ID = "6f9619ff-8b86-4d01-b42d-00cf4fc964ff"


def page_of(item: dict[str, Any]) -> dict[str, Any]:
    """Return the last page of a list with one item."""
    return {"data": [item], "next_cursor": None}
