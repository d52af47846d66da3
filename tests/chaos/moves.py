"""A large ledger moves under load, and many small ones while movers and databases are killed. Run by hand:

    python -m tests.chaos.moves --events 1000000
    python -m tests.chaos.moves --kills 100

The first prints how long the move took and for how long writes were refused. The second moves a ledger to and fro; each
time the mover, or one of the two PostgreSQL servers, is killed at a random moment, and the move is run again. At the
end everything acknowledged must be there once, and both journals must keep their rules.
"""

import argparse
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep

import psutil

from domain.application import LedgerApplication
from domain.commit.decider import Result
from domain.journal.database import Database
from domain.model.commands import Outcome
from domain.model.errors import JournalUnavailable, LedgerMoved, LedgerMoving
from domain.placement.installations import Installation
from scripts.serving.embedded_postgres import EmbeddedPostgres
from tests.ledgers import history, open_accounts, running, transfer
from tests.moving import broken_rules
from tests.placements import environment_of, prepared
from tests.service import ROOT

ACCOUNTS = 1_000
AT_ONCE = 500
EVENTS_OF_TRANSFER = 3


class Client(threading.Thread):
    """Posts under keys of its own, at the place where the ledger is, each key until it is acknowledged."""

    def __init__(self, places: dict[str, LedgerApplication], number: int, pause_seconds: float) -> None:
        super().__init__(daemon=True)
        self._places = places
        self._number = number
        self._pause_seconds = pause_seconds
        self.stopping = threading.Event()
        self.acknowledged: list[str] = []
        self.refusals: list[float] = []

    def run(self) -> None:
        """Post until told to stop."""
        at = next(iter(self._places))
        while not self.stopping.is_set():
            key = f"client-{self._number}-{len(self.acknowledged)}"
            (result,) = self._places[at].execute(transfer("a", "b", 1, key=key)).result()
            if isinstance(result, Outcome):
                self.acknowledged.append(key)
                self.stopping.wait(self._pause_seconds)
            elif isinstance(result, LedgerMoved):
                at = result.details["installation"]
            else:
                assert isinstance(result, LedgerMoving | JournalUnavailable), result
                self.refusals.append(monotonic())
                self.stopping.wait(0.02)


def fill(ledger: LedgerApplication, events: int) -> None:
    """Record transfers between many accounts, so many events in all."""
    chance = random.Random(1)
    names = [f"account-{number}" for number in range(ACCOUNTS)]
    open_accounts(ledger, "a", "b", *names)
    for _ in range(events // EVENTS_OF_TRANSFER // AT_ONCE):
        pairs = [chance.sample(names, 2) for _ in range(AT_ONCE)]
        batch = [transfer(debited, credited, 1) for debited, credited in pairs]
        results: Sequence[Result] = ledger.execute(*batch).result()
        assert all(isinstance(result, Outcome) for result in results)


@contextmanager
def two_servers(folder: Path) -> Iterator[dict[str, EmbeddedPostgres]]:
    """Two PostgreSQL servers, each for one installation."""
    with ExitStack() as stack:
        servers = {}
        for name in ("east", "west"):
            server = servers[name] = EmbeddedPostgres(folder / name)
            server.start()
            stack.callback(server.stop)
        yield servers


def mover(placed: Sequence[Installation], to: str) -> "subprocess.Popen[str]":
    """Start the command that moves the ledger."""
    command = [sys.executable, "-m", "scripts.tallystick", "place", "main", "--on", to, "--yes"]
    environment = {**os.environ, **environment_of(placed), "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def projecting_beside(installation: Installation) -> "subprocess.Popen[bytes]":
    """Start a projector of an installation."""
    command = [sys.executable, "-m", "scripts.tallystick", "project"]
    environment = {
        **os.environ,
        "TALLYSTICK_DATABASE_URL": installation.database.url,
        "TALLYSTICK_SCHEMA": installation.database.schema,
        "PYTHONPATH": str(ROOT),
    }
    return subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)


def processor_seconds(servers: dict[str, EmbeddedPostgres]) -> tuple[float, float]:
    """Return the processor time of all movers that ended, and of the servers, which serve the clients too."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    of_servers = 0.0
    for server in servers.values():
        parent = psutil.Process(server.pid)
        for process in (parent, *parent.children(recursive=True)):
            times = process.cpu_times()
            of_servers += times.user + times.system + times.children_user + times.children_system
    return ended.ru_utime + ended.ru_stime, of_servers


def check(clients: Sequence[Client], places: dict[str, LedgerApplication], at: str) -> None:
    """Stop the clients, and require that each acknowledged key is there once."""
    for client in clients:
        client.stopping.set()
        client.join()
    keys = [key for client in clients for key in client.acknowledged]
    balance = places[at].account("main", "b")[0].balance
    unknown = [
        key
        for begin in range(0, len(keys), AT_ONCE)
        for key, result in zip(
            keys[begin : begin + AT_ONCE],
            places[at]
            .execute(*(transfer("a", "b", 1, key=key) for key in keys[begin : begin + AT_ONCE]))
            .result(),
            strict=True,
        )
        if not (isinstance(result, Outcome) and result.replayed)
    ]
    # A request that was cut off when its client was stopped may be recorded, and is not acknowledged.
    assert not unknown and len(keys) <= balance <= len(keys) + len(clients), (unknown, balance, len(keys))
    print(f"{len(keys)} acknowledged, each there once")  # noqa: T201


def measure(folder: Path, events: int, has_projectors: bool) -> None:
    """Move a ledger of so many events while two clients post to it and one posts beside it at the new place."""
    with two_servers(folder) as servers, ExitStack() as stack:
        placed = [Installation(name, Database(server.url)) for name, server in servers.items()]
        prepared(placed)
        places = {found.name: stack.enter_context(running(found.database)) for found in placed}
        began = monotonic()
        fill(places["east"], events)
        open_accounts(places["west"], "a", "b", book="other")
        prepared(placed)
        print(f"filled with {events:,} events in {monotonic() - began:.1f} s")  # noqa: T201
        projectors = [projecting_beside(found) for found in placed] if has_projectors else []
        clients = [Client(places, number, 0.02) for number in range(2)]
        for client in clients:
            client.start()
        slowest, stopping = [0.0], threading.Event()

        def beside() -> None:
            while not stopping.is_set():
                asked = monotonic()
                places["west"].perform(transfer("a", "b", 1, book="other"))
                slowest[0] = max(slowest[0], monotonic() - asked)
                stopping.wait(0.02)

        other = threading.Thread(target=beside)
        other.start()
        began, used = monotonic(), processor_seconds(servers)
        process = mover(placed, "west")
        said, _ = process.communicate()
        seconds = monotonic() - began
        of_mover, of_servers = (
            after - before for before, after in zip(used, processor_seconds(servers), strict=True)
        )
        stopping.set()
        other.join()
        print(said)  # noqa: T201
        assert process.returncode == 0
        refused = sorted(time for client in clients for time in client.refusals)
        sleep(0.5)
        check(clients, places, "west")
        for projector in projectors:
            projector.terminate()
            projector.wait()
        window = refused[-1] - refused[0] if refused else 0.0
        print(f"moved in {seconds:.1f} s; refused for {window:.2f} s")  # noqa: T201
        print(f"processor time: mover {of_mover:.1f} s, servers {of_servers:.1f} s")  # noqa: T201
        print(f"the slowest write beside it at the new place took {slowest[0]:.2f} s")  # noqa: T201


def kill(folder: Path, kills: int) -> None:
    """Move a ledger to and fro, and kill the mover or a server at a random moment of each move."""
    chance = random.Random()
    with two_servers(folder) as servers, ExitStack() as stack:
        placed = [Installation(name, Database(server.url)) for name, server in servers.items()]
        prepared(placed)
        places = {found.name: stack.enter_context(running(found.database)) for found in placed}
        open_accounts(places["east"], "a", "b")
        prepared(placed)
        clients = [Client(places, number, 0.02) for number in range(2)]
        for client in clients:
            client.start()
        done, at, other = 0, "east", "west"
        while done < kills:
            at, other = other, at
            while (process := mover(placed, at)).poll() is None:
                try:
                    process.wait(chance.uniform(1.0, 8.0))
                except subprocess.TimeoutExpired:
                    done += 1
                    victim = chance.choice(["mover", "mover", "east", "west"])
                    if victim == "mover":
                        process.kill()
                    else:
                        pid = servers[victim].pid
                        assert pid is not None
                        with suppress(ProcessLookupError):
                            os.kill(pid, signal.SIGKILL)
                        sleep(0.2)
                        servers[victim].start()
                said, _ = process.communicate()
                if process.returncode == 0:
                    break
                print(f"{done}: {said.splitlines()[-1] if said else 'killed'}")  # noqa: T201
            print(f"{done}: on {at}")  # noqa: T201
        check(clients, places, at)
        for found in placed:
            assert not broken_rules(found.database)
        print(f"{done} kills; {len(history(placed[0].database))} events, all rules kept")  # noqa: T201


def main() -> None:
    """Measure, or kill."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--events", type=int, default=0)
    parser.add_argument("--projectors", action="store_true")
    parser.add_argument("--kills", type=int, default=0)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="moves-") as folder:
        if asked.events:
            measure(Path(folder), asked.events, asked.projectors)
        if asked.kills:
            kill(Path(folder), asked.kills)


if __name__ == "__main__":
    main()
