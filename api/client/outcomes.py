"""What became of a keyed request: it is done, refused, or the service is still working on it."""

from dataclasses import dataclass
from typing import Generic, TypeVar

from .errors import TallystickError
from .history import Operation
from .problem import Problem
from .resources import Payout, Transaction

T = TypeVar("T", Transaction, Payout)


@dataclass(frozen=True, slots=True)
class Done(Generic[T]):
    """It was carried out, once. For a payout: it has ended, and `payout.state` says whether the money left."""

    key: str
    made: T
    is_replayed: bool = False
    """Whether the service had carried it out before this answer."""

    @property
    def transaction(self: "Done[Transaction]") -> Transaction:
        """The transaction that was made."""
        return self.made

    @property
    def payout(self: "Done[Payout]") -> Payout:
        """The payout, as it ended."""
        return self.made


@dataclass(frozen=True, slots=True)
class Refused:
    """The ledger refused it. `problem` is the exception that says why; it is not raised."""

    key: str
    problem: Problem

    @property
    def is_final(self) -> bool:
        """Whether the refusal is recorded under the key. If not, the key is still free."""
        return self.problem.status == 409

    @property
    def transaction_id(self) -> str | None:
        """The id of the recorded, rejected transaction."""
        return self.problem.transaction_id


@dataclass(frozen=True, slots=True)
class StillWorking:
    """The service has recorded the request and will finish it. Ask `ledger.outcome_of(key)` later."""

    key: str
    operation: Operation


Outcome = Done[T] | Refused | StillWorking


class NotDone(TallystickError):
    """Raised by `expect_done` for a request that the service is still working on."""


def expect_done(outcome: Done[T] | Refused | StillWorking) -> T:
    """Return what was made. Raises the refusal's `Problem`, or `NotDone` if the service is still working on it."""
    if isinstance(outcome, Done):
        return outcome.made
    if isinstance(outcome, Refused):
        raise outcome.problem
    raise NotDone(f"the service is still working on it; the key is {outcome.key}", outcome.key)
