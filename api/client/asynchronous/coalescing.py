"""Coalescing: requests of many callers travel together in batches. Each has its own key and its own outcome."""

from types import TracebackType
from typing import NamedTuple, Self

from ..errors import TallystickError
from ..keyed_requests import Item
from ..outcomes import Outcome, Refused
from ..resources import Transaction
from ..waiting_line import WaitingLine
from .assets import Assets
from .batches import Batches
from .concurrency import Job, Promise
from .keyed import KeyedCalls
from .postings import Postings

MAX_ITEMS = 1_000
"""How many requests travel together: as many as the ledger commits together."""


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
        waiting = _Waiting(item, Promise())
        if self._line.join(waiting):
            self._jobs = {job for job in self._jobs if not job.is_finished} | {Job(self._send)}
        return await waiting.outcome.wait()

    async def _send(self) -> None:
        while taken := self._line.take():
            try:
                await self._send_together(taken)
            except BaseException as error:
                for waiting in taken:
                    waiting.outcome.fail(error)
                raise

    async def _send_together(self, taken: list[_Waiting]) -> None:
        try:
            outcomes = await self._batches.carry_out([waiting.item for waiting in taken], "independent")
        except TallystickError:
            # One malformed request has the whole batch refused, and an outage concerns each on its own.
            for job in [Job(Alone(self._keyed, waiting)) for waiting in taken]:
                await job.join()
            return
        for waiting, outcome in zip(taken, outcomes, strict=True):
            if isinstance(outcome, Refused) and not outcome.is_final:
                waiting.outcome.fail(outcome.problem)
            else:
                waiting.outcome.keep(outcome)


class Alone:
    """Carries out one request of a batch that could not be carried out together."""

    def __init__(self, keyed: KeyedCalls[Transaction], waiting: _Waiting) -> None:
        self._keyed, self._waiting = keyed, waiting

    async def __call__(self) -> None:
        """Give the caller its outcome, or its exception."""
        try:
            self._waiting.outcome.keep(await self._keyed.perform(self._waiting.item))
        except TallystickError as error:
            self._waiting.outcome.fail(error)
