"""Bridges between two installations while everything between them dies: each amount arrives once or stays.

Each installation has a PostgreSQL server of its own, behind a proxy that can cut it off. One service with two API
processes serves both. `python -m tests.chaos.bridging --transfers 10000 --kills 300` is the long run; every run of the
tests does a short one.
"""

import argparse
import json
import os
import queue
import random
import signal
import socket
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from socketserver import BaseRequestHandler
from time import monotonic, sleep, time
from typing import Any, NamedTuple
from unittest.mock import patch

import httpx2
import psutil
import psycopg

from domain.journal.database import Database
from domain.model.accounts import Account
from domain.model.events import State
from domain.model.idempotency import operation_id
from domain.model.payouts.bridges import is_bridge_account, received_id
from domain.model.payouts.payout import Payout
from domain.model.streams import account_stream, payout_stream, transaction_stream
from domain.model.times import moment
from domain.model.transactions import Transaction
from scripts.doctor.bridges import examined
from scripts.serving.embedded_postgres import EmbeddedPostgres
from tests.chaos.load import an_api_process, the_projector
from tests.integration.severing_proxy import SeveringProxy
from tests.ledgers import folded, history
from tests.properties import invariants
from tests.service import Service, serving

PLACES = {"north": "east", "south": "east", "west-book": "west"}
"""Two ledgers of one installation, and one of the other."""

USERS = ("users:0", "users:1", "users:2", "limited", "frozen")
DEPOSIT = 10**9
CLIENTS = 4
PATIENCE_SECONDS = 200.0


class Request(NamedTuple):
    """A bridge to request."""

    key: str
    sender: str
    account: str
    receiver: str
    to: str
    amount: int


class Outcome(NamedTuple):
    """What a run has shown: ends by state, kills by kind, and seconds from each request to its end."""

    ends: Mapping[str, int]
    kills: Mapping[str, int]
    submitted_again: int
    doubted: int
    looks: int
    latencies_seconds: Sequence[float]


class Network(SeveringProxy):
    """The network to a server. It forwards bytes as they come, and can be cut; before a cut, answers can be lost."""

    def __init__(self, database_url: str) -> None:
        super().__init__(database_url)
        self.RequestHandlerClass = _Forwarding
        self.loses_answers = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing when the server is away."""


class _Forwarding(BaseRequestHandler):
    """One connection, both ways."""

    request: socket.socket
    server: Network

    def handle(self) -> None:
        with self.server.connected(self.request) as database, suppress(OSError):
            back = threading.Thread(target=self._forward, args=(database, self.request), daemon=True)
            back.start()
            self._forward(self.request, database)
            back.join()

    def _forward(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                if target is not self.request or not self.server.loses_answers:
                    target.sendall(data)
        for one in (source, target):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


class Installation(NamedTuple):
    """An installation's PostgreSQL and the proxy that the service reaches it through."""

    name: str
    postgres: EmbeddedPostgres
    proxy: Network

    @property
    def database(self) -> Database:
        """The database itself, past the proxy."""
        return Database(self.postgres.url, "tallystick")


Kill = Callable[[random.Random], None]


class Run:
    """One run: a placement, clients that request bridges, and what kills it."""

    def __init__(self, service: Service, installations: Sequence[Installation], transfers: int) -> None:
        self._service = service
        self._installations = installations
        chance = random.Random(transfers)
        self.requests = [_request(number, chance) for number in range(transfers)]
        self._waiting = queue.SimpleQueue[Request | None]()
        self._began: dict[str, float] = {}
        self._looks = 0
        self._over = threading.Event()
        self.faults: list[str] = []

    def carry_out(self, kills: int, seed: int = 1) -> Outcome:
        """Request everything while `kills` things die, then wait until everything has ended, and judge it."""
        with self._service.client(5.0) as client:
            self._open(client)
        for asked in (*self.requests, *[None] * CLIENTS):
            self._waiting.put(asked)
        looking = threading.Thread(target=self._look)
        looking.start()
        with ThreadPoolExecutor(CLIENTS) as clients:
            asking = [clients.submit(self._ask_all) for _ in range(CLIENTS)]
            killed = self._kill(kills, random.Random(seed))
            for of in asking:
                of.result()
        self._await_ends()
        self._over.set()
        looking.join()
        assert not self.faults, self.faults
        return self._judged(killed)

    # Clients.

    def _open(self, client: httpx2.Client) -> None:
        for ledger, installation in PLACES.items():
            _said(client, "/v1/ledgers", {"name": ledger, "installation": installation})
            for address in USERS:
                most = {"max_balance": DEPOSIT + 1000} if address == "limited" else {}
                account = {"address": address, "asset": "USD/2", "normal_side": "credit", **most}
                _said(client, f"/v1/ledgers/{ledger}/accounts", account)
            vault = {"address": "vault", "asset": "USD/2", "normal_side": "debit", "min_balance": None}
            _said(client, f"/v1/ledgers/{ledger}/accounts", vault)
            for address in USERS:
                entries = [
                    {"account": "vault", "direction": "debit", "amount": DEPOSIT},
                    {"account": address, "direction": "credit", "amount": DEPOSIT},
                ]
                deposit = {"entries": entries}
                _said(client, f"/v1/ledgers/{ledger}/transactions", deposit, key=f"deposit-{address}")
            _said(client, f"/v1/ledgers/{ledger}/accounts/frozen/freeze", {"reason": "to refuse bridges"})

    def _ask_all(self) -> None:
        with self._service.client(5.0) as client:
            while (asked := self._waiting.get()) is not None:
                self._began[asked.key] = time()
                self._ask(client, asked)

    def _ask(self, client: httpx2.Client, asked: Request) -> None:
        body = {
            "account": asked.account,
            "amount": asked.amount,
            "provider": "bridge",
            "destination": {"ledger": asked.receiver, "account": asked.to},
            "reference": asked.key,
        }
        path, headers = f"/v1/ledgers/{asked.sender}/payouts", {"Idempotency-Key": asked.key}
        give_up_at = monotonic() + PATIENCE_SECONDS
        while monotonic() < give_up_at:
            try:
                answer = client.post(path, json=body, headers=headers)
            except httpx2.TransportError:
                sleep(0.05)
                continue
            if answer.status_code == 503:
                sleep(0.05)
                continue
            if answer.status_code != 202:
                self.faults.append(f"{asked.key}: {answer.status_code} {answer.text}")
            return
        self.faults.append(f"{asked.key} was never answered")

    # What dies.

    def _kill(self, kills: int, chance: random.Random) -> Counter[str]:
        """Kill at moments that are spread over the requests, one thing after the other."""
        kinds = self._kinds()
        killed: Counter[str] = Counter()
        names = [name for _ in range(kills) for name in kinds][:kills]
        chance.shuffle(names)
        for number, name in enumerate(names):
            left = len(self.requests) * (kills - number) // (kills + 1)
            while self._waiting.qsize() > left:
                sleep(0.02)
            kinds[name](chance)
            killed[name] += 1
            sleep(chance.uniform(0.05, 0.8))
        return killed

    def _kinds(self) -> dict[str, Kill]:
        kinds: dict[str, Kill] = {
            "an API process is killed": lambda chance: _killed(an_api_process(self._service)),
            "an API process is frozen": self._freeze,
            "a projector is killed": lambda chance: _killed(the_projector(self._service)),
        }
        for installation in self._installations:
            name = installation.name
            kinds |= {
                f"PostgreSQL of {name} is killed": _with(installation, _kill_postgres),
                f"the network to {name} is cut": _with(installation, _cut),
                f"answers of {name} are lost": _with(installation, _lose_answers),
            }
        return kinds

    def _freeze(self, chance: random.Random) -> None:
        """Stop a process for longer than a submission may take, now and then, and let it go on as if nothing was."""
        if (process := an_api_process(self._service)) is None:
            return
        with suppress(psutil.Error):
            process.suspend()
            sleep(chance.choice([0.3, 1.0, 7.0]))
            process.resume()

    # The examiner.

    def _look(self) -> None:
        """Compare what the ledgers say of each other, again and again, while everything happens."""
        while not self._over.wait(0.5):
            try:
                found = self._disagreement()
            except psycopg.Error:
                continue  # a database is away
            self._looks += 1
            if found:
                self.faults.append(f"a false alarm: {found}")

    def _disagreement(self) -> Sequence[Any]:
        with ExitStack() as stack:
            return examined(
                [stack.enter_context(of.database.connect("test doctor")) for of in self._installations]
            )

    # The end.

    def _await_ends(self) -> None:
        give_up_at = monotonic() + PATIENCE_SECONDS
        left = ["nothing answers"]
        while left:
            with suppress(httpx2.TransportError), self._service.client(5.0) as client:
                left = list(self._unended(client))
            if monotonic() > give_up_at:
                raise AssertionError(f"these never ended: {left[:5]}, {self._service.output[-20:]}")
            sleep(0.5)

    def _unended(self, client: httpx2.Client) -> Iterator[str]:
        for ledger in PLACES:
            head = client.get(f"/v1/ledgers/{ledger}").headers.get("ledger-position", "0")
            for state in ("accepted", "submitted", "in_doubt", "stuck"):
                query = {"state": state, "min_position": head, "page_size": "5"}
                answer = client.get(f"/v1/ledgers/{ledger}/payouts", params=query)
                if answer.status_code != 200:
                    yield f"{ledger}: {answer.status_code} {answer.text}"
                    return
                yield from (payout["id"] for payout in answer.json()["data"])

    def _judged(self, killed: Counter[str]) -> Outcome:
        """Assert that both journals agree on each bridge, and that each is as its request foretells."""
        states: dict[str, State] = {}
        for installation in self._installations:
            events = history(installation.database)
            of_installation = folded(events)
            invariants.check(events, of_installation)
            states |= of_installation
        payouts = [self._judged_payout(asked, states) for asked in self.requests]
        received = [
            state
            for state in states.values()
            if isinstance(state, Transaction) and state.actor.startswith("bridge:")
        ]
        assert len(received) == len({made.idempotency_key for made in received}) == len(payouts)
        assert self._disagreement() == []
        kept = [s for s in states.values() if isinstance(s, Account) and is_bridge_account(s.address)]
        assert sum(account.balance for account in kept) == 0
        assert not any(account.pending_credits or account.pending_debits for account in kept)
        users = [s for s in states.values() if isinstance(s, Account) and s.address in USERS]
        assert sum(account.balance for account in users) == DEPOSIT * len(USERS) * len(PLACES)
        return Outcome(
            Counter(payout.state for payout in payouts),
            killed,
            sum(payout.attempts > 1 for payout in payouts),
            sum(any(step.state == "in_doubt" for step in payout.history) for payout in payouts),
            self._looks,
            sorted(self._seconds_of(payout) for payout in payouts),
        )

    def _judged_payout(self, asked: Request, states: Mapping[str, State]) -> Payout:
        id = operation_id(asked.sender, asked.key)
        payout: Payout = states[payout_stream(asked.sender, id)]
        made: Transaction = states[
            transaction_stream(asked.receiver, received_id(asked.receiver, payout.provider_key))
        ]
        may_be_refused = asked.to in ("nobody", "frozen", "limited")
        assert payout.state == ("failed" if made.rejection else "completed"), payout
        assert made.rejection is None or may_be_refused, made
        assert made.rejection is not None or asked.to not in ("nobody", "frozen"), made
        assert made.entries[1].amount == asked.amount == payout.amount
        account: Account = states[account_stream(asked.sender, asked.account)]
        assert account.pending_debits == 0
        return payout

    def _seconds_of(self, payout: Payout) -> float:
        assert payout.ended_at is not None
        return moment(payout.ended_at).timestamp() - self._began[payout.idempotency_key]


def _request(number: int, chance: random.Random) -> Request:
    sender, receiver = chance.sample(list(PLACES), 2)
    to = chance.choice([*USERS[:3], *USERS[:3], "limited", "frozen", "nobody"])
    return Request(
        f"bridge-{number}", sender, chance.choice(USERS[:3]), receiver, to, chance.randint(1, 1_000)
    )


def _said(client: httpx2.Client, path: str, body: dict[str, Any], key: str = "") -> None:
    answer = client.post(path, json=body, headers={"Idempotency-Key": key} if key else {})
    assert answer.status_code in (200, 201), answer.text


def _with(installation: Installation, kill: Callable[[Installation, random.Random], None]) -> Kill:
    return lambda chance: kill(installation, chance)


def _killed(process: psutil.Process | None) -> None:
    if process is not None:
        process.kill()


def _kill_postgres(installation: Installation, chance: random.Random) -> None:
    pid = installation.postgres.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    while installation.postgres.is_running:
        sleep(0.01)
    sleep(chance.choice([0.0, 0.5, 2.0]))
    installation.postgres.start()


def _cut(installation: Installation, chance: random.Random) -> None:
    installation.proxy.cut()
    sleep(chance.choice([0.1, 0.5, 2.0, 5.0]))
    installation.proxy.restore()


def _lose_answers(installation: Installation, chance: random.Random) -> None:
    """Let everything arrive, and no answer: what was committed meanwhile is in doubt."""
    installation.proxy.loses_answers = True
    sleep(chance.choice([0.05, 0.3, 1.0]))
    installation.proxy.cut()
    installation.proxy.loses_answers = False
    installation.proxy.restore()


@contextmanager
def placed(folder: Path) -> Iterator[tuple[Service, Sequence[Installation]]]:
    """A service over two installations, each on a server of its own behind a proxy."""
    with ExitStack() as stack:
        installations = []
        for name in ("east", "west"):
            postgres = EmbeddedPostgres(folder / name)
            stack.callback(postgres.stop)
            postgres.start()
            proxy = stack.enter_context(Network(postgres.url))
            installations.append(Installation(name, postgres, proxy))
        named = {of.name: {"database_url": of.proxy.database_url} for of in installations}
        stack.enter_context(patch.dict(os.environ, TALLYSTICK_INSTALLATIONS=json.dumps(named)))
        service = stack.enter_context(serving(folder / "service", "--workers", "2"))
        yield service, installations


def bridged(folder: Path, transfers: int, kills: int, seed: int = 1) -> Outcome:
    """Carry out one run in a folder."""
    with placed(folder) as (service, installations):
        outcome = Run(service, installations, transfers).carry_out(kills, seed)
        assert service.stop() == 0
        return outcome


def _report(outcome: Outcome, seconds: float) -> None:
    print(f"{sum(outcome.ends.values())} bridges in {seconds:.0f} s: {dict(outcome.ends)}")
    print(f"{sum(outcome.kills.values())} kills:")
    for kind, times in sorted(outcome.kills.items()):
        print(f"  {times:4} × {kind}")
    print(f"in doubt meanwhile: {outcome.doubted}, submitted more than once: {outcome.submitted_again}")
    print(f"looks of the examiner meanwhile: {outcome.looks}, false alarms: 0")
    print("lost: 0, doubled: 0, sums that do not cancel out: 0, left to a person: 0")
    seen = outcome.latencies_seconds
    shares = ", ".join(f"p{share} {seen[len(seen) * share // 100] * 1000:.0f} ms" for share in (50, 90, 99))
    print(f"from the request to the end, under the kills: {shares}, longest {seen[-1]:.1f} s")


def main() -> None:
    """Do a run, and print what it has shown. Whatever is wrong ends it with an assertion."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--transfers", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    began = monotonic()
    with tempfile.TemporaryDirectory(prefix="tallystick-bridging-") as folder:
        os.chmod(folder, 0o755)
        outcome = bridged(Path(folder), asked.transfers, asked.kills, asked.seed)
    _report(outcome, monotonic() - began)


if __name__ == "__main__":
    main()
