"""The installation that a request names, and the words for one that it does not name rightly."""

from collections.abc import Mapping
from typing import Any

from api.http.spanning.spans import Spans
from api.problems import InvalidShape
from api.service.installations import Installations
from api.service.service import Service

POINTER = "?installation"


def places_of(cursor: Any, installations: Installations) -> Mapping[str, Any]:
    """Return the places in the installations that a cursor names. One from before the placement names home's alone."""
    known = dict(installations.all())
    named = cursor if isinstance(cursor, dict) else {installations.home.name: cursor}
    return {name: place for name, place in named.items() if name in known}


def chosen(installations: Installations, name: str, spans: Spans) -> Service:
    """Return the installation that a request names, home if it names none.

    Raises `InvalidShape` if there is none of this name. Raises it too if none is named, there are several, and the
    route demands that one is named.
    """
    names = ", ".join(name for name, _ in installations.all())
    if name:
        try:
            return installations.named(name)
        except KeyError:
            raise InvalidShape([(POINTER, f"must be one of {names}")]) from None
    if spans is Spans.NAMED and len(installations.all()) > 1:
        raise InvalidShape([(POINTER, f"is missing; it is one of {names}")])
    return installations.home
