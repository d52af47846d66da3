"""Announcements of read models: a process manager looks when one comes, and when the time for its next look has come.

A look takes several round trips, and most looks at fixed intervals find nothing.
"""

import threading
from time import monotonic
from typing import Any

from psycopg import Connection

_STOP_WITHIN_SECONDS = 0.2


def wait_until_told(connection: Connection[Any], stop: threading.Event, seconds: float) -> None:
    """Wait until something is announced on a channel of the connection, `stop` is set, or the time is over."""
    until = monotonic() + seconds
    while not stop.is_set() and (left := until - monotonic()) > 0:
        announced = list(connection.notifies(timeout=min(left, _STOP_WITHIN_SECONDS), stop_after=1))
        if announced:
            return
