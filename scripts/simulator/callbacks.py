"""Callbacks: signed as in Standard Webhooks, and repeated until accepted, or sent twice, or in a wrong order."""

import heapq
import itertools
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from time import monotonic
from typing import Any, NamedTuple
from uuid import uuid4

import httpx2
from pydantic_core import to_json
from standardwebhooks import Webhook

from scripts.simulator.books import LIE_SECONDS, Paid

SENDERS = 4
TIMEOUT_SECONDS = 5.0
FIRST_RETRY_SECONDS = 0.5
MAX_ATTEMPTS = 8
LATE_SECONDS = 0.3


class Message(NamedTuple):
    """A message. Each attempt sends the same body under the same id."""

    id: str
    body: str
    headers: dict[str, str]
    attempt: int = 1


def messages(paid: Paid) -> Iterator[tuple[float, Message]]:
    """Yield the messages about a payout, each with the seconds until it is to be sent."""
    plan = paid.plan
    if plan.lose:
        return
    told = [("processing", 0.0)]
    if plan.lie:
        told += [("failed", plan.delay_seconds), ("completed", plan.delay_seconds + LIE_SECONDS)]
    else:
        told.append((paid.outcome, plan.delay_seconds))
    if plan.reorder:
        told[0] = ("processing", told[-1][1] + LATE_SECONDS)
    for state, seconds in told:
        message = _message(paid, state)
        yield seconds, message
        if plan.duplicate:
            yield seconds, message
            yield seconds + LATE_SECONDS, message


def _message(paid: Paid, state: str) -> Message:
    body = {
        "type": f"payout.{state}",
        "timestamp": datetime.now(UTC).isoformat(),
        "data": paid.answer(state),
    }
    headers = {"Correlation-Id": paid.correlation_id, "traceparent": paid.traceparent}
    sent = {name: value for name, value in headers.items() if value}
    return Message(f"msg_{uuid4().hex}", to_json(body).decode(), sent)


class Callbacks:
    """Sends messages at their times, in threads of its own."""

    def __init__(self, url: str | None, secret: str) -> None:
        """Without a URL, nothing is sent."""
        self._url = url
        self._webhook = Webhook(secret)
        self._client = httpx2.Client(timeout=TIMEOUT_SECONDS, trust_env=False)
        self._changed = threading.Condition()
        self._waiting: list[tuple[float, int, Message]] = []
        self._number = itertools.count()
        self._stopping = False
        self._threads = [
            threading.Thread(target=self._send_all, name="callbacks", daemon=True) for _ in range(SENDERS)
        ]

    def start(self) -> None:
        """Start sending."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop sending."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()
        self._client.close()

    def announce(self, paid: Paid) -> None:
        """Send every message about a payout at its time."""
        if self._url is not None:
            for seconds, message in messages(paid):
                self._put(seconds, message)

    def _put(self, seconds: float, message: Message) -> None:
        with self._changed:
            heapq.heappush(self._waiting, (monotonic() + seconds, next(self._number), message))
            self._changed.notify()

    def _send_all(self) -> None:
        while (message := self._next()) is not None:
            if not self._is_taken(message) and message.attempt < MAX_ATTEMPTS:
                seconds = FIRST_RETRY_SECONDS * 2 ** (message.attempt - 1)
                self._put(seconds, message._replace(attempt=message.attempt + 1))

    def _next(self) -> Message | None:
        with self._changed:
            while not self._stopping:
                wait = self._waiting[0][0] - monotonic() if self._waiting else None
                if wait is not None and wait <= 0:
                    return heapq.heappop(self._waiting)[2]
                self._changed.wait(wait)
        return None

    def _is_taken(self, message: Message) -> bool:
        now = datetime.now(UTC)
        headers: dict[str, Any] = {
            **message.headers,
            "content-type": "application/json",
            "webhook-id": message.id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": self._webhook.sign(message.id, now, message.body),
        }
        try:
            return self._client.post(str(self._url), content=message.body, headers=headers).is_success
        except httpx2.HTTPError:
            return False
