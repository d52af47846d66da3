"""How many requests were denied, read from the service's metrics. Who they were stands only in the log. Pure.

A page of the console that was denied is counted once, under the route of the API that it asked.
"""

import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

_COUNT = re.compile(
    r'^tallystick_http_request_seconds_count\{method="(\w+)",route="([^"]*)",status="(401|403)"\} (\S+)$',
    re.MULTILINE,
)


class Denials(NamedTuple):
    """How often requests for a route were denied since the processes started: without a valid key, or not allowed."""

    route: str
    without_key: int
    not_allowed: int


def denials_in(metrics: str) -> Sequence[Denials]:
    """Return the denials that a page of metrics counts, the most frequent first."""
    counts = Counter[tuple[str, str]]()
    for method, route, status, count in _COUNT.findall(metrics):
        if not route.startswith("/console/"):
            counts[f"{method} {route}", status] += int(float(count))
    routes = {route for route, _ in counts}
    found = [Denials(route, counts[route, "401"], counts[route, "403"]) for route in routes]
    return sorted(found, key=lambda each: (-each.without_key - each.not_allowed, each.route))
