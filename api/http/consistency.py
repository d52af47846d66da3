"""The consistency that each route guarantees (api/README.md, Consistency), and the `Prefer` header.

A read of a projection may be stale. It says how stale it is, and a request can name the position that it must reflect.
"""

import re
from enum import Enum
from typing import NamedTuple

DEFAULT_WAIT_SECONDS = 5.0
MAX_WAIT_SECONDS = 30.0


class Consistency(Enum):
    """The classes of consistency. The value is the guarantee in words."""

    LINEARIZABLE = "reads and decides on the journal itself: every write acknowledged before is seen"
    PROJECTION = (
        "reads a projection: at least up to min_position if the request names one, else up to Ledger-Position"
    )
    JOURNAL = (
        "reads the journal in the order of positions: complete up to the position that the answer states"
    )
    CHOSEN = "linearizable, or a read of the projection if the request has consistency=eventual"
    PROCESS = "about the service itself, not about a ledger"

    @property
    def described(self) -> dict[str, str]:
        """The class and its guarantee, as the OpenAPI document shows them."""
        return {"class": self.name.lower(), "guarantee": self.value}


class Prefer(NamedTuple):
    """The preferences understood here (RFC 7240)."""

    wait_seconds: float = DEFAULT_WAIT_SECONDS
    respond_async: bool = False


_WAIT = re.compile(r'\s*wait\s*=\s*"?(-?\d{1,9}(?:\.\d{1,9})?)"?\s*(?:;.*)?', re.IGNORECASE)

_ASYNC = re.compile(r"respond-async\s*(?:;.*)?", re.IGNORECASE)


def preferences(header: bytes | None) -> Prefer:
    """Return the preferences. Unknown ones are ignored (RFC 7240 §2); the first `wait` counts."""
    if header is None:
        return Prefer()
    named = [preference.strip() for preference in header.decode("latin-1").split(",")]
    waits = [float(found[1]) for preference in named if (found := _WAIT.fullmatch(preference))]
    wait_seconds = min(max(waits[0], 0.0), MAX_WAIT_SECONDS) if waits else DEFAULT_WAIT_SECONDS
    return Prefer(wait_seconds, any(_ASYNC.fullmatch(preference) for preference in named))
