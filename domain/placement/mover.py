"""The mover: takes a ledger from one installation to another while both serve.

It copies until little is left, compares, stops writes for the moment that the rest takes, compares again, and lets the
ledger go and arrive. It may be killed at any moment and run again: it goes on with the step that the installations say
comes next (moves.py).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic, sleep
from typing import Any, Literal, NamedTuple

from psycopg import Connection

from domain.journal.encoding import decode
from domain.journal.reader import read_aggregates
from domain.journal.session import confirm
from domain.journal.shown_positions import read_shown_positions
from domain.journal.snapshots import keep
from domain.model.accounts import Account
from domain.model.events import Context
from domain.model.moves import Moved
from domain.model.times import instant, seconds_until
from domain.placement import moves
from domain.placement.copies import last_of_ledger, next_batch, stored_rows
from domain.placement.digests import Digest, LedgerTree
from domain.placement.installations import Installation
from domain.placement.moves import CannotMove, Standing, standing

SMALL_SECONDS = 0.5
"""When a round of copying and comparing takes less, little enough is left to stop writes."""

MOST_ROUNDS = 40
"""After so many rounds the ledger is written as fast as it is copied."""

KNOWN_SECONDS = 3.0
"""How long a ledger is at least arriving, so that every server of the new place knows of it when it has arrived."""

MOST_CLOCK_SECONDS = 10.0
"""For how long it waits at most until the new place's clock is where the old one's was."""

ACCOUNTS_AT_ONCE = 50

Step = Literal["begin", "copy", "compare", "freeze", "rest", "leave", "arrive", "done"]


class Progress(NamedTuple):
    """What the mover does, and up to which position of the old place's journal it has copied."""

    step: Step
    position: int
    head: int


class Differs(Exception):
    """The copies are not what the old place has. The ledger was given back to it."""


class Report(NamedTuple):
    """What a move did: the events that the ledger had, and for how long writes were refused.

    None if another run of the move had stopped them.
    """

    digest: Digest
    frozen_seconds: float | None


class Mover:
    """Moves one ledger. Everything raises `psycopg.Error`; the move can be run again then."""

    def __init__(
        self,
        ledger: str,
        old: Installation,
        new: Installation,
        context: Context,
        tell: Callable[[Progress], None] = lambda progress: None,
        prepared: Callable[[Connection[Any]], None] = lambda connection: None,
        followed: Callable[[Connection[Any], Connection[Any]], None] = lambda old, new: None,
    ) -> None:
        """`context` is recorded with the events. `prepared` is called before writes are stopped, with a connection to
        the new place, and may wait until it is ready to answer for the ledger. `followed` is called before the ledger
        arrives, with a connection to each place, and brings along what follows a ledger and is no event. It may be
        called again after the mover died."""
        self._ledger = ledger
        self._old_place, self._new_place = old, new
        self._context = context
        self._tell = tell
        self._prepared = prepared
        self._followed = followed
        self._frozen_at: float | None = None

    def run(self) -> Report:
        """Move the ledger, or finish its move. Raises `CannotMove`, `Overtaken`, `Differs`."""
        with self._connections() as (old, new):
            now = standing(old, self._ledger)
            if now is None or now.state != "left" or now.installation != self._new_place.name:
                self._take_over(old, new, now)
            self._report(old, "arrive")
            digest = self._arrive(old, new)
            frozen_seconds = None if self._frozen_at is None else monotonic() - self._frozen_at
            self._report(old, "done")
            return Report(digest, frozen_seconds)

    def cancel(self) -> bool:
        """Give up the move, so that the ledger is written at the old place again. Return whether there was one.

        Raises `CannotMove` if it has left. What was copied stays at the new place, where every command for the ledger
        is refused until it is moved there after all.
        """
        with self._old_place.database.connect("tallystick place") as old:
            return moves.cancel(old, self._ledger, self._context)

    @contextmanager
    def _connections(self) -> Iterator[tuple[Connection[Any], Connection[Any]]]:
        with (
            self._old_place.database.connect("tallystick place") as old,
            self._new_place.database.connect("tallystick place") as new,
        ):
            if not moves.try_lock(old, self._ledger):
                raise CannotMove(f"another program is moving {self._ledger}")
            yield old, new

    def _take_over(self, old: Connection[Any], new: Connection[Any], now: Standing | None) -> None:
        """Bring everything to the new place, and let the ledger go from the old one.

        If a move was cut off while writes were refused, they are taken again first: comparing all may take long.
        """
        self._report(old, "begin")
        if now and now.state == "frozen" and now.installation == self._new_place.name:
            moves.cancel(old, self._ledger, self._context)
        moves.begin_leaving(old, self._ledger, self._new_place.name)
        moves.begin_arriving(new, self._ledger, self._old_place.name, self._context)
        arriving_since = monotonic()
        of_old, of_new = LedgerTree(old, self._ledger), LedgerTree(new, self._ledger)
        self._catch_up(old, new, of_old, of_new)
        self._take_snapshots(new, of_new)
        self._prepared(new)
        self._wait_until_known(arriving_since)
        self._catch_up(old, new, of_old, of_new)
        self._report(old, "freeze")
        self._frozen_at = monotonic()
        moves.freeze(old, self._ledger, self._new_place.name, self._context)
        self._report(old, "rest")
        digest = self._copied_and_compared(old, new, of_old, of_new)
        self._report(old, "leave")
        moves.leave(old, self._ledger, self._new_place.name, digest, self._context)

    def _wait_until_known(self, arriving_since: float) -> None:
        """Wait until every server of the new place knows that the ledger arrives, so that it looks up positions."""
        sleep(max(0.0, arriving_since + KNOWN_SECONDS - monotonic()))

    def _catch_up(
        self, old: Connection[Any], new: Connection[Any], of_old: LedgerTree, of_new: LedgerTree
    ) -> None:
        """Copy and compare until that takes little time."""
        for _ in range(MOST_ROUNDS):
            began = monotonic()
            self._copied_and_compared(old, new, of_old, of_new)
            if monotonic() - began < SMALL_SECONDS:
                return
        raise CannotMove(f"{self._ledger} is written as fast as it is copied: move it when less is written")

    def _copied_and_compared(
        self, old: Connection[Any], new: Connection[Any], of_old: LedgerTree, of_new: LedgerTree
    ) -> Digest:
        """Copy up to the head of the old place's journal, and return the digest of the ledger in both."""
        upto = moves.head(old)
        self._copy(old, new, upto)
        self._tell(Progress("compare", upto, upto))
        here, there = of_old.advance(upto), of_new.advance(moves.head(new))
        if here != there:
            moves.cancel(old, self._ledger, self._context)
            raise Differs(
                f"{here.events} events with root {here.root} at {self._old_place.name},"
                f" {there.events} with root {there.root} at {self._new_place.name}"
            )
        return here

    def _copy(self, old: Connection[Any], new: Connection[Any], upto: int) -> None:
        """Copy the ledger's events up to a position of the old place's journal."""
        positions = read_shown_positions(old, self._ledger)
        now = standing(new, self._ledger)
        copied = now.copied if now else 0
        after = positions.own(copied)
        while after < upto:
            self._tell(Progress("copy", after, upto))
            rows, after = next_batch(old, self._ledger, after, upto)
            if rows:
                copied = moves.copy(new, self._ledger, stored_rows(old, rows), positions, copied)

    def _take_snapshots(self, new: Connection[Any], tree: LedgerTree) -> None:
        """Take snapshots of accounts with many events, so that nobody waits until these are folded."""
        accounts = list(tree.long_accounts)
        for begin in range(0, len(accounts), ACCOUNTS_AT_ONCE):
            streams = accounts[begin : begin + ACCOUNTS_AT_ONCE]
            states, _ = read_aggregates(new, streams)
            found = zip(streams, states, strict=True)
            keep(new, [(stream, state) for stream, state in found if isinstance(state, Account)])

    def _arrive(self, old: Connection[Any], new: Connection[Any]) -> Digest:
        """Let the ledger arrive, and return the digest that both places had of it.

        If a move goes on that was cut off, either place may have failed over meanwhile, or was restored. So it is first
        made sure that the old place will still have let go, and what the new place has lost is copied again.
        """
        confirm(old)
        row = last_of_ledger(old, self._ledger)
        assert row is not None
        left = decode(*row)
        assert isinstance(left.event, Moved)
        arriving_since = None
        if standing(new, self._ledger) is None:
            moves.begin_arriving(new, self._ledger, self._old_place.name, self._context)
            arriving_since = monotonic()
        self._copy(old, new, left.position - 1)
        if arriving_since is not None:
            self._wait_until_known(arriving_since)
        # Recorded time rises within a ledger, and no event is dated later than its own database's clock allows.
        ahead_seconds = seconds_until(instant(moves.clock(new)), left.envelope.recorded_at)
        sleep(min(max(0.0, ahead_seconds), MOST_CLOCK_SECONDS))
        self._followed(old, new)
        moves.arrive(new, self._ledger, row, read_shown_positions(old, self._ledger), self._context)
        return Digest(left.event.events, left.event.root)

    def _report(self, old: Connection[Any], step: Step) -> None:
        at = moves.head(old)
        self._tell(Progress(step, at, at))
