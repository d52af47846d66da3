"""Denials, read from the metrics."""

from api.console.denials import Denials, denials_in
from api.service.families import Seen
from api.service.figures import Figures
from api.service.metrics import Metrics


def test_denials_are_counted_by_route_and_the_most_frequent_comes_first() -> None:
    metrics = Metrics()
    seen = {
        ("/v1/a", 401): 2,
        ("/v1/a", 403): 1,
        ("/v1/b", 403): 4,
        ("/v1/c", 200): 9,
        ("/console/b", 403): 4,
    }
    for (route, status), times in seen.items():
        for _ in range(times):
            metrics.request("GET", route, status, 0.001)
    found = denials_in(metrics.page([Seen(None, Figures(), is_ready=True)]).decode())
    assert found == [Denials("GET /v1/b", 0, 4), Denials("GET /v1/a", 2, 1)]
