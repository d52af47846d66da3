"""When an attempt is repeated, and when no more, depending on how the last one ended.

The waits are those that Standard Webhooks recommends. They are multiples of the first wait, so that all can be
shortened together. In total they last over three and a half days.
"""

import random
from typing import NamedTuple

FIRST_WAIT_SECONDS = 5.0
WAITS = (1, 60, 360, 1_440, 3_600, 7_200, 10_080, 14_400, 17_280)
"""5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h, 24 h: the waits after the first attempt, the second, and so on."""

# Receivers that broke at the same time should not be tried again at the same time.
JITTER = 0.1

LONGEST_RETRY_AFTER_SECONDS = 24 * 60 * 60.0


class AttemptAnswer(NamedTuple):
    """How an attempt ended: the HTTP status, or the reason why there is none.

    `is_in_doubt` means that the receiver may have the message although no answer came. `retry_after_seconds` is the
    wait that the receiver asks for.
    """

    status: int | None
    reason: str | None = None
    is_in_doubt: bool = False
    retry_after_seconds: float | None = None

    @property
    def is_acknowledged(self) -> bool:
        """Whether the receiver has accepted the message: any 2xx status."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def is_gone(self) -> bool:
        """Whether the receiver wants no more messages of this webhook (410)."""
        return self.status == 410


class Schedule(NamedTuple):
    """The waits between attempts, as multiples of the first."""

    first_wait_seconds: float = FIRST_WAIT_SECONDS

    def wait_seconds(self, failures: int, answer: AttemptAnswer, chance: random.Random) -> float | None:
        """Return the wait in seconds after the n-th failure in a row, None if that was the last attempt.

        The receiver can ask for a longer wait, up to a day, but not for a shorter one.
        """
        if failures > len(WAITS):
            return None
        planned = self.first_wait_seconds * WAITS[failures - 1] * chance.uniform(1 - JITTER, 1 + JITTER)
        return max(planned, min(answer.retry_after_seconds or 0.0, LONGEST_RETRY_AFTER_SECONDS))
