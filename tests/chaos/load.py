"""Clients that move money under kills, and the processes that are killed."""

import os
import random
import threading
from time import monotonic, sleep
from typing import Any, NamedTuple

import httpx2
import psutil

from tests.service import Service, transfer_body

KILLS = int(os.environ.get("TALLYSTICK_KILLS", "3"))
CLIENTS = 8
ACCOUNTS = ["limited", "users:1", "users:2", "users:3"]
# A client gives up on a request after this time, all attempts included.
GIVE_UP_SECONDS = 60.0


class Answer(NamedTuple):
    """The answer to one of a client's requests."""

    key: str
    body: dict[str, Any]
    status: int
    answer: dict[str, Any]


class Load:
    """Clients that move money until told to stop. Each repeats a request under its key until it is answered."""

    statuses: tuple[int, ...] = (201, 409)
    """The statuses they may be answered with."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._stop = threading.Event()
        self.answers: list[Answer] = []
        self.faults: list[str] = []
        """Answers that nobody expects, and errors in the service's log that nobody expects."""
        self._threads = [threading.Thread(target=self._client, args=(n,)) for n in range(CLIENTS)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(GIVE_UP_SECONDS + 30)
        assert not any(thread.is_alive() for thread in self._threads)
        self.faults += self._service.tracebacks

    def _client(self, number: int) -> None:
        chance = random.Random(number)
        count = 0
        with self._service.client(5.0) as client:
            while not self._stop.is_set():
                count += 1
                self._request(client, f"{number}-{count}", *self.asked(chance))

    def asked(self, chance: random.Random) -> tuple[dict[str, Any], dict[str, str]]:
        """The body and headers of a request."""
        debited, credited = chance.sample(ACCOUNTS, 2)
        return transfer_body(debited, credited, chance.randint(1, 50)), {}

    def _request(
        self, client: httpx2.Client, key: str, body: dict[str, Any], headers: dict[str, str]
    ) -> None:
        give_up_at = monotonic() + GIVE_UP_SECONDS
        headers = {"Idempotency-Key": key, **headers}
        while monotonic() < give_up_at:
            try:
                answer = client.post("/v1/ledgers/main/transactions", json=body, headers=headers)
            except httpx2.TransportError:
                sleep(0.02)
                continue
            if answer.status_code == 503:
                sleep(0.05)
                continue
            if answer.status_code not in self.statuses:
                self.faults.append(f"{key}: {answer.status_code} {answer.text}")
            self.answers.append(Answer(key, body, answer.status_code, answer.json()))
            return
        self.faults.append(f"{key}: not answered for {GIVE_UP_SECONDS} s")


def an_api_process(service: Service) -> psutil.Process | None:
    return next(iter(service.processes("scripts.serving.processes", "api")), None)


def the_one_that_commits(service: Service) -> psutil.Process | None:
    """The API process that commits for the others."""
    return next(iter(service.processes("scripts.serving.processes", "api", "inside")), None)


def one_that_passes_on(service: Service) -> psutil.Process | None:
    """An API process that has another commit for it."""
    return next(iter(service.processes("scripts.serving.processes", "api", "outside")), None)


def the_projector(service: Service) -> psutil.Process | None:
    return next(iter(service.processes("scripts.serving.processes", "projector")), None)


def the_postmaster(service: Service) -> psutil.Process | None:
    return next(iter(service.processes("bin/postgres", "-D")), None)
