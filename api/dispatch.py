"""Which endpoint answers a request: by path, then by method.

A table of its own, because Allow has to name all methods of a path, and because FastAPI's router, which is left what
no endpoint is for, makes a request cost a tenth more.
"""

from collections.abc import Sequence

from starlette.types import ASGIApp, Receive, Scope, Send

from api.endpoint import Endpoint
from api.problems import MethodNotAllowed


class Dispatch:
    """Hands each request to its endpoint, the first whose path and method match."""

    def __init__(self, endpoints: Sequence[Endpoint], otherwise: ASGIApp) -> None:
        """`otherwise` gets the paths that no endpoint is for."""
        self._endpoints = [
            (endpoint.path_regex.fullmatch, endpoint.declared.method, endpoint) for endpoint in endpoints
        ]
        self._otherwise = otherwise

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or raise `MethodNotAllowed`."""
        path, method = scope["path"], scope["method"]
        allowed = set()
        for match, of_method, endpoint in self._endpoints:
            if found := match(path):
                scope["route"] = endpoint
                if of_method == method:
                    scope["path_params"] = found.groupdict()
                    await endpoint.handle(scope, receive, send)
                    return
                allowed.add(of_method)
        if allowed:
            raise MethodNotAllowed(headers={"Allow": ", ".join(sorted(allowed))})
        await self._otherwise(scope, receive, send)
