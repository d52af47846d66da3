"""Carries out the requests of tools on the service: those with a key by the client, and every other one once."""

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, Self

import httpx2

from api.client import NoOutcome, Policy, Problem, Refused, StillWorking, Unreachable
from api.client.asynchronous.calls import Calls
from api.client.asynchronous.keyed import KeyedCalls
from api.client.asynchronous.transport import NEVER_SENT, Answer, Transport
from api.client.bodies import encode
from api.client.resources import Payout, Transaction
from api.mcp.answers import (
    Told,
    became_of,
    change_unanswered,
    no_outcome_told,
    not_sent,
    out_of_reach,
    problem_told,
    sentence_of,
    unanswered,
    words_of,
    written,
)
from api.mcp.operations import Operation
from api.mcp.requests import HttpRequest

_LEDGERS = "/v1/ledgers/"


@dataclass(frozen=True, slots=True)
class _Keyed:
    """A keyed request as the client sends it: the body as the assistant gave it, for the service to judge."""

    key: str
    path: str
    body: dict[str, Any]


class _RememberingCalls(Calls):
    """Calls that keep their newest answer as it came. After an outcome it is what was made, or the operation."""

    newest: Answer

    def noted(self, answer: Answer) -> Answer:
        """Keep an answer, and remember its position."""
        self.newest = answer
        return super().noted(answer)


class ServiceCalls:
    """Calls of one service with one API key. `timeout_seconds` bounds a request, `headers` are those to be shown."""

    def __init__(self, url: str, api_key: str, timeout_seconds: float, headers: Collection[str]) -> None:
        self._where = str(httpx2.URL(url).copy_with(userinfo=b""))
        self._headers, self._timeout_seconds = headers, timeout_seconds
        policy = Policy(
            deadline_seconds=timeout_seconds / 2,
            last_deadline_seconds=timeout_seconds,
            attempt_seconds=timeout_seconds / 2,
        )
        self._transport = Transport(url, api_key, policy)
        self._http = httpx2.AsyncClient(
            base_url=url,
            headers={"Authorization": f"Bearer {api_key}"},
            timeout=None,  # the whole request is bounded below
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        await self._transport.__aenter__()
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._http.__aexit__(kind, error, traceback)
        await self._transport.__aexit__(kind, error, traceback)

    async def carry_out(self, operation: Operation, request: HttpRequest) -> Told:
        """Return what became of a request."""
        try:
            if request.key is not None:
                return await self._under_its_key(operation, request, request.key)
            return await self._once(operation, request)
        except httpx2.InvalidURL as error:
            return not_sent(f"its arguments are too long for a URL ({error})")

    async def _under_its_key(self, operation: Operation, request: HttpRequest, key: str) -> Told:
        ledger, _, path = request.path.removeprefix(_LEDGERS).partition("/")
        calls = _RememberingCalls(self._transport, f"{_LEDGERS}{ledger}")
        keyed: KeyedCalls[Payout] | KeyedCalls[Transaction] = (
            KeyedCalls(calls, ledger, Payout)
            if operation.makes == "Payout"
            else KeyedCalls(calls, ledger, Transaction)
        )
        is_dry_run = request.is_dry_run
        try:
            outcome = await keyed.perform(
                _Keyed(key, path, request.body),
                dry_run=is_dry_run,
                respond_async=request.headers.get("Prefer") == "respond-async",
            )
        except NoOutcome as error:
            return no_outcome_told(error)
        except Problem as problem:
            return problem_told(problem, key, is_dry_run=is_dry_run)
        except Unreachable as error:
            return unanswered(self._where, str(error))
        if isinstance(outcome, Refused):
            return problem_told(outcome.problem, key, is_dry_run=is_dry_run)
        status = 202 if isinstance(outcome, StillWorking) else 200
        return Told(
            became=became_of(status, is_read=False, is_dry_run=is_dry_run),
            said=sentence_of(outcome),
            age_seconds=0.0,
            idempotency_key=key,
            body=calls.newest.as_sent,
            **self._shown(calls.newest.headers),
        )

    async def _once(self, operation: Operation, request: HttpRequest) -> Told:
        try:
            answer = await self._send(request)
        except NEVER_SENT as error:
            return out_of_reach(self._where, _why(error))
        except httpx2.HTTPError as error:
            changes_nothing = operation.is_read or request.is_dry_run
            return (unanswered if changes_nothing else change_unanswered)(self._where, _why(error))
        body = _body(answer)
        return Told(
            became=became_of(answer.status_code, is_read=operation.is_read, is_dry_run=request.is_dry_run),
            said=words_of(answer.status_code, body),
            status=answer.status_code,
            age_seconds=await self._age_seconds(request, answer),
            body=body,
            **self._shown(answer.headers),
        )

    def _shown(self, headers: Mapping[str, str]) -> dict[str, Any]:
        """Return what the headers of an answer say of it, by the members of `Told`."""
        moment = _moment(headers)
        return {
            "headers": {name: headers[name] for name in self._headers if name in headers},
            "position": _number(headers, "Ledger-Position"),
            "head": _number(headers, "Ledger-Head"),
            "answered_at": written(moment) if moment else None,
        }

    async def _send(self, request: HttpRequest) -> httpx2.Response:
        headers = dict(request.headers)
        if request.body is not None:
            headers["Content-Type"] = "application/json"
        try:
            async with asyncio.timeout(self._timeout_seconds):
                return await self._http.request(
                    request.method,
                    request.path,
                    params=request.query or None,
                    headers=headers,
                    content=None if request.body is None else encode(request.body),
                )
        except TimeoutError as late:
            raise httpx2.ReadTimeout(f"not whole after {self._timeout_seconds} s") from late

    async def _age_seconds(self, request: HttpRequest, answer: httpx2.Response) -> float | None:
        """Return the age of the oldest event of the ledger that an answer lacks, 0 if it lacks none.

        None if nobody knows: a dead letter holds back a part of it, or the key may not read the events.
        """
        if not answer.is_success or "Ledger-Dead-Letters" in answer.headers:
            return None
        position, head = _number(answer.headers, "Ledger-Position"), _number(answer.headers, "Ledger-Head")
        if position is None or head is None or position >= head:
            return 0.0
        if not request.path.startswith(_LEDGERS):
            return None
        ledger = request.path.removeprefix(_LEDGERS).partition("/")[0]
        query = {"after": str(position), "page_size": "1"}
        try:
            events = await self._send(HttpRequest("GET", f"{_LEDGERS}{ledger}/events", query))
            lacking = [datetime.fromisoformat(event["recorded_at"]) for event in events.json()["data"]]
        except (httpx2.HTTPError, KeyError, TypeError, ValueError):
            return None
        now = _moment(events.headers)
        return None if now is None else max([0.0, *((now - since).total_seconds() for since in lacking)])


def _why(error: Exception) -> str:
    return str(error) or type(error).__name__


def _number(headers: Mapping[str, str], name: str) -> int | None:
    text = headers.get(name, "")
    return int(text) if text.isdecimal() else None


def _moment(headers: Mapping[str, str]) -> datetime | None:
    """Return when the service answered, to the second, by its own clock."""
    try:
        return parsedate_to_datetime(headers["Date"])
    except (KeyError, ValueError):
        return None


def _body(answer: httpx2.Response) -> Any:
    """Return the body: JSON as what it holds, everything else as text, None if there is none."""
    try:
        return answer.json()
    except ValueError:
        return answer.text or None
