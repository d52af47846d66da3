"""Each alert is made to fire by breaking a real service, and goes quiet after the steps of its row in the runbook.

The story has few steps, since each takes some seconds until Prometheus has seen it: what does not disturb the rest is
broken and mended together. After each step exactly the alerts that it says fire.
"""

from collections.abc import Callable, Iterator, Sequence, Set
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest

from projections.registry import PROJECTIONS
from tests.databases import Databases
from tests.integration.monitoring import breaking, mending
from tests.integration.monitoring.hour_old_journal import FORGOTTEN, PENDING, WRONG
from tests.integration.monitoring.installation import Watched, watched_installation
from tests.integration.monitoring.prometheus import Alert, alert_rules, needs_prometheus
from tests.projecting import eventually

pytestmark = [pytest.mark.integration, pytest.mark.long, pytest.mark.timeout(600), needs_prometheus]

NOT_HERE = {
    "TallystickMoveCutOff": "it is about two installations; tests/integration/test_cut_off_moves.py has them",
    "TallystickDiskFull": "it is not about the service, and has a disk of its own in test_disk.py",
    "TallystickWitnessDisputed": "it is about two installations; tests/integration/test_witnesses.py has them",
    "TallystickWitnessLate": "it is about two installations; tests/integration/test_witnesses.py has them",
}
"""The alerts that are not made to fire here, and why."""


@pytest.fixture(scope="module")
def watched(databases: Databases, module_path: Path) -> Iterator[Watched]:
    with watched_installation(databases, module_path) as watched:
        yield watched


class Step(NamedTuple):
    """What is done, which alerts come of it, and which are over. `meanwhile` is done again and again until it is so."""

    does: Sequence[Callable[[Watched], None]]
    comes: Set[Alert] = frozenset()
    goes: Set[Alert] = frozenset()
    meanwhile: Callable[[Watched], None] = lambda watched: None


LAGGING = {Alert("ProjectionLagging", name) for name in PROJECTIONS if name != "ledgers"}
PAUSED = {Alert("ProjectionPaused", "ledgers")}
LOCKED = {Alert("NotReady"), Alert("WriterStalled"), Alert("ServerErrors")}
UNDONE = {Alert("RequestUnanswered"), Alert("HoldNotReleased")}
NOT_SUBMITTED = {Alert("PayoutUnfinished", "payout_accepted")}
HALTED, CHECKPOINT = {Alert("ProjectionHalted", "seals")}, {Alert("CheckpointLate")}
FAILING, LETTERS = {Alert("ProjectionFailing", "entries")}, {Alert("DeadLetters", "balances")}
NO_OUTCOME = {Alert("PayoutUnfinished", "payout_submitted")}
IN_DOUBT, CONTRADICTED = {Alert("PayoutInDoubt")}, {Alert("PayoutContradicted")}
GIVEN_UP = {Alert("DeliveryBlocked", "delivery_failed")}
DISABLED = {Alert("DeliveryBlocked", "webhook_disabled")}
BROKER = {Alert("ProjectionFailing", "nats")}
VAIN = {Alert("ServerErrors"), Alert("DenialsRising")}

STEPS = [
    Step([breaking.pause_a_read_model], comes=LAGGING | PAUSED),
    Step([breaking.hold_the_head], comes=LOCKED, meanwhile=Watched.write),
    # Now it shows what the journal was owed before: nobody can write what would carry it out.
    Step(
        [breaking.damage_tables_and_project],
        comes=HALTED | FAILING | LETTERS | UNDONE | NOT_SUBMITTED | {Alert("DeliveryLate")},
        goes=LAGGING,
        meanwhile=Watched.write,
    ),
    # The payer then calls the providers.
    Step(
        [partial(mending.end_the_session, alert="WriterStalled")],
        comes=NO_OUTCOME | IN_DOUBT | CONTRADICTED,
        goes=LOCKED | UNDONE,
    ),
    Step(
        [breaking.publish_to_receivers_that_fail],
        comes=GIVEN_UP | DISABLED | {Alert("WebhookFailing")},
        goes={Alert("DeliveryLate")},
    ),
    Step(
        [mending.resume_the_read_model, mending.mend_and_resume_the_seals],
        goes=PAUSED | HALTED,
        comes=CHECKPOINT,
    ),
    Step(
        [
            partial(mending.give_right_back, alert="CheckpointLate", table="checkpoints"),
            mending.give_entries_back,
            mending.mend_and_retry_the_letter,
        ],
        goes=CHECKPOINT | FAILING | LETTERS,
    ),
    Step(
        [
            mending.ask_the_provider,
            partial(mending.resolve, alert="PayoutUnfinished", payout=PENDING),
            partial(mending.resolve, alert="PayoutContradicted", payout=WRONG),
        ],
        goes=IN_DOUBT | NO_OUTCOME | CONTRADICTED,
    ),
    Step(
        [mending.retry_what_was_given_up, mending.enable_the_webhook, mending.retry_the_broken_one],
        goes=GIVEN_UP | DISABLED | {Alert("WebhookFailing")},
    ),
    Step(
        [breaking.kill_the_broker_and_take_a_right],
        comes=BROKER | VAIN,
        meanwhile=breaking.ask_in_vain,
    ),
    Step([mending.read_the_log_and_give_the_right_back, mending.start_the_broker], goes=BROKER | VAIN),
    # Without figures nobody can say what is stuck.
    Step([breaking.lock_figures], comes={Alert("FiguresMissing")}, goes=NOT_SUBMITTED),
    Step(
        [partial(mending.end_the_session, alert="FiguresMissing")],
        comes=NOT_SUBMITTED,
        goes={Alert("FiguresMissing")},
    ),
    Step([breaking.kill_the_service], comes={Alert("NotReady")}, goes=NOT_SUBMITTED),
    Step([mending.serve_with_every_provider], goes={Alert("NotReady")}),
]


def test_every_alert_fires_for_its_cause_and_is_quiet_after_its_runbook(watched: Watched) -> None:
    expected: set[Alert] = set()
    for step in STEPS:
        for act in step.does:
            act(watched)
        expected = expected - step.goes | step.comes
        try:
            watched.prometheus.await_alerts(expected, partial(step.meanwhile, watched))
        except AssertionError as error:
            error.add_note(f"after {step.does}")
            raise
    with watched.service.client() as client:
        path = f"/v1/ledgers/main/payouts/{watched.owed.payouts[FORGOTTEN]}"
        eventually(lambda: client.get(path).json()["state"] == "completed")


def test_every_alert_is_in_the_story_or_has_its_reason() -> None:
    told = {f"Tallystick{alert.name}" for step in STEPS for alert in step.comes}
    assert told.isdisjoint(NOT_HERE) and told | set(NOT_HERE) == set(alert_rules())
