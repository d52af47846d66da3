"""Sends requests to the service, and sends them again where that is allowed."""

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from time import monotonic
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import httpx2

from ..errors import Unreachable, Unusable
from ..problem import Problem
from ..problems import is_problem, problem_of
from ..retries import REPEATABLE, Attempts, Policy, retry_after_seconds
from .concurrency import Home, Turns, pause, within

NEVER_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)
NEVER_CARRIED_OUT = (425, 429)
FAILED = (httpx2.RequestError, TimeoutError)
"""What an attempt without an answer raises: an error of the network, bytes that are no HTTP, or the end of its time."""

JUDGED_BEFORE_THE_KEY = frozenset({400, 401, 403, 404, 405, 412, 413, 415, 422, 431})
"""Answers that say nothing about an earlier attempt, which may have been carried out."""

CONNECTIONS = 100
MAX_ANSWER_BYTES = 128 * 1024**2
"""More than the ledger ever answers: a batch of 10,000 is 13 MB."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request, the same in every attempt. `seconds` is what an attempt may take; None is the policy's time.

    `understand` makes a value of the body of an answer of success. It raises `ValueError` if the ledger cannot have
    answered so.
    """

    method: str
    path: str
    understand: Callable[[Any], Any]
    body: bytes | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    key: str | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer: of success with its value, or with a body that may be a problem.

    `was_lost_before` tells that an earlier attempt may have been carried out without an answer. `as_sent` is the body
    as the service sent it.
    """

    status: int
    headers: Mapping[str, str]
    body: Any
    key: str | None
    was_lost_before: bool = False
    as_sent: Any = None

    @property
    def is_success(self) -> bool:
        """Whether the ledger did what was asked. `body` is the value then."""
        return 200 <= self.status < 300

    @property
    def is_of_the_ledger(self) -> bool:
        """Whether the ledger answered, and not something on the way to it."""
        return self.is_success or is_problem(self.body)

    @property
    def says_what_became(self) -> bool:
        """Whether this answer tells what became of the request, of earlier attempts too."""
        if self.status >= 500 or self.status in REPEATABLE or not self.is_of_the_ledger:
            return False
        return not (self.was_lost_before and self.status in JUDGED_BEFORE_THE_KEY)

    @property
    def problem(self) -> Problem:
        """The answer as an exception."""
        return problem_of(self.status, self.body, self.key)

    def number(self, header: str) -> int | None:
        """Return the number in a header, None if there is none."""
        said = self.headers.get(header, "")
        return int(said) if said.isascii() and said.isdigit() and len(said) < 20 else None


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
    """The connections to one service, with one API key. Raises `ValueError` for what is no URL or no API key."""

    def __init__(
        self, url: str, api_key: str, policy: Policy, inner: httpx2.BaseTransport | None = None
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is no URL such as http://127.0.0.1:8000")
        if not (api_key.isascii() and api_key.isprintable() and api_key.strip() == api_key != ""):
            raise ValueError("an API key is visible ASCII text such as tk_…")
        self.policy = policy
        self._home, self._turns = Home(), Turns(CONNECTIONS)
        self._http = httpx2.Client(
            base_url=url,
            # Answers are not compressed, so that their size is known before they are read.
            headers={"Authorization": f"Bearer {api_key}", "Accept-Encoding": "identity"},
            transport=inner,
            # Reading the system's certificates takes 20 ms, and without TLS nobody looks at them.
            verify=parts.scheme == "https",
            # Those who wait, wait in a line of ours: the pool looks at each of its own for every answer.
            limits=httpx2.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS),
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

    def send(
        self, request: Request, attempts: Attempts, ends: Callable[[Answer], bool] = lambda _: False
    ) -> Answer:
        """Return the first final answer, whatever it says, or the first that `ends` the attempts. Raises `GaveUp`."""
        was_lost = False
        while True:
            attempts.made += 1
            asked_seconds, answer = 0.0, None
            try:
                answer = self.attempt(request, attempts)
            except FAILED as error:
                why = repr(error)
                was_lost = was_lost or not isinstance(error, NEVER_SENT)
            else:
                if answer.status not in REPEATABLE or ends(answer):
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
        """Send a request once. Raises one of `FAILED`, and `Unusable`."""
        self._home.expect()
        if self._http.is_closed:
            raise Unusable("this client is closed")
        if not self._turns.take(attempts.until - monotonic()):
            raise httpx2.PoolTimeout("all connections were busy")
        try:
            seconds = attempts.seconds_left(monotonic(), request.seconds or self.policy.attempt_seconds)
            with within(seconds):
                return self._exchange(request, seconds)
        finally:
            self._turns.give_back()

    def _exchange(self, request: Request, seconds: float) -> Answer:
        headers = dict(request.headers)
        if request.body is not None:
            headers["Content-Type"] = "application/json"
        if request.key is not None:
            headers["Idempotency-Key"] = request.key
        until = monotonic() + seconds
        with self._http.stream(
            request.method,
            request.path,
            content=request.body,
            params=request.params or None,
            headers=headers,
            timeout=seconds,
        ) as answer:
            content = bytearray()
            for part in answer.iter_bytes():
                if content and monotonic() > until:
                    raise httpx2.ReadTimeout("the answer comes too slowly")
                content += part
                if len(content) > MAX_ANSWER_BYTES:
                    raise httpx2.RemoteProtocolError("the answer is longer than the ledger's")
        body, as_sent = _content(answer, request, content)
        return Answer(answer.status_code, answer.headers, body, request.key, as_sent=as_sent)


def _content(answer: httpx2.Response, request: Request, content: bytes | bytearray) -> tuple[Any, Any]:
    """Return what an answer says, and how it says it.

    An answer of success that is not the ledger's tells nothing, so it counts as lost.
    """
    try:
        sent = json.loads(content)
        return request.understand(sent) if answer.is_success else sent, sent
    except (ValueError, RecursionError) as error:
        if answer.is_success:
            raise httpx2.RemoteProtocolError(f"the answer is not the ledger's: {error}") from error
        return None, None  # a proxy's own page
