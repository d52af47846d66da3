"""Clients that move money and read accounts while the cluster loses its primary, and write down what they are told."""

import random
import threading
from collections.abc import Iterator, Sequence
from time import monotonic, sleep
from typing import Any

import httpx2

from domain.journal.database import Database
from domain.model.accounts import EntriesPosted
from domain.model.events import Recorded
from domain.model.streams import account_stream
from domain.model.transactions import TransactionPosted
from tests.cluster.history import History, Read, Transfer, Written
from tests.ledgers import folded, history
from tests.service import Service, transfer_body

WRITERS = 4
READERS = 2
ACCOUNTS = ["bank", "users:1", "users:2", "users:3"]
REST_SECONDS = 0.03
GIVE_UP_SECONDS = 180.0


class Load:
    """Clients of several services on one journal. Each repeats a request until it is answered."""

    def __init__(self, services: Sequence[Service]) -> None:
        self._services = services
        self._stop = threading.Event()
        self.written: list[Written] = []
        self.read: list[Read] = []
        self.faults: list[str] = []
        self._threads = [
            threading.Thread(target=client, args=(number,))
            for client, count in ((self._write, WRITERS), (self._read, READERS))
            for number in range(count)
        ]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(GIVE_UP_SECONDS + 30)
        assert not any(thread.is_alive() for thread in self._threads)

    def acknowledged_since(self, moment: float) -> list[float]:
        """Return when writes were acknowledged after a moment, in order."""
        return sorted(sent.ended_at for sent in self.written if sent.ended_at and sent.ended_at > moment)

    def _write(self, number: int) -> None:
        chance = random.Random(number)
        count = 0
        with self._client(number) as client:
            while not self._stop.is_set():
                count += 1
                debited, credited = chance.sample(ACCOUNTS, 2)
                began = Written(f"{number}-{count}", debited, credited, chance.randint(1, 50), monotonic())
                self.written.append(self._answered(client, began))
                sleep(REST_SECONDS)

    def _answered(self, client: httpx2.Client, sent: Written) -> Written:
        body = transfer_body(sent.debited, sent.credited, sent.amount)
        while monotonic() < sent.began_at + GIVE_UP_SECONDS:
            answer = self._asked(
                client,
                "POST",
                "/v1/ledgers/main/transactions",
                json=body,
                headers={"Idempotency-Key": sent.key},
            )
            if answer is not None:
                head, position = int(answer.headers["Ledger-Position"]), answer.json()["position"]
                return sent._replace(ended_at=monotonic(), position=position, head=head)
        self.faults.append(f"{sent.key} was not acknowledged in {GIVE_UP_SECONDS} s")
        return sent

    def _read(self, number: int) -> None:
        chance = random.Random(number)
        with self._client(number) as client:
            while not self._stop.is_set():
                account, began_at = chance.choice(ACCOUNTS), monotonic()
                answer = self._asked(client, "GET", f"/v1/ledgers/main/accounts/{account}")
                if answer is not None:
                    found, head = answer.json(), int(answer.headers["Ledger-Position"])
                    sums = found["posted"]["debits"], found["posted"]["credits"]
                    self.read.append(Read(account, began_at, monotonic(), head, found["version"], *sums))
                sleep(REST_SECONDS)

    def _asked(self, client: httpx2.Client, method: str, path: str, **request: Any) -> httpx2.Response | None:
        """Return an answer. None if there was none, or the journal was unavailable: the caller asks again."""
        try:
            answer = client.request(method, path, **request)
        except httpx2.TransportError:
            sleep(0.05)
            return None
        if answer.status_code in (200, 201):
            return answer
        if answer.status_code != 503:
            self.faults.append(f"{method} {path}: {answer.status_code} {answer.text}")
        sleep(0.1)
        return None

    def _client(self, number: int) -> httpx2.Client:
        return self._services[number % len(self._services)].client(30.0)

    def history(self, database: Database) -> History:
        """Return what happened, with the journal of a database."""
        journal = history(database)
        folded(journal)
        return History(self.written, self.read, list(_transfers(journal)), len(journal))


def _transfers(journal: Sequence[Recorded]) -> Iterator[Transfer]:
    entries = {
        (recorded.event.transaction_id, recorded.stream): recorded.position
        for recorded in journal
        if isinstance(recorded.event, EntriesPosted)
    }
    for recorded in journal:
        if isinstance(recorded.event, TransactionPosted):
            (debited,), (credited,) = (
                [entry for entry in recorded.event.entries if entry.direction == direction]
                for direction in ("debit", "credit")
            )
            id = recorded.stream.rpartition("/")[2]
            places = (entries[id, account_stream("main", entry.account)] for entry in (debited, credited))
            key = recorded.envelope.idempotency_key or ""
            yield Transfer(recorded.position, key, debited.account, credited.account, debited.amount, *places)


def longest_silence(moments: Sequence[float], began_at: float) -> float:
    """Return the longest time without any of these moments, from `began_at` to the last of them, in seconds."""
    return max(
        (later - earlier for earlier, later in zip([began_at, *moments], moments, strict=False)), default=0.0
    )
