"""The calls on one ledger: it remembers the newest position it was told, and reads lists from there."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

from ..bodies import encode
from ..errors import ChangeUnknown
from ..retries import Attempts
from .transport import Answer, GaveUp, Request, Transport

_JUDGED_BEFORE_THE_KEY = (401, 403, 412)
"""Answers that say nothing about an earlier attempt, which may have been carried out."""


def segment(text: str) -> str:
    """Return an address, an id or a name as a segment of a path."""
    return quote(text, safe=":")


def operation_path(key: str) -> str:
    """Return the path of a key's operation, within the ledger."""
    return f"operations/{quote(key, safe='')}"


def as_params(filters: Mapping[str, Any]) -> dict[str, str]:
    """Return query parameters. Those that are None are left out; a trailing `_` of a name is dropped."""
    given: dict[str, str] = {}
    for name, value in filters.items():
        if name == "metadata":
            given |= {f"metadata.{key}": text for key, text in (value or {}).items()}
        elif value is not None:
            given[name.rstrip("_")] = value.isoformat() if isinstance(value, datetime) else str(value)
    return given


def says_nothing_about_earlier_attempts(answer: Answer) -> bool:
    """Tell whether an earlier attempt may have been carried out although this one was not."""
    return answer.was_lost_before and answer.status in _JUDGED_BEFORE_THE_KEY


class Calls:
    """Requests without a key, under one path. All of them may be repeated without harm."""

    def __init__(self, transport: Transport, path: str, position: int = 0) -> None:
        self.transport, self.path = transport, path
        self.position = position
        """The newest position that the service told of this ledger."""

    def send(self, request: Request, attempts: Attempts) -> Answer:
        """Return the first final answer. Raises `GaveUp`."""
        return self.noted(self.transport.send(request, attempts))

    def noted(self, answer: Answer) -> Answer:
        """Remember an answer's position."""
        self.position = max(self.position, int(answer.headers.get("ledger-position", 0)))
        return answer

    def read(self, path: str, attempts: Attempts | None = None, **filters: Any) -> Any:
        """Return a resource. Raises `Problem`, `Unreachable`."""
        return self._final(Request("GET", f"{self.path}/{path}", params=as_params(filters)), attempts)

    def read_list(self, path: str, **filters: Any) -> Any:
        """Return what a projection shows, including everything that this ledger's calls were told of."""
        return self.read(path, **{"min_position": self.position or None, **filters})

    def write(
        self, path: str, body: Any, method: str = "POST", headers: Mapping[str, str] | None = None
    ) -> Any:
        """Make a change that may be repeated. Raises `Problem`, `Unreachable`, `ChangeUnknown`."""
        return self._final(
            Request(method, f"{self.path}/{path}".rstrip("/"), encode(body), headers=headers or {})
        )

    def _final(self, request: Request, attempts: Attempts | None = None) -> Any:
        try:
            answer = self.send(request, attempts or self.transport.attempts())
        except GaveUp as error:
            raise error.error from error
        if answer.status >= 300:
            if says_nothing_about_earlier_attempts(answer) and request.method != "GET":
                raise ChangeUnknown(
                    f"answered {answer.status} after an attempt without answer"
                ) from answer.problem
            raise answer.problem
        return answer.body
