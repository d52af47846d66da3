"""Carries out keyed requests, and finds out what became of those whose answers were lost."""

import logging
import random
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import Any, Generic, TypeVar

from ..bodies import decode, encode
from ..errors import NotRecorded, OutcomeUnknown, Unreachable
from ..history import Operation
from ..keyed_requests import KeyedRequest
from ..keys import fingerprint, id_of
from ..outcomes import Done, Outcome, Refused, StillWorking
from ..paths import operation_path
from ..problem import NotAllowed, Problem, RuleRefusal
from ..problems import OperationUnknown, problem_of
from ..resources import Payout, Transaction
from ..retries import Attempts, retry_after_seconds
from .calls import Calls
from .concurrency import pause
from .transport import FAILED, Answer, GaveUp, Request

T = TypeVar("T", Transaction, Payout)
log = logging.getLogger("tallystick_client")

UNLIMITED = 1 << 30
"""Of attempts that end with their time alone."""


class KeyedCalls(Generic[T]):
    """Keyed requests of one ledger. `made` is the type that they make."""

    def __init__(self, calls: Calls, ledger: str, made: type[T]) -> None:
        self._calls, self._ledger = calls, ledger
        self._made: type[T] = made
        self._policy = calls.transport.policy

    def perform(
        self,
        asked: KeyedRequest,
        *,
        dry_run: bool = False,
        respond_async: bool = False,
        awaits_end: bool = True,
    ) -> Outcome[T]:
        """Return what became of a request. It is sent until the deadline; then its key is asked for.

        Raises `Problem` for a request that is malformed or not allowed, `OutcomeUnknown` if the service cannot be
        reached until the last deadline, `NotRecorded` if it can but does not take the request.
        """
        request = Request(
            "POST",
            f"{self._calls.path}/{asked.path}",
            self._understanding(asked.key),
            encode(asked.body),
            params={"dry_run": "true"} if dry_run else {},
            headers={"Prefer": "respond-async"} if respond_async else {},
            key=asked.key,
        )
        started = monotonic()
        try:
            answer = self._calls.noted(
                self._calls.transport.send(request, self._calls.transport.attempts(started))
            )
        except GaveUp as error:
            if dry_run:
                raise error.error from error
            why = str(error)
        else:
            if dry_run or (answer.says_what_became and answer.status != 202):
                return self._outcome(asked.key, answer)
            why = f"answered {answer.status}"
        log.info("what became of the key %s? %s", asked.key, why)
        waits_until = started + (self._policy.deadline_seconds if awaits_end else 0.0)
        return self._find_out(asked, request, started, waits_until, why)

    def outcome_of(self, key: str) -> Outcome[T]:
        """Return what is known of a key now. Raises `OperationUnknown` if nothing is recorded under it."""
        return self._told(key, self._calls.read(Operation, operation_path(key)))

    def _understanding(self, key: str) -> Callable[[Any], Any]:
        """Return what makes a value of an answer to a key's request, and refuses the answer to any other request."""

        def understand(body: Any) -> Any:
            if isinstance(body, dict) and "request_fingerprint" in body:
                accepted = decode(Operation, body)
                _expect_same(accepted.idempotency_key, key)
                return accepted
            made = decode(self._made, body)
            _expect_same(made.id, id_of(self._ledger, key))
            return made

        return understand

    def _outcome(self, key: str, answer: Answer) -> Outcome[T]:
        if answer.is_success:
            return Done(key, answer.body, answer.headers.get("idempotent-replayed") == "true")
        if isinstance(answer.problem, RuleRefusal):
            return Refused(key, answer.problem)
        raise answer.problem

    def _find_out(
        self, asked: KeyedRequest, request: Request, started: float, waits_until: float, why: str
    ) -> Outcome[T]:
        """Ask what became of a key until it is decided. Send the request again if nothing is recorded under it.

        After `waits_until` it is enough to know that the service works on it. Nothing goes on after the last deadline.
        """
        until = started + self._policy.last_deadline_seconds
        attempts = Attempts(self._policy, until, UNLIMITED, is_last=True)
        is_missing = False
        while True:
            attempts.made += 1
            answer: Answer | None = None
            try:
                operation = self._operation(asked.key, attempts)
                is_missing = operation is None
                # The operation may be that of another request with this key. The answer to this one tells.
                if operation and operation.request_fingerprint == fingerprint(request.path, asked.body):
                    outcome = self._told(asked.key, operation, attempts)
                    if not isinstance(outcome, StillWorking) or monotonic() >= waits_until:
                        return outcome
                    why = f"it is {operation.state}"
                else:
                    answer = self._calls.noted(self._calls.transport.attempt(request, attempts))
                    why = f"answered {answer.status}"
            except NotAllowed as error:
                raise OutcomeUnknown("the service does not let this API key ask", asked.key) from error
            except (*FAILED, GaveUp, Unreachable, Problem) as error:
                why = repr(error)
            if answer and answer.says_what_became and answer.status not in (202, 401, 403):
                return self._outcome(asked.key, answer)
            asked_seconds = retry_after_seconds(answer.headers) if answer else 0.0
            seconds = attempts.next_pause(monotonic(), random.random(), asked_seconds)
            if seconds is None:
                unfinished = NotRecorded if is_missing else OutcomeUnknown
                raise unfinished(f"no outcome in {self._policy.last_deadline_seconds} s: {why}", asked.key)
            pause(seconds)

    def _operation(self, key: str, attempts: Attempts) -> Operation | None:
        """Return the operation of a key, None if nothing is recorded under it. Raises `NotAllowed`, `GaveUp`."""
        path = f"{self._calls.path}/{operation_path(key)}"
        answer = self._calls.transport.attempt(Request("GET", path, partial(decode, Operation)), attempts)
        if answer.is_success:
            operation: Operation = self._calls.noted(answer).body
            return operation
        if isinstance(answer.problem, OperationUnknown):
            return None
        if isinstance(answer.problem, NotAllowed):
            raise answer.problem
        raise GaveUp(f"answered {answer.status}", answer, key)

    def _told(self, key: str, operation: Operation, attempts: Attempts | None = None) -> Outcome[T]:
        if operation.state == "rejected":
            problem = operation.problem or {}
            return Refused(key, problem_of(problem.get("status", 409), problem, key))
        if not operation.is_decided:
            return StillWorking(key, operation)
        path = operation.resource.removeprefix(f"{self._calls.path}/")
        return Done(key, self._calls.read(self._made, path, attempts), is_replayed=True)


def _expect_same(told: str, expected: str) -> None:
    if told != expected:
        raise ValueError(f"it is about {told}, not about {expected}")
