"""The other processes: they pass their commands on to the one that commits, and commit by themselves without it.

**In doubt.** If the process that commits dies or hangs, nobody knows what became of the commands that it was sent and
has not answered. Keyed commands are decided again here: the lock on the head waits for a commit under way, and the key
tells whether it took place. The other commands are answered `journal_unavailable`. The process may go on, and would
carry out a change after a later one. For the same reason a keyed command that is refused here without a trace is
answered so: it may be recorded yet.

**Hanging.** A process that answers commands late is waited for as long as it says that it runs, because its own callers
wait as long (`domain/commit/patience.py`). One that says nothing for four seconds hangs. Deadlines count from the
request, so that its callers are answered in time. When it goes on, it takes nothing that it finds so late.
"""

import asyncio
import socket
import threading
from collections.abc import Callable, Sequence
from functools import partial
from time import monotonic
from typing import NamedTuple, cast

import structlog

from api.service.committing.door import converse, knock
from api.service.committing.messages import BEAT, Answered, Asked, Incoming, encode
from domain.commit.decider import Reply, Result
from domain.commit.interface import Commit
from domain.commit.queue import MAX_WAITING_BYTES, MAX_WAITING_COMMANDS
from domain.model.commands import Command, Outcome
from domain.model.errors import JournalUnavailable, LedgerError

LOOK_SECONDS = 0.5
"""How often a process that owes answers is asked whether it runs."""

LOOKS_UNTIL_HUNG = 8
"""After so many looks without a word it hangs. Looks are counted: if this process was stopped, no time has passed."""

HUNG_SECONDS = LOOK_SECONDS * LOOKS_UNTIL_HUNG
"""What was asked for so long ago and is only found now, was asked of a process that hung: nobody waits for it here."""

KNOCK_AGAIN_SECONDS = 0.2

_log = structlog.get_logger(__name__)


class Sent(NamedTuple):
    """Commands that were passed on and are not answered, who passed them on, and how many bytes they take."""

    commit: "PassedOn"
    commands: Sequence[Command]
    reply: Reply
    all_or_none: bool
    dry_run: bool
    asked_at_seconds: float
    size: int = 0


class PassedOn:
    """Takes the commands of one installation in a process that passes them on. `own` is its own group commit."""

    def __init__(self, own: Commit, way: "Way", installation: str) -> None:
        self._own = own
        self._way = way
        self._installation = installation
        self._position = 0
        self._commands = 0
        self._bytes = 0

    @property
    def position(self) -> int:
        """The newest position of the journal that this process knows to be committed."""
        return max(self._own.position, self._position)

    @property
    def waiting_commands(self) -> int:
        """How many commands wait for the next batches here. What was passed on waits in the other process."""
        return self._own.waiting_commands

    @property
    def is_full(self) -> bool:
        """Whether so much waits, here or there, that no more commands are taken now.

        Counted for each installation: what waits for one that does not answer keeps no other from being written.
        """
        is_full = self._commands >= MAX_WAITING_COMMANDS or self._bytes >= MAX_WAITING_BYTES
        return is_full or self._own.is_full

    def submit(
        self,
        commands: Sequence[Command],
        reply: Reply,
        *,
        all_or_none: bool = False,
        dry_run: bool = False,
        asked_at_seconds: float | None = None,
    ) -> None:
        """Pass commands on, or commit them here; see `GroupCommit.submit`."""
        asked_at_seconds = monotonic() if asked_at_seconds is None else asked_at_seconds
        if not (commands and self._way.is_open):
            self._own.submit(
                commands, reply, all_or_none=all_or_none, dry_run=dry_run, asked_at_seconds=asked_at_seconds
            )
            return
        sent = Sent(self, commands, reply, all_or_none, dry_run, asked_at_seconds)
        self._way.pass_on(self._installation, sent)

    def count(self, commands: int, size: int) -> None:
        """Count commands that are passed on, by number and bytes. With negative numbers: that are not any more."""
        self._commands += commands
        self._bytes += size

    def answered(self, sent: Sent, answered: Answered) -> None:
        """Answer commands as the process does that commits."""
        self._position = answered.position
        if answered.results is None:
            self.decide_here(sent)
        else:
            sent.reply(answered.results)

    def decide_here(self, sent: Sent) -> None:
        """Commit commands that were not taken."""
        self._submit(sent, sent.commands, sent.reply)

    def decide_again(self, sent: Sent) -> None:
        """Answer commands of which nobody knows what became of them."""
        known = [sent.dry_run or command.own_stream is not None for command in sent.commands]
        if sent.all_or_none and not all(known):
            known = [False] * len(known)
        again = [command for command, is_known in zip(sent.commands, known, strict=True) if is_known]

        def reply(results: Sequence[Result]) -> None:
            left = iter(results)
            of_all: list[Result] = [next(left) if is_known else _in_doubt() for is_known in known]
            is_certain = sent.dry_run  # it can leave nothing behind
            sent.reply(of_all if is_certain else [*map(_certain, of_all)])

        self._submit(sent, again, reply)

    def _submit(self, sent: Sent, commands: Sequence[Command], reply: Reply) -> None:
        try:
            self._own.submit(
                commands,
                reply,
                all_or_none=sent.all_or_none,
                dry_run=sent.dry_run,
                asked_at_seconds=sent.asked_at_seconds,
            )
        except LedgerError as refusal:
            reply([refusal] * len(commands))


class Way(asyncio.Protocol):
    """The way from this process to the one that commits, open while that process says that it runs.

    All but `pass_on` is called in the event loop's thread.
    """

    def __init__(self, outside: socket.socket) -> None:
        """`outside` is this process's side of the door."""
        self._outside = outside
        self._loop = asyncio.get_running_loop()
        self._thread_id = threading.get_ident()
        self._sent: dict[int, Sent] = {}
        self._number = 0
        self._incoming = Incoming()
        self._transport: asyncio.Transport | None = None
        self._conversing: asyncio.Task[None] | None = None
        self._looks = 0
        self._is_looking = False
        self._stopping = False
        self.is_open = False
        """Whether commands are passed on."""

    def start(self) -> None:
        """Knock at the door."""
        self._knock()

    def stop(self) -> None:
        """Pass nothing more on, and knock no more."""
        self._stopping = True
        self._outside.close()
        if self._transport is not None:
            self._transport.abort()

    def pass_on(self, installation: str, sent: Sent) -> None:
        """Send commands to the process that commits. May be called in any thread."""
        if threading.get_ident() == self._thread_id:
            self._send(installation, sent)
        else:
            self._loop.call_soon_threadsafe(self._send, installation, sent)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait to hear from the process that commits: it may not be there yet."""
        self._transport = cast(asyncio.Transport, transport)
        self._incoming = Incoming()

    def data_received(self, data: bytes) -> None:
        """Give the answers to who asked."""
        self._looks = 0
        if not self.is_open:
            self.is_open = True
            _log.info("another process commits")
        for message in self._incoming.messages(data):
            for answered in message:
                sent = self._forget(answered.number)
                _settle(partial(sent.commit.answered, sent, answered))

    def connection_lost(self, _: Exception | None) -> None:
        """Decide what is not answered, and knock again."""
        was_open, self.is_open, self._transport = self.is_open, False, None
        if was_open and not self._stopping:
            in_doubt = sum(len(sent.commands) for sent in self._sent.values())
            _log.info("this process commits by itself", commands_in_doubt=in_doubt)
        for number in list(self._sent):
            sent = self._forget(number)
            _settle(partial(sent.commit.decide_again, sent))
        self._knock_again()

    def _send(self, installation: str, sent: Sent) -> None:
        if not self.is_open or self._transport is None:
            sent.commit.decide_here(sent)
            return
        self._number += 1
        _, commands, _, all_or_none, dry_run, asked_at_seconds, _ = sent
        asked = Asked(self._number, installation, commands, all_or_none, dry_run, asked_at_seconds)
        try:
            message = encode([asked])
        except Exception:  # noqa: BLE001  whatever it is, the commands can be decided here
            _log.exception("commands could not be passed on")
            sent.commit.decide_here(sent)
            return
        self._sent[self._number] = sent._replace(size=len(message))
        sent.commit.count(len(commands), len(message))
        self._transport.write(message)
        if not self._is_looking:
            self._is_looking = True
            self._looks = 0
            self._loop.call_later(LOOK_SECONDS, self._look)

    def _forget(self, number: int) -> Sent:
        sent = self._sent.pop(number)
        sent.commit.count(-len(sent.commands), -sent.size)
        return sent

    def _look(self) -> None:
        """While answers are owed, ask whether the process that commits still runs."""
        self._is_looking = bool(self._sent) and self._transport is not None
        if not self._is_looking or self._transport is None:
            return
        self._looks += 1
        if self._looks > LOOKS_UNTIL_HUNG:
            self._is_looking = False
            _log.warning("the process that commits hangs")
            self._transport.abort()
            return
        self._transport.write(BEAT)
        self._loop.call_later(LOOK_SECONDS, self._look)

    def _knock(self) -> None:
        if self._stopping:
            return
        try:
            end = knock(self._outside)
        except OSError:
            self._knock_again()
            return
        self._conversing = self._loop.create_task(converse(end, lambda: self))

    def _knock_again(self) -> None:
        if not self._stopping:
            self._loop.call_later(KNOCK_AGAIN_SECONDS, self._knock)


def _settle(settle: Callable[[], None]) -> None:
    try:
        settle()
    except Exception:  # noqa: BLE001  a fault in one caller's `reply` must not concern the others
        _log.exception("reply failed")


def _in_doubt() -> JournalUnavailable:
    return JournalUnavailable("interrupted")


def _certain(result: Result) -> Result:
    """Return a result that stands whatever the other process still does: what is recorded stays so, a refusal not."""
    if isinstance(result, Outcome | JournalUnavailable):
        return result
    return _in_doubt()
