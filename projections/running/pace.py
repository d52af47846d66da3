"""The pace of a projection: how many events it takes at once, and how long it lets events collect between batches."""

from projections.engine.batches import MAX_BATCH_BYTES, EventBatch
from projections.engine.projection import Projection

MAX_BATCH_EVENTS = 5_000
FIRST_BATCH_EVENTS = 500

# A batch costs some milliseconds of the processors, however few events it has. So events are collected for a moment:
# for the shorter one if somebody waits for the rows. At 500 transfers/s the longer one takes a third of the processor
# time. The more events come, the longer they collect, up to the longer one: otherwise a projector that follows each of
# them takes as much of the machine as the writers. The lag is at most this long, and what a batch takes. With half as
# long again, turns hold the processors for so long that the slowest answers over HTTP take twice as long.
LINGER_SECONDS = 0.005
LONG_LINGER_SECONDS = 0.08
LAG_SECONDS = 0.095
"""How long events that nobody waits for collect, and are written, at least. So whoever writes them in a moment, such as
one of several projectors, has fewer turns. The lag is that of the slowest, which this does not change."""

JOIN_SECONDS = 0.02
"""Whoever is due so soon advances with others that are due. Else one who was waited for keeps a rhythm of its own."""

BUSY_EVENTS_PER_SECOND = 3_000
"""From this rate on, events collect for the longer moment even if somebody waits for the rows."""

HEAR_SECONDS = 0.025
"""How often announcements are heard while events collect. Hearing each by itself takes 50 µs."""

WANTED_SECONDS = 1.0
"""For how long the rows of a projection count as waited for after somebody has said so."""

ACTED_ON = ("due", "payouts")
"""Projections on whose rows a process manager acts. It does not say that it waits."""


class BatchSize:
    """How many events a batch may have: twice as many after each success, half as many after each failure."""

    def __init__(self) -> None:
        self.events = FIRST_BATCH_EVENTS
        self._before = self.events

    def attempt(self) -> None:
        """Halve it in advance: if the advance takes so long that the place is lost, the next batch is smaller."""
        self._before, self.events = self.events, max(1, self.events // 2)

    def succeed(self, stored_bytes: int) -> None:
        """Note that the batch was written. A large one is halved, so that it takes no longer the next time."""
        is_large = stored_bytes > MAX_BATCH_BYTES
        self.events = max(1, self._before // 2) if is_large else min(2 * self._before, MAX_BATCH_EVENTS)


def linger_seconds(
    projection: Projection, batch: EventBatch, *, took_seconds: float, is_wanted: bool
) -> float:
    """Return how long to let events collect, from when a batch was begun that reached the head of the journal.

    `took_seconds` is how long it took to write the batch.
    """
    if not is_wanted and not (projection.name in ACTED_ON and batch.events):
        return max(LONG_LINGER_SECONDS, LAG_SECONDS - took_seconds)
    shortest_seconds = max(LINGER_SECONDS, projection.linger_seconds)
    # By what this batch had, not by an average: whoever waits just after a busy moment need not wait for long.
    return min(
        LONG_LINGER_SECONDS, max(shortest_seconds, (batch.upto - batch.after) / BUSY_EVENTS_PER_SECOND)
    )
