"""The calls on one ledger: it remembers the newest position it was told, and reads lists from there."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from threading import Lock
from typing import Any, TypeVar

from ..bodies import decode, encode
from ..errors import ChangeUnknown, HistoryLost
from ..paths import as_params
from ..retries import Attempts
from .transport import Answer, GaveUp, Request, Transport

T = TypeVar("T")

MAY_DIFFER_FROM_THE_FIRST = (401, 403, 412)
"""Answers that the same change may get although an earlier attempt was carried out."""


class Calls:
    """Requests without a key, under one path. All of them may be repeated without harm."""

    def __init__(self, transport: Transport, path: str) -> None:
        self.transport, self.path = transport, path
        self.position = 0
        """The newest position that the service told of this ledger."""
        self._one_at_a_time = Lock()

    def know(self, position: int) -> None:
        """Read lists from at least this position on."""
        with self._one_at_a_time:
            self.position = max(self.position, position)

    def forget(self) -> None:
        """Read lists from any position on."""
        with self._one_at_a_time:
            self.position = 0

    def noted(self, answer: Answer) -> Answer:
        """Remember an answer's position."""
        if answer.is_of_the_ledger:
            self.know(answer.number("ledger-position") or 0)
        return answer

    async def read(self, shown: type[T], path: str, attempts: Attempts | None = None, **filters: Any) -> T:
        """Return a resource. Raises `Problem`, `Unreachable`."""
        value: T = (await self.answer(partial(decode, shown), path, attempts, **filters)).body
        return value

    async def read_list(self, shown: type[T], path: str, **filters: Any) -> T:
        """Return what a projection shows, including everything that this ledger's calls were told of.

        Raises `HistoryLost`, `Problem`, `Unreachable`.
        """
        return await self.read(shown, path, **{"min_position": self.position or None, **filters})

    async def answer(
        self, understand: Callable[[Any], Any], path: str, attempts: Attempts | None = None, **filters: Any
    ) -> Answer:
        """Return the answer that has what is understood of its body. Raises `HistoryLost`, `Problem`, `Unreachable`."""
        request = Request("GET", f"{self.path}/{path}", understand, params=as_params(filters))
        position = filters.get("min_position") or 0

        def looks_lost(answer: Answer) -> bool:
            head = answer.body.get("head") if not answer.is_success and answer.is_of_the_ledger else None
            return isinstance(head, int) and head < position

        answer = await self._final(request, attempts, looks_lost)
        if looks_lost(answer):
            # A process that is behind says so too. The list itself tells the head as it is.
            seen = await self._final(replace(request, params=as_params({**filters, "min_position": None})))
            head = seen.number("ledger-head")
            if head is not None and head < position:
                raise HistoryLost(position, head)
            answer = await self._final(request, attempts)
        if not answer.is_success:
            raise answer.problem
        return answer

    async def write(
        self,
        shown: type[T],
        path: str,
        body: Any,
        method: str = "POST",
        headers: Mapping[str, str] | None = None,
    ) -> T:
        """Make a change that may be repeated. Raises `Problem`, `Unreachable`, `ChangeUnknown`."""
        place = f"{self.path}/{path}".rstrip("/")
        request = Request(method, place, partial(decode, shown), encode(body), headers=headers or {})
        answer = await self._final(request)
        if answer.is_success:
            value: T = answer.body
            return value
        may_differ = answer.status in MAY_DIFFER_FROM_THE_FIRST or not answer.is_of_the_ledger
        if answer.was_lost_before and may_differ:
            raise ChangeUnknown(
                f"answered {answer.status} after an attempt without answer"
            ) from answer.problem
        raise answer.problem

    async def _final(
        self,
        request: Request,
        attempts: Attempts | None = None,
        ends: Callable[[Answer], bool] = lambda _: False,
    ) -> Answer:
        try:
            answer = await self.transport.send(request, attempts or self.transport.attempts(), ends)
        except GaveUp as error:
            raise error.error from error
        return self.noted(answer)
