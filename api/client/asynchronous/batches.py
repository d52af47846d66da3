"""Batches of any length: cut into parts, kept in order, and accounted for item by item."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import Any, Literal

from ..bodies import decode
from ..chunks import Chunk, chunks
from ..errors import BatchIncomplete, TallystickError, Unusable
from ..history import Operation
from ..keyed_requests import Item
from ..keys import id_of, log
from ..outcomes import Done, Outcome, Refused, StillWorking
from ..problem import Problem
from ..problems import is_problem, problem_of
from ..resources import Transaction
from ..retries import Attempts
from .calls import Calls
from .concurrency import pause
from .keyed import KeyedCalls
from .transport import Answer, GaveUp, Request

SECONDS_PER_ITEM = 0.005

Mode = Literal["atomic", "independent"]


@dataclass(frozen=True, slots=True)
class Result:
    """What became of an item. It has a transaction, an operation or a problem."""

    status: int
    replayed: bool
    transaction: Transaction | None
    operation: Operation | None
    problem: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Results:
    """What became of the items of a part, in their order."""

    results: tuple[Result, ...]


class Batches:
    """The batches of one ledger."""

    def __init__(self, calls: Calls, ledger: str, keyed: KeyedCalls[Transaction]) -> None:
        self._calls, self._ledger, self._keyed = calls, ledger, keyed

    async def carry_out(
        self, items: Sequence[Item], mode: Mode, dry_run: bool = False
    ) -> list[Outcome[Transaction]]:
        """Carry out requests in order, and return one outcome for each.

        Raises `Problem` if nothing of the batch was carried out, `BatchIncomplete` if something may have been,
        `ValueError` for an atomic batch that is too long for one request.
        """
        parts = list(chunks(items, mode))
        if mode == "atomic" and len(parts) > 1:
            raise ValueError(f"an atomic batch travels in one request, and {len(items)} items do not fit")
        outcomes: list[Outcome[Transaction]] = []
        is_untouched = True
        try:
            for part in parts:
                results = await self._results(part, dry_run)
                is_untouched = False
                for item, result in zip(part.items, results, strict=True):
                    outcomes.append(await self._outcome(item, result, dry_run))
        except Exception as error:
            if is_untouched and isinstance(error, Problem | Unusable):
                raise
            open_keys = [item.key for item in items[len(outcomes) :]]
            raise BatchIncomplete(str(error), outcomes, open_keys) from error
        except BaseException:
            log.warning("the caller left a batch; its keys are in the log")
            raise
        return outcomes

    async def _results(self, part: Chunk, dry_run: bool) -> tuple[Result, ...]:
        """Return the results of a part. Sending it again is how its items are asked for: each replays."""
        policy = self._calls.transport.policy
        request = Request(
            "POST",
            f"{self._calls.path}/transactions/batch",
            partial(self._understood, part),
            part.body,
            params={"dry_run": "true"} if dry_run else {},
            seconds=policy.attempt_seconds + SECONDS_PER_ITEM * len(part.items),
        )
        until = monotonic() + policy.last_deadline_seconds
        attempts = Attempts(policy, until, 2 * policy.max_attempts, is_last=True)
        answer = await self._answer(request, attempts)
        if answer.is_success:
            results: tuple[Result, ...] = answer.body
            return results
        if answer.was_lost_before and answer.status in (401, 403):
            raise TallystickError(f"answered {answer.status} after an attempt without answer")
        raise answer.problem

    async def _answer(self, request: Request, attempts: Attempts) -> Answer:
        while True:
            try:
                answer = self._calls.noted(await self._calls.transport.send(request, attempts))
            except GaveUp as error:
                raise TallystickError(str(error)) from error
            if answer.status < 500 and answer.is_of_the_ledger:
                return answer
            seconds = attempts.next_pause(monotonic(), random.random())
            if seconds is None:
                raise TallystickError(f"answered {answer.status}") from answer.problem
            await pause(seconds)

    def _understood(self, part: Chunk, body: Any) -> tuple[Result, ...]:
        """Return the results of a part's items. Raises `ValueError` if they are those of other items."""
        results = decode(Results, body).results
        for item, result in zip(part.items, results, strict=True):
            is_its = result.transaction is None or result.transaction.id == id_of(self._ledger, item.key)
            is_one = result.transaction or result.operation or is_problem(result.problem)
            if not (is_its and is_one):
                raise ValueError(f"a result is not that of {item.key}")
        return results

    async def _outcome(self, item: Item, result: Result, dry_run: bool) -> Outcome[Transaction]:
        if result.transaction:
            return Done(item.key, result.transaction, result.replayed)
        if result.operation:
            return StillWorking(item.key, result.operation)
        if result.status >= 500:
            return await self._keyed.perform(item, dry_run=dry_run)
        return Refused(item.key, problem_of(result.status, result.problem, item.key))
