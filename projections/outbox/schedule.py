"""When an attempt is made again, and when no more: decided from what became of the last one.

The waits are those that Standard Webhooks recommends, given as multiples of the first so that all can be shortened
together. They reach over three and a half days.
"""

import random
from typing import NamedTuple

FIRST_WAIT_SECONDS = 5.0
WAITS = (1, 60, 360, 1_440, 3_600, 7_200, 10_080, 14_400, 17_280)
"""5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h, 24 h: after the first attempt, the second, and so on."""

# Receivers that broke together are not to be asked together.
JITTER = 0.1

LONGEST_RETRY_AFTER_SECONDS = 24 * 60 * 60.0


class AttemptAnswer(NamedTuple):
    """What became of an attempt: the status, or the reason why there is none.

    `is_in_doubt` tells that the receiver may have taken it all the same: no answer came to what was, or may have been,
    sent. `retry_after_seconds` is what the receiver asks for.
    """

    status: int | None
    reason: str | None = None
    is_in_doubt: bool = False
    retry_after_seconds: float | None = None

    @property
    def is_acknowledged(self) -> bool:
        """Whether the receiver has taken it over: any status of success."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def is_gone(self) -> bool:
        """Whether the receiver wants no more of this webhook."""
        return self.status == 410


class Schedule(NamedTuple):
    """The waits between attempts, from the first one on."""

    first_wait_seconds: float = FIRST_WAIT_SECONDS

    def wait_seconds(self, failures: int, answer: AttemptAnswer, chance: random.Random) -> float | None:
        """Return how long to wait after a failure that is the n-th in a row, None if it was the last attempt.

        The receiver can ask for more time, a day at most, and not for less.
        """
        if failures > len(WAITS):
            return None
        planned = self.first_wait_seconds * WAITS[failures - 1] * chance.uniform(1 - JITTER, 1 + JITTER)
        return max(planned, min(answer.retry_after_seconds or 0.0, LONGEST_RETRY_AFTER_SECONDS))
