"""Carries out keyed requests, and finds out what became of those whose answers were lost."""

import logging
import random
from time import monotonic
from typing import Generic, TypeVar

import httpx2

from ..bodies import decode, encode
from ..errors import NotRecorded, OutcomeUnknown, Unreachable
from ..history import Operation
from ..keyed_requests import KeyedRequest
from ..outcomes import Done, Outcome, Refused, StillWorking
from ..problem import Unavailable
from ..problems import problem_of
from ..resources import Payout, Transaction
from ..retries import REPEATABLE, Attempts
from .calls import Calls, operation_path, says_nothing_about_earlier_attempts
from .concurrency import pause
from .transport import Answer, GaveUp, Request

T = TypeVar("T", Transaction, Payout)
log = logging.getLogger("tallystick_client")

UNLIMITED = 1 << 30
"""Of attempts that end with their time alone."""


class KeyedCalls(Generic[T]):
    """Keyed requests of one ledger. `made` is the type that they make."""

    def __init__(self, calls: Calls, made: type[T]) -> None:
        self._calls = calls
        self._made: type[T] = made
        self._policy = calls.transport.policy

    async def perform(
        self, asked: KeyedRequest[T], *, dry_run: bool = False, respond_async: bool = False
    ) -> Outcome[T]:
        """Return what became of a request. It is sent until the deadline; then its key is asked for.

        Raises `Problem` for a request that is malformed or not allowed, `OutcomeUnknown` if the service cannot be
        reached until the last deadline, `NotRecorded` if it can but does not take the request.
        """
        log.info("%s/%s under the key %s", self._calls.path, asked.path, asked.key)
        request = Request(
            "POST",
            f"{self._calls.path}/{asked.path}",
            encode(asked.body),
            params={"dry_run": "true"} if dry_run else {},
            headers={"Prefer": "respond-async"} if respond_async else {},
            key=asked.key,
        )
        started = monotonic()
        try:
            answer = await self._calls.send(request, self._calls.transport.attempts(started))
        except GaveUp as error:
            if dry_run:
                raise error.error from error
            return await self._find_out(asked, request, started, str(error))
        if not dry_run and (answer.status >= 500 or says_nothing_about_earlier_attempts(answer)):
            return await self._find_out(asked, request, started, f"answered {answer.status}")
        if answer.status != 202 or dry_run:
            return self._outcome(asked.key, answer)
        try:
            return await self._await_end(asked.key, started)
        except (Unreachable, Unavailable) as error:
            raise OutcomeUnknown(f"it was accepted, and then no answer came: {error}", asked.key) from error

    async def outcome_of(self, key: str) -> Outcome[T]:
        """Return what is known of a key now. Raises `OperationUnknown` if nothing is recorded under it."""
        return await self._told(key, decode(Operation, await self._calls.read(operation_path(key))))

    def _outcome(self, key: str, answer: Answer) -> Outcome[T]:
        if answer.status == 409:
            return Refused(key, answer.problem)
        if answer.status >= 300:
            raise answer.problem
        is_replayed = answer.headers.get("idempotent-replayed") == "true"
        return Done(key, decode(self._made, answer.body), is_replayed)

    async def _await_end(self, key: str, started: float) -> Outcome[T]:
        """Ask until an accepted request has ended, or the deadline comes. The last deadline ends the asking itself."""
        deadline = self._calls.transport.attempts(started)
        deadline.allowed = UNLIMITED
        while True:
            deadline.made += 1
            operation = await self._calls.read(operation_path(key), self._until_the_last_deadline(started))
            outcome = await self._told(key, decode(Operation, operation))
            seconds = deadline.next_pause(monotonic(), random.random())
            if not isinstance(outcome, StillWorking) or seconds is None:
                return outcome
            await pause(seconds)

    def _until_the_last_deadline(self, started: float) -> Attempts:
        return Attempts(self._policy, started + self._policy.last_deadline_seconds, UNLIMITED)

    async def _find_out(
        self, asked: KeyedRequest[T], request: Request, started: float, why: str
    ) -> Outcome[T]:
        """Ask what became of a key. Send the request again if nothing is recorded under it, which is harmless."""
        log.warning("what became of the key %s? %s", asked.key, why)
        attempts = self._until_the_last_deadline(started)
        is_missing = False
        while True:
            attempts.made += 1
            try:
                operation = await self._operation(asked.key, attempts)
                is_missing = operation is None
                if operation and (outcome := await self._recognized(asked, operation, attempts)):
                    return outcome
                answer = self._calls.noted(await self._calls.transport.attempt(request, attempts))
                if answer.status < 500 and answer.status not in (*REPEATABLE, 401, 403):
                    return (
                        await self._await_end(asked.key, started)
                        if answer.status == 202
                        else self._outcome(asked.key, answer)
                    )
                why = f"answered {answer.status}"
            except (httpx2.TransportError, GaveUp, Unreachable, Unavailable) as error:
                why = repr(error)
            seconds = attempts.next_pause(monotonic(), random.random())
            if seconds is None:
                unfinished = NotRecorded if is_missing else OutcomeUnknown
                raise unfinished(f"no outcome in {self._policy.last_deadline_seconds} s: {why}", asked.key)
            await pause(seconds)

    async def _operation(self, key: str, attempts: Attempts) -> Operation | None:
        """Return the operation of a key, None if nothing is recorded under it. Raises `GaveUp`."""
        path = f"{self._calls.path}/{operation_path(key)}"
        answer = self._calls.noted(await self._calls.transport.attempt(Request("GET", path), attempts))
        if answer.status == 200:
            return decode(Operation, answer.body)
        if answer.status == 404 and answer.problem.code == "operation_unknown":
            return None
        if answer.status in (401, 403):
            raise OutcomeUnknown("the service does not let this API key ask", key) from answer.problem
        raise GaveUp(f"answered {answer.status}", answer, key)

    async def _recognized(
        self, asked: KeyedRequest[T], operation: Operation, attempts: Attempts
    ) -> Outcome[T] | None:
        """Return the outcome, None if what is recorded may be the work of another request with the same key."""
        outcome = await self._told(asked.key, operation, attempts)
        if isinstance(outcome, StillWorking):
            return outcome
        made = outcome.made if isinstance(outcome, Done) else await self._resource(operation, attempts)
        return outcome if asked.has_made(made) else None

    async def _told(self, key: str, operation: Operation, attempts: Attempts | None = None) -> Outcome[T]:
        if operation.state == "rejected":
            problem = operation.problem or {}
            return Refused(key, problem_of(problem.get("status", 409), problem, key))
        if not operation.is_decided:
            return StillWorking(key, operation)
        return Done(key, await self._resource(operation, attempts), is_replayed=True)

    async def _resource(self, operation: Operation, attempts: Attempts | None) -> T:
        path = operation.resource.removeprefix(f"{self._calls.path}/")
        return decode(self._made, await self._calls.read(path, attempts))
