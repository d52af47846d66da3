"""What a call raises when it has no outcome to return. Problems, which the ledger itself states, are in `problems`."""

from collections.abc import Sequence
from typing import Any


class TallystickError(Exception):
    """The base of every exception of this client. `key` is the idempotency key of the request, if it has one."""

    def __init__(self, words: str, key: str | None = None) -> None:
        super().__init__(words)
        self.key = key

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions go to another process as what they were made of. These have more, and the key must not be lost.
        return _made_again, (type(self), self.args, self.__dict__)


def _made_again(kind: type[TallystickError], arguments: Sequence[Any], members: dict[str, Any]) -> Any:
    error = kind.__new__(kind, *arguments)
    error.__dict__.update(members)
    return error


class Unreachable(TallystickError):
    """No answer came in time to a request without a key, or to a trial. Repeating the call is safe."""


class Unusable(TallystickError):
    """This client cannot be used here: it is closed, or was made in another event loop or process. Nothing was sent."""


class HistoryLost(TallystickError):
    """The journal ends at `head`, before the `position` that the service told of: an older backup was restored.

    What was acknowledged after `head` may be lost. `ledger.forget_position()` accepts that, and lists can be read.
    """

    def __init__(self, position: int, head: int) -> None:
        super().__init__(f"the journal ends at {head}, and the service has told of {position}")
        self.position, self.head = position, head


class ChangeUnknown(TallystickError):
    """A change without a key may have been carried out: an attempt had no answer, and the next one was refused.

    Read what it changes.
    """


class NoOutcome(TallystickError):
    """A keyed request ended without an outcome. Sending it again under `key` is safe: it is carried out once."""

    key: str

    def __init__(self, words: str, key: str) -> None:
        super().__init__(f"{words}; the key is {key}", key)


class OutcomeUnknown(NoOutcome):
    """The service could not be reached until the last deadline, so nobody here knows whether the request was carried
    out. Ask `ledger.outcome_of(key)` later, or send it again under the same key.
    """


class NotRecorded(NoOutcome):
    """The service has nothing on record under this key, but could not take the request until the last deadline."""


class BatchIncomplete(TallystickError):
    """A batch of several parts ended before its end.

    `outcomes` are those of the first items, in order. What became of the items with the keys in `open_keys` is not
    known, or they were not sent. Carrying out the same items again, with the same keys, is safe.
    """

    def __init__(self, words: str, outcomes: Sequence[Any], open_keys: Sequence[str]) -> None:
        super().__init__(f"{words}; {len(outcomes)} items have outcomes, {len(open_keys)} have none")
        self.outcomes, self.open_keys = outcomes, open_keys


class InexactAmount(TallystickError, ValueError):
    """An amount that is not a whole number of minor units of its asset, or not of the account's asset."""


class WebhookUnverified(TallystickError):
    """A message that was not signed with the secret, or is too old or too new. Do not act on it."""
