"""Examples of a ledger."""

from typing import Any

from api.resources.examples import TIME

LEDGER_REQUEST: dict[str, Any] = {"name": "main", "metadata": {}}

LEDGER: dict[str, Any] = {
    "name": "main",
    "metadata": {},
    "assets": ["USD/2"],
    "version": 2,
    "position": 3,
    "opened_at": TIME,
}
