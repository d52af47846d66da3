"""Examples of projections and dead letters."""

from typing import Any

from api.resources.examples import CORRELATION_ID, TIME

PROJECTION: dict[str, Any] = {
    "name": "balances",
    "version": 1,
    "state": "running",
    "position": 21,
    "head": 21,
    "lag_events": 0,
    "lag_seconds": 0.0,
    "rate_events_per_second": 120.5,
    "dead_letters": 0,
    "last_error": None,
    "oldest_dead_letter": None,
    "dead_letter_age_seconds": 0.0,
    "rebuild": None,
    "unread_versions": [],
    "controlled": None,
}

REBUILT_PROJECTION: dict[str, Any] = {
    **PROJECTION,
    "rebuild": {
        "version": 2,
        "state": "filling",
        "position": 7,
        "target": 21,
        "rate_events_per_second": 30000.0,
        "seconds_left": 0.0005,
        "started_at": TIME,
        "requested_at": TIME,
        "requested_by": "oncall",
        "reason": "an audit",
        "accept_difference": None,
        "accepted_by": None,
        "controlled_by": None,
        "control_reason": None,
        "last_error": None,
        "compared_position": None,
        "difference_expected": None,
        "comparison": None,
    },
    "unread_versions": [],
}

PAUSED_PROJECTION: dict[str, Any] = {
    **PROJECTION,
    "state": "paused",
    "controlled": {
        "state": "paused",
        "at": TIME,
        "by": "oncall",
        "reason": "maintenance",
        "correlation_id": CORRELATION_ID,
    },
}

DEAD_LETTER: dict[str, Any] = {
    "id": "9e107d9d-372b-4b6c-8a6a-1f0c7e2d5b3a",
    "projection": "balances",
    "projection_version": 1,
    "shape": 1,
    "state": "open",
    "stream": "main/accounts/users:alice:wallet",
    "stream_version": 7,
    "position": 19,
    "type": "account.changed",
    "schema_version": 1,
    "correlation_id": CORRELATION_ID,
    "actor": "shop",
    "exception": "Inconsistent",
    "message": "Inconsistent: main/accounts/users:alice:wallet is not at the version before event 19",
    "release": "0.1.0",
    "attempts": 3,
    "first_failed_at": TIME,
    "last_failed_at": TIME,
    "held_events": 2,
    "closed": None,
}

CLOSED_DEAD_LETTER: dict[str, Any] = {
    **DEAD_LETTER,
    "state": "discarded",
    "held_events": 0,
    "closed": {
        "at": TIME,
        "by": "oncall",
        "reason": "written by a test program, see incident 12",
        "correlation_id": CORRELATION_ID,
        "followed_by": None,
    },
}
