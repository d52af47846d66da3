"""A client to learn from: how a program moves money through the API exactly once, even when requests or answers are
lost.

- Make the key of a request before the first attempt and keep it in all attempts. A program that can crash stores the
  key with its own order first.
- Send a request without an answer again, with growing pauses, until a deadline. The key makes that harmless.
- An answer is final. A refusal is recorded under its key, so another try needs another key.
- After giving up, do not guess: ask what became of the key.
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from time import monotonic, sleep
from typing import Any, Literal, Self
from urllib.parse import quote
from uuid import uuid4

import httpx2

Body = dict[str, Any]

# A proxy answers 502 or 504 when the service's answer was lost.
SENT_AGAIN = frozenset({408, 429, 502, 503, 504})
UNDECIDED = ("accepted", "in_progress", "reconciling")
FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 2.0


class Unknown(Exception):
    """No answer came in time. Ask `what_became_of(key)`, or send the request again under this key."""

    def __init__(self, key: str | None, why: str) -> None:
        super().__init__(why)
        self.key = key


class NotDone(Exception):
    """The ledger answered and did not do it. `problem` is the answer's body, `code` its problem code."""

    def __init__(self, problem: Body) -> None:
        super().__init__(f"{problem['code']}: {problem['detail']}")
        self.problem = problem
        self.code: str = problem["code"]


class Refused(NotDone):
    """A rule refused it. Under a key, the refusal is recorded, final, and readable at `transaction_id`.

    `transaction_id` is None if nothing was recorded: an account is already open with other attributes, or a batch was
    rejected as a whole.
    """

    @property
    def transaction_id(self) -> str | None:
        """The id of the recorded, rejected transaction."""
        found: str | None = self.problem.get("transaction_id")
        return found


class Malformed(NotDone):
    """The request itself is wrong or not allowed. Nothing was recorded, and its key is still free."""


def new_key() -> str:
    """Return a key that no other request has."""
    return str(uuid4())


def pause_seconds(attempts: int, chance: float, retry_after: str | None) -> float:
    """Return the pause after this many attempts, in seconds: a random part of a bound that doubles each time.

    The random part keeps many clients from returning at once. The pause is at least what the service asked for.
    `chance` is from 0 to 1.
    """
    bound: float = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** min(attempts - 1, 30))
    asked = float(retry_after) if retry_after and retry_after.isdigit() else 0.0
    return asked + bound * chance


class Client:
    """A client of one ledger. Its lists include everything it has written, because it names the newest position it
    knows.

    A call takes at most `deadline_seconds`, each attempt at most `attempt_seconds`. Every call raises `Unknown`,
    `Refused` and `Malformed`.
    """

    def __init__(
        self,
        url: str,
        api_key: str,
        ledger: str = "main",
        *,
        deadline_seconds: float = 30.0,
        attempt_seconds: float = 5.0,
        transport: httpx2.BaseTransport | None = None,
        clock: Callable[[], float] = monotonic,
        wait: Callable[[float], None] = sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        headers = {"Authorization": f"Bearer {api_key}"}
        self._http = httpx2.Client(base_url=url, headers=headers, trust_env=False, transport=transport)
        self.ledger = ledger
        self._path = f"/v1/ledgers/{ledger}"
        self._deadline_seconds, self._attempt_seconds = deadline_seconds, attempt_seconds
        self._clock, self._wait, self._chance = clock, wait, chance
        self.position = 0
        """The newest position in an answer to a write."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def open_ledger(self, metadata: Mapping[str, str] | None = None) -> Body:
        """Open the ledger. Idempotent."""
        return self._write("/v1/ledgers", {"name": self.ledger, "metadata": dict(metadata or {})})

    def open_account(self, address: str, asset: str, normal_side: str, **more: Any) -> Body:
        """Open an account. Idempotent."""
        body = {"address": address, "asset": asset, "normal_side": normal_side, **more}
        return self._write(f"{self._path}/accounts", body)

    def post(
        self, entries: Sequence[Body], *, key: str | None = None, respond_async: bool = False, **more: Any
    ) -> Body:
        """Post a transaction. `respond_async` has it accepted first; this call still waits for the outcome."""
        headers = {"Prefer": "respond-async"} if respond_async else {}
        return self._keyed("transactions", {"entries": list(entries), **more}, key, headers)

    def hold(self, entries: Sequence[Body], *, key: str | None = None, **more: Any) -> Body:
        """Hold amounts. A hold with `expires_at` ends by itself then."""
        return self.post(entries, key=key, pending=True, **more)

    def settle(self, hold_id: str, *, key: str | None = None, **parts: Any) -> Body:
        """Settle all of a hold, or an `amount` or `entries` of it."""
        return self._keyed(f"transactions/{hold_id}/settle", parts, key)

    def void(self, hold_id: str, *, key: str | None = None, **more: Any) -> Body:
        """Release a hold."""
        return self._keyed(f"transactions/{hold_id}/void", more, key)

    def reverse(self, transaction_id: str, *, key: str | None = None, **parts: Any) -> Body:
        """Reverse what remains of a transaction, or an `amount` of it."""
        return self._keyed(f"transactions/{transaction_id}/reverse", parts, key)

    def batch(
        self, transactions: Sequence[Body], mode: Literal["atomic", "independent"] = "atomic"
    ) -> list[Body]:
        """Carry out many requests, each under its own key, and return their results."""
        body = {"mode": mode, "transactions": list(transactions)}
        results: list[Body] = self._write(f"{self._path}/transactions/batch", body)["results"]
        return results

    def account(self, address: str) -> Body:
        """Return an account, including every acknowledged write."""
        return self._read(f"{self._path}/accounts/{address}")

    def entries(self, address: str, **filters: Any) -> Iterator[Body]:
        """Yield the account's statement page by page, including everything this client has written."""
        asked = {"min_position": self.position, **filters}
        while True:
            page = self._read(f"{self._path}/accounts/{address}/entries", asked)
            yield from page["data"]
            if page["next_cursor"] is None:
                return
            asked["cursor"] = page["next_cursor"]

    def operation(self, key: str) -> Body | None:
        """Return the operation of a key. None if the ledger has never received it: send it again."""
        try:
            return self._read(f"{self._path}/operations/{quote(key, safe='')}")
        except Malformed as error:
            if error.code == "operation_unknown":
                return None
            raise

    def what_became_of(self, key: str) -> str:
        """Return the state of the request with this key, or `unknown`: then sending it again is safe."""
        operation = self.operation(key)
        return operation["state"] if operation else "unknown"

    def _keyed(self, place: str, body: Body, key: str | None, headers: Mapping[str, str] = {}) -> Body:
        # Made once here and not per attempt, because the next attempt must be the same request.
        key = key or new_key()
        return self._write(f"{self._path}/{place}", body, key, {"Idempotency-Key": key, **headers})

    def _write(self, path: str, body: Body, key: str | None = None, headers: Mapping[str, str] = {}) -> Body:
        give_up_at = self._clock() + self._deadline_seconds
        request = self._http.build_request("POST", path, json=body, headers=dict(headers))
        answer = self._send(request, give_up_at, key)
        if answer.status_code == 202:
            self._await_decision(answer.headers["Location"], give_up_at, key)
            # Now that it is decided, the same request is answered as if it had been carried out at once.
            answer = self._send(request, give_up_at, key)
        self.position = max(self.position, int(answer.headers.get("Ledger-Position", 0)))
        return _content(answer)

    def _read(self, path: str, asked: Mapping[str, Any] | None = None) -> Body:
        request = self._http.build_request("GET", path, params=asked)
        return _content(self._send(request, self._clock() + self._deadline_seconds, None))

    def _await_decision(self, location: str, give_up_at: float, key: str | None) -> None:
        request = self._http.build_request("GET", location)
        polls = 0
        while _content(answer := self._send(request, give_up_at, key))["state"] in UNDECIDED:
            polls += 1
            self._pause(polls, answer.headers.get("Retry-After"), give_up_at, key, "it is not decided yet")

    def _send(self, request: httpx2.Request, give_up_at: float, key: str | None) -> httpx2.Response:
        """Return the answer that is one, whatever it says; raise `Unknown` if none came in time."""
        attempts = 0
        while True:
            attempts += 1
            left = max(0.001, min(self._attempt_seconds, give_up_at - self._clock()))
            request.extensions["timeout"] = httpx2.Timeout(left).as_dict()
            retry_after = None
            try:
                answer = self._http.send(request)
            except httpx2.TransportError as error:
                why = repr(error)
            else:
                if answer.status_code not in SENT_AGAIN:
                    return answer
                why, retry_after = f"answered {answer.status_code}", answer.headers.get("Retry-After")
            self._pause(attempts, retry_after, give_up_at, key, why)

    def _pause(
        self, attempts: int, retry_after: str | None, give_up_at: float, key: str | None, why: str
    ) -> None:
        seconds = pause_seconds(attempts, self._chance(), retry_after)
        if self._clock() + seconds >= give_up_at:
            raise Unknown(key, f"no final answer after {attempts} attempts, the last: {why}")
        self._wait(seconds)


def _content(answer: httpx2.Response) -> Body:
    """Return what an answer holds, or raise what it says instead."""
    if answer.status_code >= 500:
        # The fault came before, during or after the commit: only the operation tells.
        raise Unknown(answer.request.headers.get("Idempotency-Key"), f"answered {answer.status_code}")
    content: Body = answer.json()
    if answer.status_code == 409:
        raise Refused(content)
    if answer.status_code >= 400:
        raise Malformed(content)
    return content
