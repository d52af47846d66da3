"""The log of requests that were refused, failed or slow, bounded however many there are.

The first of each kind, caller and route is logged at once, with its path and correlation id. Whatever repeats it is
counted, and the count is logged once a minute. So a stranger without a key, or a client with the wrong one, cannot fill
the disk.
"""

import asyncio
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any, ClassVar

import structlog

MAX_WINDOWS = 1_000

_OTHERS = {"actor": "others"}

_log = structlog.get_logger(__name__)

Key = tuple[str, tuple[tuple[str, Any], ...]]


def _call_later(seconds: float, function: Callable[[], None]) -> None:
    asyncio.get_running_loop().call_later(seconds, function)


class _Window:
    """What was logged of one kind and caller since the first line, and how many requests were not."""

    def __init__(self, began_at: float) -> None:
        self.began_at = began_at
        self.routes: set[str] = set()
        self.times = 0


class RequestLog:
    """Logs for one API process, in its event loop."""

    seconds: ClassVar[float] = 60.0
    """How long what repeats a line is counted."""

    def __init__(
        self,
        clock: Callable[[], float] = monotonic,
        call_later: Callable[[float, Callable[[], None]], None] = _call_later,
    ) -> None:
        self._clock = clock
        self._call_later = call_later
        self._windows: dict[Key, _Window] = {}

    def note(self, event: str, facts: Mapping[str, Any], route: str, /, **details: Any) -> None:
        """Log a request, or count it if one with the same event, facts and route was logged shortly before.

        `facts` are few and say why and who. `details` are the request's own.
        """
        if len(self._windows) >= MAX_WINDOWS and (event, tuple(facts.items())) not in self._windows:
            facts = {**facts, **_OTHERS}
        key = event, tuple(facts.items())
        window = self._windows.get(key)
        if window is None or self._clock() >= window.began_at + self.seconds:
            self._end(key, window)
            window = self._windows[key] = _Window(self._clock())
            self._call_later(self.seconds, lambda: self._end(key, window))
        if route in window.routes:
            window.times += 1
            return
        window.routes.add(route)
        _log.warning(event, **facts, **details)

    def stop(self) -> None:
        """Log what was only counted so far."""
        for key, window in list(self._windows.items()):
            self._end(key, window)

    def _end(self, key: Key, window: _Window | None) -> None:
        """Log how many requests a window has counted, and forget it."""
        if window is None or self._windows.get(key) is not window:
            return
        del self._windows[key]
        if window.times:
            event, facts = key
            seconds = round(self._clock() - window.began_at, 1)
            _log.warning(event, **dict(facts), times=window.times, seconds=seconds)
