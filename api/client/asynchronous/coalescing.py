"""Coalescing: requests of many callers travel together in batches. Each has its own key and its own outcome."""

import re
from collections.abc import Sequence
from types import TracebackType
from typing import NamedTuple, Self

from ..bodies import encode
from ..errors import BatchIncomplete, OutcomeUnknown, TallystickError
from ..keyed_requests import Item, item_body
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

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for job in list(self._jobs):
            await job.join()

    async def carry_out(self, item: Item) -> Outcome[Transaction]:
        """Return what became of a request."""
        await self._assets.check(item)
        encode(item_body(item))  # what cannot be sent at all concerns this caller alone
        waiting = _Waiting(item, Promise())
        if self._line.join(waiting):
            self._jobs = {job for job in self._jobs if not job.is_finished} | {Job(self._send)}
        return await waiting.outcome.wait()

    async def _send(self) -> None:
        while taken := self._line.take():
            try:
                while taken:
                    taken = await self._send_together(taken)
            except Exception as error:  # noqa: BLE001 - the sender goes on, and the callers are told
                for waiting in taken:
                    waiting.outcome.fail(error)

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
            except TallystickError as error:
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
    named = [_ITEM.match(each["pointer"]) for each in error.errors or ()]
    return {int(found[1]) for found in named if found}
