"""Customers of several releases at once: they move money through each and expect the same answers from all."""

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from time import monotonic, sleep
from typing import Any, NamedTuple, TypeVar

import httpx2

from tests.service import KEY, Service, transfer_body

LEDGER = "main"
BOOK = f"/v1/ledgers/{LEDGER}"
ADDRESSES = ["users:1", "users:2", "users:3", "users:4"]
CUSTOMERS = 3
OF_CUSTOMERS = "customer-"
"""The prefix of their requests' keys."""

PAUSE_SECONDS = 0.05
PATIENCE_SECONDS = 120.0
# Why a service being stopped refuses. The customer then asks another.
GOING = ("stopping", "unreachable")

Found = TypeVar("Found")


class Request(NamedTuple):
    """A keyed request."""

    key: str
    path: str
    body: Mapping[str, Any]
    prefer: str = ""


class Answered(NamedTuple):
    """A request that was carried out, and its answer."""

    request: Request
    answer: Mapping[str, Any]


def until(condition: Callable[[], Found]) -> Found:
    """Wait until a condition holds and return its value. The time limit only ends a failing test."""
    give_up_at = monotonic() + PATIENCE_SECONDS
    while not (found := condition()):
        assert monotonic() < give_up_at, "it never came about"
        sleep(PAUSE_SECONDS)
    return found


def send(client: httpx2.Client, service: Service, request: Request, ledger: str = LEDGER) -> httpx2.Response:
    """Send a keyed request about a ledger to a service."""
    headers = {"Authorization": f"Bearer {KEY}", "Idempotency-Key": request.key}
    if request.prefer:
        headers["Prefer"] = request.prefer
    return client.post(
        f"{service.url}/v1/ledgers/{ledger}/{request.path}", json=request.body, headers=headers
    )


class Customers:
    """Customers who move money in one ledger. `services` are the ones they may ask."""

    def __init__(self, ledger: str = LEDGER, count: int = CUSTOMERS) -> None:
        self.ledger = ledger
        self.services: list[Service] = []
        self.answered: list[Answered] = []
        self.answered_by: Counter[Service] = Counter()
        self.faults: list[str] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(count)]

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Keep them busy for as long as this lasts, until each has finished what it began."""
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in self._threads:
                thread.join(2 * PATIENCE_SECONDS)
        assert not any(thread.is_alive() for thread in self._threads)
        assert not self.faults, self.faults

    def await_answers(self, *services: Service) -> None:
        """Wait until each of these services has answered some more of their requests."""
        before = self.answered_by.copy()
        for service in services:
            until(lambda: self.faults or self.answered_by[service] >= before[service] + 10)  # noqa: B023
        assert not self.faults, self.faults

    def _run(self, number: int) -> None:
        chance = random.Random(number)
        with httpx2.Client(timeout=20.0, trust_env=False) as client:
            count = 0
            while not self.faults and not self._stop.wait(PAUSE_SECONDS):
                count += 1
                try:
                    self._move(client, chance, f"{OF_CUSTOMERS}{number}-{count}")
                except Exception as fault:  # noqa: BLE001  whatever it is, it must be seen
                    self.faults.append(repr(fault))

    def _move(self, client: httpx2.Client, chance: random.Random, key: str) -> None:
        debited, credited = chance.sample(ADDRESSES, 2)
        body = transfer_body(debited, credited, chance.randint(1, 99))
        kind = chance.choice(["posted", "posted", "accepted", "held"])
        if kind == "held":
            held = self._carried_out(client, chance, Request(key, "transactions", {**body, "pending": True}))
            ending = chance.choice(["settle", "void"])
            path = f"transactions/{held['id']}/{ending}"
            self._carried_out(client, chance, Request(f"{key}-{ending}", path, {}))
        else:
            prefer = "respond-async" if kind == "accepted" else ""
            self._carried_out(client, chance, Request(key, "transactions", body, prefer))

    def _carried_out(
        self, client: httpx2.Client, chance: random.Random, request: Request
    ) -> Mapping[str, Any]:
        """Repeat a request until it is carried out, then ask every available service for the same answer."""
        answer = self._final(client, chance, request)
        again = self._final(client, chance, request)
        assert again.headers.get("Idempotent-Replayed") == "true"
        assert again.json() == answer.json()
        self.answered.append(Answered(request, answer.json()))
        return self.answered[-1].answer

    def _final(self, client: httpx2.Client, chance: random.Random, request: Request) -> httpx2.Response:
        give_up_at = monotonic() + PATIENCE_SECONDS
        while monotonic() < give_up_at:
            service = chance.choice(self.services)
            try:
                answer = send(client, service, request, self.ledger)
            except httpx2.TransportError:  # it was stopped
                sleep(PAUSE_SECONDS)
                continue
            if answer.status_code == 201:
                self.answered_by[service] += 1
                return answer
            is_going = answer.status_code == 503 and answer.json().get("reason") in GOING
            assert answer.status_code == 202 or is_going, answer.text
            sleep(PAUSE_SECONDS)
        raise AssertionError(f"{request.key} was not carried out in time")
