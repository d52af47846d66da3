"""What a version's standing demands of whoever advances it with others, and who advances together."""

import threading
from collections.abc import Sequence
from time import monotonic
from uuid import uuid4

import pytest

from domain.journal.database import Database
from projections.engine.batches import Claim
from projections.engine.recent_events import RecentEvents
from projections.read_models import balances, entries, transactions
from projections.running.convoy import Convoy, Member, course
from projections.running.pace import JOIN_SECONDS
from projections.running.runner import Runner, tell_nobody
from projections.running.shares import Share
from projections.running.standing import LiveStanding

OURS, OTHERS = uuid4(), uuid4()
CLAIM = Claim(entries.PROJECTION, 3, OURS, "running")
BEHIND = LiveStanding(version=3, position=5, state="running", runner=OURS, last_error=None, head=9)


@pytest.mark.parametrize(
    ("claim", "standing", "expected"),
    [
        (CLAIM, BEHIND, "advance"),
        (CLAIM, BEHIND._replace(last_error="RuntimeError: a fault"), "advance"),
        (CLAIM, BEHIND._replace(head=5), "rest"),
        (CLAIM, BEHIND._replace(state="paused"), "rest"),
        (CLAIM, BEHIND._replace(state="halted", last_error="Contradicted: a gap"), "rest"),
        (CLAIM, BEHIND._replace(state="rebuilding"), "rest"),
        (None, None, "leave"),
        (CLAIM, None, "leave"),
        (None, BEHIND, "take over"),
        (None, BEHIND._replace(runner=OTHERS), "take over"),
        (None, BEHIND._replace(state="paused"), "take over"),
        (CLAIM, BEHIND._replace(runner=None), "take over"),
        (CLAIM, BEHIND._replace(version=4, runner=OTHERS), "take over"),
        (CLAIM, BEHIND._replace(runner=OTHERS), "leave"),
        (CLAIM, BEHIND._replace(state="halted", last_error="newer_version: event 6"), "leave"),
    ],
)
def test_the_course_follows_from_claim_and_standing(
    claim: Claim | None, standing: LiveStanding | None, expected: str
) -> None:
    assert course(claim, standing) == expected


class Watched(Convoy):
    """A convoy of which it is seen who advances together."""

    def __init__(self) -> None:
        database, stop, tail = Database("postgresql://nowhere"), threading.Event(), RecentEvents()
        projections = (entries.PROJECTION, balances.PROJECTION, transactions.PROJECTION)
        runners = [Runner(database, projection, stop, tail) for projection in projections]
        super().__init__(database, runners, stop, tail, tell_nobody, Share())
        self.turns: list[list[str]] = []
        self._look_at, self._head = float("inf"), 9
        for member in self._members:
            member.is_running = True

    def turn(self, *due_in_seconds: float, wanted: int | None = None) -> list[list[str]]:
        """Return who advances together, given when each may."""
        now = monotonic()
        for number, (member, seconds) in enumerate(zip(self._members, due_in_seconds, strict=True)):
            member.due_at, member.wanted_until = now + seconds, now + 60 if number == wanted else 0.0
        self._turn(None)  # type: ignore[arg-type]
        return self.turns

    def _advance(self, connection: object, due: Sequence[Member]) -> None:
        self.turns.append([member.name for member in due])


@pytest.mark.parametrize(
    ("due_in_seconds", "wanted", "expected"),
    [
        ((0, -1, 0), None, [["entries", "balances", "transactions"]]),
        ((60, JOIN_SECONDS, 60), None, []),
        # Whoever is due soon comes along.
        ((-1, JOIN_SECONDS / 2, 60), None, [["entries", "balances"]]),
        # Who waits need not wait for what the others write.
        ((0, 0, 60), 0, [["entries"], ["balances"]]),
        ((0, JOIN_SECONDS / 2, 60), 0, [["entries"]]),
    ],
)
def test_those_that_are_due_at_about_the_same_time_advance_together(
    due_in_seconds: tuple[float, ...], wanted: int | None, expected: list[list[str]]
) -> None:
    assert Watched().turn(*due_in_seconds, wanted=wanted) == expected
