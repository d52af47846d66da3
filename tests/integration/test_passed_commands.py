"""One process commits for another: answers are those of one process, and without it nothing is lost or done twice.

Both sides of the door are in this process, each with a ledger of its own on the same journal.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from time import monotonic
from typing import Any, NamedTuple

import pytest
import uvloop

from api.service.committing import door, passing, taking
from api.service.committing.door import Door, inherited, make_door, opened
from api.service.committing.messages import BEAT, Asked, Incoming, encode
from api.service.committing.passing import PassedOn, Way
from api.service.committing.taking import Committer
from domain.application import LedgerApplication
from domain.commit.decider import Result
from domain.journal.database import Database
from domain.model.accounts import ChangeAccount
from domain.model.commands import Command, Outcome
from domain.model.errors import (
    AccountNotFound,
    BatchRejected,
    IdempotencyKeyReused,
    JournalUnavailable,
    Overloaded,
)
from tests.ledgers import CONTEXT, folded, history, open_accounts, running, transfer

pytestmark = pytest.mark.integration

NAME = "the installation"
PATIENCE_SECONDS = 30


class Sides(NamedTuple):
    """The ledger that passes commands on, its way to the other, the ledger that commits, and both sides of the door."""

    ledger: LedgerApplication
    way: Way
    committing: LedgerApplication
    inside: Door
    outside: Door


@contextmanager
def doors() -> Iterator[tuple[Door, Door]]:
    """Both sides of a door."""
    inside, outside = make_door()
    with ExitStack() as stack:
        sides = (
            inherited(inside.detach(), is_inside=True),
            inherited(outside.detach(), is_inside=False),
        )
        for side in sides:
            stack.callback(side.side.close)
        yield sides


@asynccontextmanager
async def sides(database: Database) -> AsyncIterator[Sides]:
    """Two ledgers on one journal, with two accounts. Nobody is behind the door yet."""
    with running(database) as committing, running(database) as ledger, doors() as (inside, outside):
        await asyncio.to_thread(open_accounts, committing, "a", "b")
        way = Way(outside.side)
        ledger.commit = PassedOn(ledger.group_commit, way, NAME)
        try:
            yield Sides(ledger, way, committing, inside, outside)
        finally:
            way.stop()


@asynccontextmanager
async def passing_on(database: Database) -> AsyncIterator[Sides]:
    """The same, once one passes its commands on to the other."""
    async with sides(database) as both:
        committer = Committer(both.inside.side, {NAME: both.committing.group_commit})
        committer.start()
        both.way.start()
        await until(lambda: both.way.is_open)
        try:
            yield both
        finally:
            committer.stop()


async def until(is_so: Callable[[], bool]) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not is_so():
            await asyncio.sleep(0.01)


async def results(ledger: LedgerApplication, *commands: Command, **options: bool) -> Sequence[Result]:
    """What becomes of commands, asked for in the event loop's thread as requests are."""
    return await asyncio.wait_for(asyncio.wrap_future(ledger.execute(*commands, **options)), PATIENCE_SECONDS)


class Silent:
    """A process behind the door that says that it is there and answers nothing."""

    def __init__(self, both: Sides) -> None:
        self._both = both
        self.asked: list[Any] = []

    async def take_in(self) -> None:
        """Open the door."""
        ends: list[socket.socket] = []

        def is_knocked() -> bool:
            ends.extend(opened(self._both.inside.side))
            return bool(ends)

        await until(is_knocked)
        (self._end,) = ends
        self._end.sendall(BEAT)
        await until(lambda: self._both.way.is_open)

    async def hear(self) -> None:
        """Take what is asked."""
        incoming, loop = Incoming(), asyncio.get_running_loop()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not self.asked:
                for message in incoming.messages(await loop.sock_recv(self._end, 65536)):
                    self.asked += message

    def die(self) -> None:
        """Close the only end that it has."""
        self._end.close()


def run(test: Any) -> Any:
    """Run a test in an event loop, of the kind that the service has."""
    return uvloop.run(test)


def test_answers_are_those_of_one_process(database: Database) -> None:
    async def test() -> None:
        async with passing_on(database) as both:
            ledger, first = both.ledger, transfer("a", "b", 5, "k-1")
            posted, unknown = await results(ledger, first, transfer("a", "nobody", 5))
            assert isinstance(posted, Outcome) and posted.recorded and not posted.replayed
            assert ledger.commit.position == posted.position == both.committing.group_commit.position
            assert isinstance(unknown, AccountNotFound) and unknown.position == posted.position
            assert unknown.details["account"] == "nobody"
            replayed, reused = await results(ledger, first, transfer("a", "b", 6, "k-1", fingerprint="g"))
            assert replayed == posted._replace(recorded=False, replayed=True)
            assert isinstance(reused, IdempotencyKeyReused)
            rejected = await results(ledger, transfer("a", "b", 1), transfer("a", "x", 1), all_or_none=True)
            assert [type(result) for result in rejected] == [BatchRejected] * 2
            assert isinstance(rejected[0], BatchRejected) and isinstance(rejected[0].cause, AccountNotFound)
            (dry,) = await results(ledger, transfer("a", "b", 1), dry_run=True)
            assert isinstance(dry, Outcome) and not dry.recorded
            # Nothing was committed by the process that passed it on, and its reads see it all.
            assert ledger.group_commit.position == 0
            assert ledger.account("main", "b")[0].balance == 5

    run(test())


def test_other_threads_pass_commands_on_too(database: Database) -> None:
    async def test() -> None:
        async with passing_on(database) as both:
            outcome = await asyncio.to_thread(both.ledger.perform, transfer("a", "b", 5))
            assert outcome.recorded and both.ledger.group_commit.position == 0

    run(test())


def test_a_batch_larger_than_one_commit_is_passed_on(database: Database) -> None:
    async def test() -> None:
        async with passing_on(database) as both:
            done = await results(both.ledger, *(transfer("a", "b", 1) for _ in range(2_500)))
            assert all(isinstance(result, Outcome) and result.recorded for result in done)
            assert both.ledger.group_commit.position == 0

    run(test())


def test_a_full_queue_refuses_what_is_passed_on(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        async with passing_on(database) as both:

            def refuse(*_: Any, **__: Any) -> None:
                raise Overloaded

            monkeypatch.setattr(both.committing.group_commit, "submit", refuse)
            (refused,) = await results(both.ledger, transfer("a", "b", 1))
            assert isinstance(refused, Overloaded)

    run(test())


def test_too_much_on_its_way_refuses_more(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        async with sides(database) as both:
            silent = Silent(both)
            both.way.start()
            await silent.take_in()
            monkeypatch.setattr(passing, "MAX_WAITING_COMMANDS", 2)
            fullness = [both.ledger.commit.is_full]
            waiting = asyncio.ensure_future(
                results(both.ledger, transfer("a", "b", 1), transfer("a", "b", 1))
            )
            await silent.hear()
            fullness.append(both.ledger.commit.is_full)
            silent.die()
            assert [isinstance(result, Outcome) for result in await waiting] == [True, True]
            assert [*fullness, both.ledger.commit.is_full] == [False, True, False]

    run(test())


def test_what_waits_for_one_installation_refuses_nothing_of_another(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        async with sides(database) as both:
            silent = Silent(both)
            both.way.start()
            await silent.take_in()
            monkeypatch.setattr(passing, "MAX_WAITING_COMMANDS", 1)
            other = PassedOn(both.committing.group_commit, both.way, "another installation")
            waiting = asyncio.ensure_future(results(both.ledger, transfer("a", "b", 1)))
            await silent.hear()
            assert both.ledger.commit.is_full and not other.is_full
            silent.die()
            await waiting

    run(test())


def test_a_process_that_goes_on_after_it_hung_takes_nothing_that_it_finds_then(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its callers were told that nobody knows, and may have changed the same again since."""

    async def test() -> None:
        async with sides(database) as both:
            mine, theirs = socket.socketpair()
            with mine:
                monkeypatch.setattr(taking, "HUNG_SECONDS", 5.0)
                theirs.setblocking(False)
                commits = {NAME: both.committing.group_commit}
                other = taking.Other(asyncio.get_running_loop(), commits, set())
                change = ChangeAccount(CONTEXT, "main", "a", metadata={"colour": "red"})
                for number, seconds in enumerate((6.0, 4.0)):
                    mine.sendall(encode([Asked(number, NAME, [change], False, False, monotonic() - seconds)]))
                await asyncio.get_running_loop().create_unix_connection(lambda: other, sock=theirs)
                mine.setblocking(False)
                incoming = Incoming()
                told: list[Any] = []
                async with asyncio.timeout(PATIENCE_SECONDS):
                    while len(told) < 2:
                        data = await asyncio.get_running_loop().sock_recv(mine, 65536)
                        told += [one for message in incoming.messages(data) for one in message]
                late, timely = sorted(told)
                assert late.results is None
                assert isinstance(timely.results[0], Outcome) and timely.results[0].recorded
                other.close()

    run(test())


def test_a_process_of_another_release_is_not_let_in(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        async with sides(database) as both:
            with monkeypatch.context() as older:
                older.setattr(door, "_KNOCK", b"another release")
                end = door.knock(both.outside.side)
            with end:
                assert opened(both.inside.side) == []
                assert end.recv(1) == b""

    run(test())


def test_a_fault_in_one_answer_keeps_no_other_waiting(database: Database) -> None:
    async def test() -> None:
        async with sides(database) as both:
            silent = Silent(both)
            both.way.start()
            await silent.take_in()

            def fail(_: Sequence[Result]) -> None:
                raise RuntimeError("nobody can hear this")

            both.ledger.commit.submit([ChangeAccount(CONTEXT, "main", "a", metadata={})], fail)
            waiting = asyncio.ensure_future(results(both.ledger, transfer("a", "b", 5)))
            await silent.hear()
            silent.die()
            (outcome,) = await waiting
            assert isinstance(outcome, Outcome) and outcome.recorded
            # It knocks again.
            await silent.take_in()
            silent.die()

    run(test())


def test_a_process_that_stops_takes_nothing_more_and_others_commit(database: Database) -> None:
    async def test() -> None:
        async with passing_on(database) as both:
            both.committing.group_commit.stop()
            (outcome,) = await results(both.ledger, transfer("a", "b", 5))
            assert isinstance(outcome, Outcome) and outcome.recorded
            assert both.ledger.group_commit.position == outcome.position

    run(test())


def test_nobody_behind_the_door_keeps_no_command_waiting(database: Database) -> None:
    async def test() -> None:
        async with sides(database) as both:
            both.way.start()
            (outcome,) = await results(both.ledger, transfer("a", "b", 5))
            assert isinstance(outcome, Outcome) and outcome.recorded
            # Whoever comes later finds the knock.
            committer = Committer(both.inside.side, {NAME: both.committing.group_commit})
            committer.start()
            await until(lambda: both.way.is_open)
            committer.stop()

    run(test())


@pytest.mark.parametrize("had_recorded", [True, False])
def test_the_key_tells_what_became_of_a_command_in_doubt(database: Database, had_recorded: bool) -> None:
    async def test() -> None:
        async with sides(database) as both:
            silent = Silent(both)
            both.way.start()
            await silent.take_in()
            command = transfer("a", "b", 5)
            waiting = asyncio.ensure_future(results(both.ledger, command))
            await silent.hear()
            if had_recorded:
                await asyncio.to_thread(both.committing.perform, silent.asked[0].commands[0])
            silent.die()
            (outcome,) = await waiting
            assert isinstance(outcome, Outcome)
            assert (outcome.recorded, outcome.replayed) == (not had_recorded, had_recorded)

    run(test())
    assert folded(history(database))["main/accounts/b"].balance == 5


def test_what_no_key_tells_is_answered_as_unknown(database: Database) -> None:
    """The other process may still do it, and would do it after what is asked for next."""

    async def test() -> None:
        async with sides(database) as both:
            silent = Silent(both)
            both.way.start()
            await silent.take_in()
            change = ChangeAccount(CONTEXT, "main", "a", metadata={"colour": "red"})
            waiting = asyncio.ensure_future(
                results(both.ledger, transfer("a", "b", 5), change, transfer("a", "nobody", 5))
            )
            dry = asyncio.ensure_future(results(both.ledger, transfer("a", "nobody", 5), dry_run=True))
            await until(lambda: both.way.is_open)
            await silent.hear()
            silent.die()
            posted, changed, refused = await waiting
            assert isinstance(posted, Outcome) and posted.recorded
            for unknown in (changed, refused):
                assert isinstance(unknown, JournalUnavailable) and unknown.reason == "interrupted"
            assert isinstance((await dry)[0], AccountNotFound)
            assert both.ledger.account("main", "a")[0].metadata == {}

    run(test())


def test_a_process_that_hangs_is_waited_for_no_longer(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passing, "LOOK_SECONDS", 0.01)

    async def test() -> None:
        async with sides(database) as both:
            silent = Silent(both)
            both.way.start()
            await silent.take_in()
            (outcome,) = await results(both.ledger, transfer("a", "b", 5))
            assert isinstance(outcome, Outcome) and outcome.recorded
            assert not both.way.is_open and both.ledger.group_commit.position == outcome.position
            silent.die()

    run(test())
