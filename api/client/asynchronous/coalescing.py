"""Coalescing: requests of many callers travel together in batches. Each has its own key and its own outcome."""

import re
from collections.abc import Sequence
from types import TracebackType
from typing import NamedTuple, Self

from ..bodies import encode
from ..errors import BatchIncomplete, OutcomeUnknown, Unusable
from ..keyed_requests import Item, item_body
from ..keys import under
from ..outcomes import Outcome, Refused
from ..problem import Malformed, Problem
from ..problems import problem_of
from ..resources import Transaction
from ..waiting_line import WaitingLine
from .assets import Assets
from .batches import Batches
from .concurrency import Job, Promise
from .keyed import KeyedCalls
from .postings import Postings

MAX_ITEMS = 1_000
"""How many requests travel together: as many as the ledger commits together."""

_ITEM = re.compile(r"/transactions/(\d+)(?:/|$)")


class _Waiting(NamedTuple):
    """A request, and the outcome that its caller waits for."""

    item: Item
    outcome: Promise[Outcome[Transaction]]


class CoalescedPostings(Postings):
    """Requests that arrive while a batch is under way travel in the next one. Leaving the context waits for all.

    Every request ends as if it had travelled alone. With more than one sender, batches may overtake one another.
    """

    def __init__(
        self, batches: Batches, keyed: KeyedCalls[Transaction], assets: Assets, max_senders: int = 1
    ) -> None:
        self._batches, self._keyed, self._assets = batches, keyed, assets
        self._line: WaitingLine[_Waiting] = WaitingLine(MAX_ITEMS, max_senders)
        self._jobs: set[Job] = set()
        self._is_closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._is_closed = True
        for job in list(self._jobs):
            await job.join()

    async def carry_out(self, item: Item) -> Outcome[Transaction]:
        """Return what became of a request. One whose caller leaves before it is sent is not sent."""
        encode(item_body(item))  # what cannot be sent at all concerns this caller alone
        with under(item.key, type(item).__name__):
            await self._assets.check(item)
            if self._is_closed:
                raise Unusable("this context has ended")
            waiting = _Waiting(item, Promise())
            if self._line.join(waiting):
                self._jobs.add(Job(self._send))
                self._jobs.difference_update([job for job in list(self._jobs) if job.is_finished])
            return await waiting.outcome.wait()

    async def _send(self) -> None:
        taken: list[_Waiting] = []
        try:
            while taken := self._line.take():
                rest = [waiting for waiting in taken if not waiting.outcome.is_abandoned]
                while rest:
                    rest = await self._send_together(rest)
        except BaseException as error:
            # It was cancelled, or is at fault. Nobody may wait for it for ever.
            for waiting in (*taken, *self._line.stop()):
                waiting.outcome.fail(OutcomeUnknown(f"the sender ended: {error!r}", waiting.item.key))
            raise

    async def _send_together(self, taken: list[_Waiting]) -> list[_Waiting]:
        """Send requests in a batch. Return those that must be sent again, because another one had it refused."""
        try:
            outcomes = await self._batches.carry_out([waiting.item for waiting in taken], "independent")
        except Malformed as error:
            named = items_named(error) & set(range(len(taken)))
            if not named:
                await self._send_alone(taken)
                return []
            await self._send_alone([taken[index] for index in sorted(named)])
            return [waiting for index, waiting in enumerate(taken) if index not in named]
        except BatchIncomplete as error:
            _keep(taken, error.outcomes)
            for waiting in taken[len(error.outcomes) :]:
                waiting.outcome.fail(OutcomeUnknown(str(error.__cause__), waiting.item.key))
        except Unusable as error:
            for waiting in taken:
                waiting.outcome.fail(Unusable(str(error), waiting.item.key))
        except Problem as error:
            for waiting in taken:
                waiting.outcome.fail(problem_of(error.status, error.body, waiting.item.key))
        else:
            _keep(taken, outcomes)
        return []

    async def _send_alone(self, taken: Sequence[_Waiting]) -> None:
        for waiting in taken:
            try:
                waiting.outcome.keep(await self._keyed.perform(waiting.item))
            except Exception as error:  # noqa: BLE001 - the next one is sent, and the caller is told
                waiting.outcome.fail(error)


def _keep(taken: Sequence[_Waiting], outcomes: Sequence[Outcome[Transaction]]) -> None:
    """Give callers their outcomes. What the single form raises is raised."""
    for waiting, outcome in zip(taken, outcomes, strict=False):
        if isinstance(outcome, Refused) and not outcome.is_final:
            waiting.outcome.fail(outcome.problem)
        else:
            waiting.outcome.keep(outcome)


def items_named(error: Problem) -> set[int]:
    """Return the indexes of the items of a batch that a problem names."""
    named = [_ITEM.match(str(each.get("pointer"))) for each in error.errors or ()]
    return {int(found[1]) for found in named if found}
