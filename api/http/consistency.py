"""What a route guarantees about what it shows, declared once for each route (DESIGN.md, Consistency).

A read of a projection may be stale, but says how stale, and can be told which position it has to reflect.
"""

import re
from enum import Enum
from typing import NamedTuple

DEFAULT_WAIT_SECONDS = 5.0
MAX_WAIT_SECONDS = 30.0


class Consistency(Enum):
    """The classes of consistency; the value is the guarantee in words."""

    LINEARIZABLE = "reads and decides on the journal itself: every write acknowledged before is seen"
    PROJECTION = (
        "reads a projection: at least min_position if that is given, else whatever Ledger-Position states"
    )
    JOURNAL = "reads the journal in the order of its positions: complete up to what the answer states"
    CHOSEN = "linearizable, unless consistency=eventual asks for the projection"
    PROCESS = "tells of the service itself, not of a ledger"

    @property
    def described(self) -> dict[str, str]:
        """The class as the document shows it."""
        return {"class": self.name.lower(), "guarantee": self.value}


class Prefer(NamedTuple):
    """What a Prefer header asks for that is understood here (RFC 7240)."""

    wait_seconds: float = DEFAULT_WAIT_SECONDS
    respond_async: bool = False


_WAIT = re.compile(r'\s*wait\s*=\s*"?(-?\d{1,9}(?:\.\d{1,9})?)"?\s*(?:;.*)?', re.IGNORECASE)

_ASYNC = re.compile(r"respond-async\s*(?:;.*)?", re.IGNORECASE)


def preferences(header: bytes | None) -> Prefer:
    """Return the preferences; what is not understood is ignored, as RFC 7240 §2 has it. The first wait counts."""
    if header is None:
        return Prefer()
    named = [preference.strip() for preference in header.decode("latin-1").split(",")]
    waits = [float(found[1]) for preference in named if (found := _WAIT.fullmatch(preference))]
    wait_seconds = min(max(waits[0], 0.0), MAX_WAIT_SECONDS) if waits else DEFAULT_WAIT_SECONDS
    return Prefer(wait_seconds, any(_ASYNC.fullmatch(preference) for preference in named))
