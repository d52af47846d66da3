"""Examples of a key and of an installation."""

from typing import Any

from api.resources.examples import KEY_ID, TIME

KEY_REQUEST: dict[str, Any] = {"name": "shop", "roles": ["client"], "ledgers": ["main"]}

NEW_KEY: dict[str, Any] = {"id": KEY_ID, **KEY_REQUEST, "key": "tk_…"}

ROTATION: dict[str, Any] = {"overlap_seconds": 3600}

KEY: dict[str, Any] = {
    "id": KEY_ID,
    **KEY_REQUEST,
    "created_at": TIME,
    "valid_until": None,
    "created_by": "bootstrap",
    "revoked_at": None,
    "revoked_by": None,
    "state": "active",
}

INSTALLATION: dict[str, Any] = {
    "name": "main",
    "is_home": True,
    "is_ready": True,
    "reason": None,
    "head": 21,
    "ledgers": 1,
    "migration": "0021_placements",
}
