"""Which endpoint answers a request: by path, then by method. HEAD is answered wherever GET is (RFC 9110 §9.3.2).

A table of its own, because Allow has to name all methods of a path, and because FastAPI's router, which is left what
no endpoint is for, makes a request cost a tenth more.
"""

from collections.abc import Sequence
from re import Match

from starlette.types import ASGIApp, Receive, Scope, Send

from api.http.endpoint import Endpoint
from api.problems import MethodNotAllowed
from domain.model.ids import canonical_id


class Router:
    """Hands each request to its endpoint: of the first path that matches, the one for its method."""

    def __init__(self, endpoints: Sequence[Endpoint], otherwise: ASGIApp) -> None:
        """`otherwise` gets the paths that no endpoint is for."""
        by_path: dict[str, dict[str, Endpoint]] = {}
        for endpoint in endpoints:
            by_method = by_path.setdefault(endpoint.path, {})
            by_method[endpoint.declared.method] = endpoint
            if endpoint.declared.method == "GET":
                by_method["HEAD"] = endpoint
        self._paths = [
            (next(iter(by_method.values())).path_regex.fullmatch, by_method) for by_method in by_path.values()
        ]
        self._otherwise = otherwise

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or raise `MethodNotAllowed`."""
        path = scope["path"]
        for match, by_method in self._paths:
            if found := match(path):
                endpoint = by_method.get(scope["method"])
                if endpoint is None:
                    scope["route"] = next(iter(by_method.values()))
                    raise MethodNotAllowed(headers={"Allow": ", ".join(sorted(by_method))})
                scope["route"] = endpoint
                scope["path"], scope["path_params"] = _named(found)
                await endpoint.handle(scope, receive, send)
                return
        await self._otherwise(scope, receive, send)


def _named(found: Match[str]) -> tuple[str, dict[str, str]]:
    """Return the path and the names in it, an id in the one way in which it is written here.

    So whatever is told apart by path (keyed requests, lists) is the same for an id in capitals.
    """
    path, names = found.string, found.groupdict()
    if (given := names.get("id")) is not None and (id := canonical_id(given)) != given:
        start, end = found.span("id")
        path, names["id"] = path[:start] + id + path[end:], id
    return path, names
