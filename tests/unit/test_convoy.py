"""What a version's standing demands of whoever advances it with others."""

from uuid import uuid4

import pytest

from projections.engine.batches import Claim
from projections.read_models import entries
from projections.running.convoy import course
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
    claim: Claim | None, standing: LiveStanding, expected: str
) -> None:
    assert course(claim, standing) == expected
