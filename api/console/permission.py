"""What a key may do, as the routes of the API declare it. The console greys what is refused, and says why."""

from collections.abc import Mapping

from api.http.declaration import Concerns
from api.http.endpoint import Endpoint
from api.resources import ENDPOINTS
from api.security.keys import Key

_BY_ROUTE: Mapping[tuple[str, str], Endpoint] = {
    (endpoint.declared.method, endpoint.declared.path): endpoint for endpoint in ENDPOINTS
}


def endpoint_of(method: str, route: str) -> Endpoint:
    """Return the endpoint of a route, such as `POST`, `/v1/dead-letters/{id}/retry`."""
    return _BY_ROUTE[method, route]


def has_route(method: str, route: str) -> bool:
    """Return whether the API has a route."""
    return (method, route) in _BY_ROUTE


def why_not(caller: Key, method: str, route: str, ledger: str | None = None) -> str | None:
    """Return why a key may not use a route, None if nothing speaks against it. `ledger` is the one in the path.

    The API has the last word: it also judges the ledgers of a thing that only its record names.
    """
    declared = endpoint_of(method, route).declared
    if declared.roles.isdisjoint(caller.roles):
        has, needs = " and ".join(caller.roles), " or ".join(sorted(declared.roles))
        return f"Your key has the role {has}. This needs the role {needs}."
    if declared.concerns is Concerns.LEDGER and ledger is not None and not caller.may_use(ledger):
        return f"Your key was not granted the ledger {ledger}."
    if declared.concerns is Concerns.EVERY and caller.granted is not None:
        return "This concerns every ledger, and your key was granted only some."
    return None
