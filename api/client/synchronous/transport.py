"""Sends requests to the service, and sends them again where that is allowed."""

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from time import monotonic
from types import TracebackType
from typing import Any

import httpx2

from ..errors import Unreachable
from ..problem import Problem
from ..problems import problem_of
from ..retries import REPEATABLE, Attempts, Policy, retry_after_seconds
from .concurrency import pause

NEVER_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)
NEVER_CARRIED_OUT = (425, 429)


@dataclass(frozen=True, slots=True)
class Request:
    """A request, the same in every attempt. `seconds` is what an attempt may take; None is the policy's time."""

    method: str
    path: str
    body: bytes | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    key: str | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer. `was_lost_before` tells that an earlier attempt may have been carried out without an answer."""

    status: int
    headers: Mapping[str, str]
    body: Any
    key: str | None
    was_lost_before: bool = False

    @property
    def problem(self) -> Problem:
        """The answer as an exception."""
        return problem_of(self.status, self.body, self.key)


class GaveUp(Exception):
    """No final answer came in time. `answer` is the last one, if the last attempt had any."""

    def __init__(self, why: str, answer: Answer | None, key: str | None) -> None:
        super().__init__(why)
        self.answer, self.key = answer, key

    @property
    def error(self) -> Exception:
        """What a call without an outcome raises: the service's problem, or that it was not reached."""
        return self.answer.problem if self.answer else Unreachable(str(self), self.key)


class Transport:
    """The connections to one service, with one API key."""

    def __init__(
        self, url: str, api_key: str, policy: Policy, inner: httpx2.BaseTransport | None = None
    ) -> None:
        self.policy = policy
        self._http = httpx2.Client(
            base_url=url,
            headers={"Authorization": f"Bearer {api_key}"},
            transport=inner,
            # HTTP proxies and .netrc of the machine do not concern the ledger.
            trust_env=False,
        )

    def __enter__(self) -> "Transport":
        self._http.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._http.__exit__(kind, error, traceback)

    def attempts(self, started: float | None = None) -> Attempts:
        """Return the attempts that a call has, from when it started, which is now by default."""
        began = monotonic() if started is None else started
        return Attempts(self.policy, began + self.policy.deadline_seconds, self.policy.max_attempts)

    def send(self, request: Request, attempts: Attempts) -> Answer:
        """Return the first final answer, whatever it says. Raises `GaveUp`."""
        was_lost = False
        while True:
            attempts.made += 1
            asked_seconds, answer = 0.0, None
            try:
                answer = self.attempt(request, attempts)
            except httpx2.TransportError as error:
                why = repr(error)
                was_lost = was_lost or not isinstance(error, NEVER_SENT)
            else:
                if answer.status not in REPEATABLE:
                    return replace(answer, was_lost_before=was_lost)
                why = f"answered {answer.status}"
                was_lost = was_lost or answer.status not in NEVER_CARRIED_OUT
                asked_seconds = retry_after_seconds(answer.headers)
            seconds = attempts.next_pause(monotonic(), random.random(), asked_seconds)
            if seconds is None:
                raise GaveUp(
                    f"no answer after {attempts.made} attempts, the last: {why}", answer, request.key
                )
            pause(seconds)

    def attempt(self, request: Request, attempts: Attempts) -> Answer:
        """Send a request once. Raises `httpx2.TransportError`."""
        allowed = request.seconds or self.policy.attempt_seconds
        headers = dict(request.headers)
        if request.body is not None:
            headers["Content-Type"] = "application/json"
        if request.key is not None:
            headers["Idempotency-Key"] = request.key
        answer = self._http.request(
            request.method,
            request.path,
            content=request.body,
            params=request.params or None,
            headers=headers,
            timeout=attempts.seconds_left(monotonic(), allowed),
        )
        return Answer(answer.status_code, answer.headers, _content(answer), request.key)


def _content(answer: httpx2.Response) -> Any:
    """Return the body. An answer of success that is not the ledger's tells nothing, so it counts as lost."""
    try:
        return json.loads(answer.content)
    except ValueError as error:
        if answer.is_success:
            raise httpx2.RemoteProtocolError("the answer is not JSON", request=answer.request) from error
        return None  # a proxy's own page
