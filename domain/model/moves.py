"""Moves: a ledger goes from one installation to another while both serve.

The events say what happened to the ledger at each place. From the moment that its move is started until it arrives, no
installation records anything for it but these, so it is never written in two places. All are events of the ledger's own
stream, which is copied with the rest, but for `ArrivalBegun` and `ArrivalEnded`. Those belong to the installation that
takes the ledger in, and all events of the ledger between them are copies.
"""

from typing import ClassVar, Literal, NamedTuple

from domain.model.errors import LedgerError, LedgerMoved, LedgerMoving
from domain.model.events import Event, Recorded
from domain.model.ledgers import Ledger


class MoveStarted(Event):
    """Nothing more is recorded for the ledger here, so that the rest of it can be copied."""

    TOPIC: ClassVar[str] = "ledger.move_started"

    to_installation: str


class MoveCancelled(Event):
    """The move was given up before the ledger had left. It is written here again."""

    TOPIC: ClassVar[str] = "ledger.move_cancelled"

    to_installation: str


class Moved(Event):
    """The ledger has left for another installation, where all of it is.

    `events` is how many events it had, and `root` the root, in hex, of the tree of their hashes
    (domain/placement/digests.py). Both were the same in both places.
    """

    TOPIC: ClassVar[str] = "ledger.moved"

    to_installation: str
    events: int
    root: str


class ArrivalBegun(Event):
    """An installation begins to take a ledger in. Copies of its events follow, until it has arrived."""

    TOPIC: ClassVar[str] = "ledger.arrival_begun"

    ledger: str
    from_installation: str


class ArrivalEnded(Event):
    """No more copies follow: the ledger arrives with the next event."""

    TOPIC: ClassVar[str] = "ledger.arrival_ended"

    ledger: str
    from_installation: str


class Arrived(Event):
    """The ledger is here, and is written here from now on.

    `position` is the newest position that it had before, as it is shown. From now on an event is shown at its position
    in this journal plus `offset`, so that what is shown goes on rising.
    """

    TOPIC: ClassVar[str] = "ledger.arrived"

    from_installation: str
    position: int
    offset: int


OF_LEDGERS: tuple[type[Event], ...] = (MoveStarted, MoveCancelled, Moved, Arrived)
"""The events of a ledger's own stream."""

EVENTS: tuple[type[Event], ...] = (*OF_LEDGERS, ArrivalBegun, ArrivalEnded)


class Arrivals(NamedTuple):
    """What an installation has recorded of taking a ledger in, folded."""

    ledger: str
    from_installation: str
    version: int
    position: int


def evolve(state: Ledger | Arrivals | None, recorded: Recorded) -> Ledger | Arrivals:
    """Return a ledger, of which a move changes nothing, or the arrivals of one, after an event of the stream."""
    event = recorded.event
    if isinstance(event, ArrivalBegun | ArrivalEnded):
        return Arrivals(event.ledger, event.from_installation, recorded.version, recorded.position)
    assert isinstance(state, Ledger)
    return state._replace(version=recorded.version, position=recorded.position)


TOPICS_BEGIN = "ledger."
"""How the topics of all events begin that may change which ledgers are fenced."""

MoveState = Literal["leaving", "frozen", "left", "arriving", "here"]
"""Where a ledger stands that is moved, as one of the two installations sees it.

At the old one: it is copied and still written (`leaving`), not written any more (`frozen`), gone (`left`). At the new
one: it is being copied (`arriving`), or has arrived (`here`).
"""

FENCED: frozenset[MoveState] = frozenset({"frozen", "left", "arriving"})
"""The states in which an installation refuses every command for the ledger."""


class Fence(NamedTuple):
    """Why an installation records nothing for a ledger. `installation` is the other place of its move."""

    state: MoveState
    installation: str

    def refusal(self) -> LedgerError:
        """Return the refusal of a command for the ledger."""
        if self.state == "left":
            return LedgerMoved(self.installation)
        return LedgerMoving()


def offset_at(arrival: int, shown: int) -> int:
    """Return what is added to positions from an arrival on, for a ledger whose newest position is shown as `shown`."""
    return max(0, shown + 1 - arrival)
