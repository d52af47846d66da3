"""Batches of any length: cut into parts, kept in order, and accounted for item by item."""

import random
from collections.abc import Sequence
from time import monotonic
from typing import Any, Literal

from ..bodies import decode
from ..chunks import Chunk, chunks
from ..errors import BatchIncomplete, TallystickError
from ..history import Operation
from ..keyed_requests import Item
from ..outcomes import Done, Outcome, Refused, StillWorking
from ..problem import Problem
from ..problems import problem_of
from ..resources import Transaction
from ..retries import Attempts
from .calls import Calls, says_nothing_about_earlier_attempts
from .concurrency import pause
from .keyed import KeyedCalls
from .transport import Answer, GaveUp, Request

SECONDS_PER_ITEM = 0.005

Mode = Literal["atomic", "independent"]


class Batches:
    """The batches of one ledger."""

    def __init__(self, calls: Calls, keyed: KeyedCalls[Transaction]) -> None:
        self._calls, self._keyed = calls, keyed

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
        for part in parts:
            try:
                results = await self._results(part, dry_run)
                for item, result in zip(part.items, results, strict=True):
                    outcomes.append(await self._outcome(item, result, dry_run))
            except TallystickError as error:
                if isinstance(error, Problem) and not outcomes:
                    raise
                open_keys = [item.key for item in items[len(outcomes) :]]
                raise BatchIncomplete(str(error), outcomes, open_keys) from error
        return outcomes

    async def _results(self, part: Chunk, dry_run: bool) -> list[dict[str, Any]]:
        """Return the results of a part. Sending it again is how its items are asked for: each replays."""
        policy = self._calls.transport.policy
        request = Request(
            "POST",
            f"{self._calls.path}/transactions/batch",
            part.body,
            params={"dry_run": "true"} if dry_run else {},
            seconds=policy.attempt_seconds + SECONDS_PER_ITEM * len(part.items),
        )
        attempts = Attempts(policy, monotonic() + policy.last_deadline_seconds, 2 * policy.max_attempts)
        answer = await self._answer(request, attempts)
        if says_nothing_about_earlier_attempts(answer):
            raise TallystickError(f"answered {answer.status} after an attempt without answer")
        if answer.status != 200:
            raise answer.problem
        results: list[dict[str, Any]] = answer.body["results"]
        return results

    async def _answer(self, request: Request, attempts: Attempts) -> Answer:
        while True:
            try:
                answer = await self._calls.send(request, attempts)
            except GaveUp as error:
                raise TallystickError(str(error)) from error
            seconds = attempts.next_pause(monotonic(), random.random())
            if answer.status < 500:
                return answer
            if seconds is None:
                raise TallystickError(f"answered {answer.status}") from answer.problem
            await pause(seconds)

    async def _outcome(self, item: Item, result: dict[str, Any], dry_run: bool) -> Outcome[Transaction]:
        key, status = item.key, result["status"]
        if status == 201:
            return Done(key, decode(Transaction, result["transaction"]), result["replayed"])
        if status == 202:
            return StillWorking(key, decode(Operation, result["operation"]))
        if status >= 500:
            return await self._keyed.perform(item, dry_run=dry_run)
        return Refused(key, problem_of(status, result["problem"], key))
