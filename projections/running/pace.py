"""The pace of a projection: how many events it takes at once, and how long it lets events collect between batches."""

from projections.engine.batches import MAX_BATCH_BYTES, EventBatch
from projections.engine.projection import Projection

MAX_BATCH_EVENTS = 5_000
FIRST_BATCH_EVENTS = 500

# Small batches cost more per event than large ones, so events are collected for a moment. The longer moment applies
# when many events come: otherwise a projector that follows each of them takes as much of the machine as the writers
# (measured at 4,000 transfers/s: a fifth less for projector and database together), and the lag is at most this long.
# It also applies when none of the last events concerned the projection.
LINGER_SECONDS = 0.01
LONG_LINGER_SECONDS = 0.1
BUSY_EVENTS_PER_SECOND = 3_000


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


def linger_seconds(projection: Projection, batch: EventBatch, rate_events_per_second: float) -> float:
    """Return how long to let events collect after a batch that reached the head of the journal."""
    may_be_long = rate_events_per_second > BUSY_EVENTS_PER_SECOND or not batch.events
    return max(LONG_LINGER_SECONDS if may_be_long else LINGER_SECONDS, projection.linger_seconds)
