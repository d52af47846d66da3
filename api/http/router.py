"""Finds the endpoint for a request: by path, then by method. HEAD works on every GET path (RFC 9110 §9.3.2).

A table of its own, because Allow must name all methods of a path, and because FastAPI's router would make a request
cost a tenth more.
"""

from collections.abc import Awaitable, Sequence
from re import Match

from starlette.types import ASGIApp, Receive, Scope, Send

from api.http.endpoint import Endpoint
from api.problems import MethodNotAllowed, PathNotFound
from domain.model.ids import canonical_id


class Router:
    """Hands each request to an endpoint: the first path that matches decides, then the method."""

    def __init__(self, endpoints: Sequence[Endpoint], otherwise: ASGIApp) -> None:
        """`otherwise` gets the requests whose path no endpoint has."""
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

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
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
                return endpoint.handle(scope, receive, send)
        return self._otherwise(scope, receive, send)


async def no_path(scope: Scope, receive: Receive, send: Send) -> None:
    """Raise `PathNotFound`: the end of the way for a path that nothing answers."""
    raise PathNotFound


def _named(found: Match[str]) -> tuple[str, dict[str, str]]:
    """Return the path and the names in it, with an id in its canonical form.

    So an id in capitals gives the same keyed request and the same list as the id in lower case.
    """
    path, names = found.string, found.groupdict()
    if (given := names.get("id")) is not None and (id := canonical_id(given)) != given:
        start, end = found.span("id")
        path, names["id"] = path[:start] + id + path[end:], id
    return path, names
