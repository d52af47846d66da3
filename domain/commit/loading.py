"""Loading: brings the decider's aggregates up to date from the journal."""

from collections.abc import Sequence

from domain.commit.decider import Decider
from domain.journal.writer import JournalWriter
from domain.model.commands import Command

MAX_CATCH_UP_EVENTS = 5_000
MAX_CATCH_UP_BYTES = 16 * 1024**2
"""Events of others that take more are not read: the aggregates that are needed are loaded again instead."""


def catch_up(decider: Decider, head: int, connection: JournalWriter) -> None:
    """Apply to the known aggregates what others appended up to the head. The caller holds the head's lock."""
    known = decider.position
    if head == known:
        return
    is_short = head - known <= MAX_CATCH_UP_EVENTS
    rows = connection.between(known, head, MAX_CATCH_UP_BYTES) if is_short else []
    if rows and rows[-1][4] == head:
        decider.apply(rows, head)
    else:
        decider.forget_all(head)


def load_needed(
    decider: Decider, commands: Sequence[Command], needed: set[str], connection: JournalWriter
) -> None:
    """Load the streams that the commands name, then those that follow from these, which are added to `needed`."""
    _load(decider, needed, connection)
    needed |= decider.following_streams(commands)
    _load(decider, needed, connection)


def _load(decider: Decider, streams: set[str], connection: JournalWriter) -> None:
    if missing := decider.missing(streams):
        decider.learn(missing, connection.load(missing))
