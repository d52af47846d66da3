"""Each alert is made to fire by breaking a real service, and goes quiet after the steps of its row in the runbook.

The story has one step after the other, since a break and its mending take many seconds until Prometheus has seen them.
After each step exactly the alerts that it says fire.
"""

import json
import re
from collections.abc import Callable, Iterator, Set
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest

from domain.model.transactions import TransactionPosted
from projections.registry import PROJECTIONS
from tests.databases import Databases
from tests.integration.monitoring.hour_old_journal import FORGOTTEN, PENDING, SLOW, WRONG
from tests.integration.monitoring.installation import Watched, watched_installation
from tests.integration.monitoring.prometheus import Alert, alert_rules, needs_prometheus
from tests.projecting import eventually
from tests.receiver import Received, Reply, well

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600), needs_prometheus]

NOT_HERE = {
    "TallystickDiskFull": "it is not about the service, and has a disk of its own in test_disk.py",
}
"""The alerts that are not made to fire here, and why."""

POISON = "main/accounts/poison"


@pytest.fixture(scope="module")
def watched(databases: Databases, module_path: Path) -> Iterator[Watched]:
    with watched_installation(databases, module_path) as watched:
        yield watched


# What breaks.


def pause_a_read_model(watched: Watched) -> None:
    watched.tallystick("tallystick projections pause ledgers")


def hold_the_head(watched: Watched) -> None:
    watched.lock("SELECT FROM head FOR UPDATE")


def damage_tables_and_project(watched: Watched) -> None:
    """Somebody has put constraints on two tables and taken rights to two others; then the projector starts."""
    damage = (
        "ALTER TABLE seals_v1 ADD CONSTRAINT strange CHECK (false) NOT VALID",
        "ALTER TABLE balances_v1 ADD CONSTRAINT strange CHECK (address <> 'poison') NOT VALID",
        "REVOKE INSERT ON entries_v1 FROM tallystick_service",
        "REVOKE INSERT ON checkpoints FROM tallystick_service",
    )
    for statement in damage:
        watched.owner.execute(statement)
    watched.follow("ProjectionLagging", "tallystick stuck")
    watched.follow("ProjectionLagging", "tallystick projections list")
    watched.start_part("project")
    # As if an hour had passed since the read model has shown what webhooks are owed.
    back = "UPDATE deliveries SET due_at = due_at - interval '1 hour' WHERE due_at IS NOT NULL"
    eventually(lambda: watched.owner.execute(back).rowcount > 0)


def publish_to_receivers_that_fail(watched: Watched) -> None:
    query = "SELECT max(notification_id) FROM events WHERE topic = %s"
    refused = watched.owner.execute(query, (TransactionPosted.TOPIC,)).fetchone()
    assert refused

    def be_choosy(received: Received, count: int) -> Reply:
        return Reply(500 if received.position == refused[0] else 204)

    watched.receivers.choosy.behave = be_choosy
    watched.receivers.gone.behave = lambda received, count: Reply(410)
    watched.receivers.broken.behave = lambda received, count: Reply(503, {"Retry-After": "86400"})
    watched.follow("DeliveryLate", "tallystick doctor")
    watched.start_part("publish")
    # It has failed for an hour.
    back = "UPDATE webhooks SET failing_since = now() - interval '1 hour' WHERE id = %s AND failing_since IS NOT NULL"
    eventually(lambda: watched.owner.execute(back, (watched.owed.broken,)).rowcount == 1)


def kill_the_broker(watched: Watched) -> None:
    watched.broker.kill()


def take_rights(watched: Watched) -> None:
    watched.owner.execute("REVOKE SELECT ON rebuilds FROM tallystick_service")


def ask_in_vain(watched: Watched) -> None:
    """A stranger guesses keys, and a client asks for what the service may not read."""
    with watched.service.client() as client:
        for _ in range(20):
            guessed = {"Authorization": "Bearer tk_guessed"}
            assert client.get("/v1/ledgers", headers=guessed).status_code == 401
        client.get("/v1/projections")


def lock_figures(watched: Watched) -> None:
    watched.lock("LOCK TABLE delivery_outcomes")


def kill_the_service(watched: Watched) -> None:
    watched.service.process.kill()
    watched.service.process.wait()


# What the runbook says.


def end_the_session(watched: Watched, alert: str) -> None:
    statements: list[str] = []

    def is_named() -> bool:
        shown = watched.follow(alert, "tallystick stuck")
        statements[:] = re.findall(r"SELECT pg_terminate_backend\(\d+\);", shown)
        return bool(statements)

    eventually(is_named)
    (statement,) = set(statements)
    watched.owner.execute(statement)


def give_right_back(watched: Watched, alert: str, table: str) -> None:
    found = json.loads(watched.follow(alert, "tallystick doctor", "--json"))["findings"]
    commands = [command for finding in found for command in finding["commands"]]
    (grant,) = (of for of in commands if of.startswith("GRANT") and table in of)
    watched.owner.execute(grant)


def resume_the_read_model(watched: Watched) -> None:
    watched.follow("ProjectionPaused", "tallystick projections list")
    watched.follow("ProjectionPaused", "tallystick projections resume NAME", NAME="ledgers")


def mend_and_resume_the_seals(watched: Watched) -> None:
    assert "strange" in watched.follow("ProjectionHalted", "tallystick doctor", "--json")
    watched.owner.execute("ALTER TABLE seals_v1 DROP CONSTRAINT strange")
    watched.follow("ProjectionHalted", "tallystick projections resume NAME", NAME="seals")


def give_entries_back(watched: Watched) -> None:
    assert "permission denied for table entries_v1" in watched.follow(
        "ProjectionFailing", "tallystick doctor", "--json"
    )
    watched.owner.execute("GRANT INSERT ON entries_v1 TO tallystick_service")


def mend_and_retry_the_letter(watched: Watched) -> None:
    listed = watched.follow("DeadLetters", "tallystick dead-letters list --state open", "--json")
    ((id, stream),) = {(letter["id"], letter["stream"]) for letter in json.loads(listed)}
    assert stream == POISON
    assert "strange" in watched.follow("DeadLetters", "tallystick dead-letters show ID", ID=id)
    watched.owner.execute("ALTER TABLE balances_v1 DROP CONSTRAINT strange")
    watched.follow("DeadLetters", "tallystick dead-letters retry ID", ID=id)


def ask_the_provider(watched: Watched) -> None:
    listed = watched.follow("PayoutInDoubt", "tallystick payouts list --state in_doubt", "--json")
    (id,) = (payout["id"] for payout in json.loads(listed))
    assert id == watched.owed.payouts[SLOW]
    watched.slow.resume()
    watched.follow("PayoutInDoubt", "tallystick payouts reconcile ID", ID=id)


def resolve(watched: Watched, alert: str, payout: str) -> None:
    id = watched.owed.payouts[payout]
    watched.follow(alert, "tallystick payouts complete ID --reason WHY", ID=id)


def retry_what_was_given_up(watched: Watched) -> None:
    watched.receivers.choosy.behave = well
    watched.follow("DeliveryBlocked", "tallystick webhooks list")
    id = str(watched.owed.choosy)
    watched.follow("DeliveryBlocked", "tallystick webhooks deliveries ID --state failed", ID=id)
    watched.follow("DeliveryBlocked", "tallystick webhooks retry ID --failed", ID=id)


def enable_the_webhook(watched: Watched) -> None:
    watched.receivers.gone.behave = well
    watched.follow("DeliveryBlocked", "tallystick webhooks enable ID", ID=str(watched.owed.gone))


def retry_the_broken_one(watched: Watched) -> None:
    watched.receivers.broken.behave = well
    id = str(watched.owed.broken)
    listed = watched.follow(
        "WebhookFailing", "tallystick webhooks deliveries ID --state pending", "--json", ID=id
    )
    position = next(str(of["position"]) for of in json.loads(listed) if of["attempts"])
    watched.follow("WebhookFailing", "tallystick webhooks retry ID POSITION", ID=id, POSITION=position)


def start_the_broker(watched: Watched) -> None:
    assert "nats_unreachable" in watched.follow("ProjectionFailing", "tallystick doctor", "--json")
    watched.broker.start()


def revoke_and_give_back(watched: Watched) -> None:
    assert any('"denied"' in line for line in watched.service.output)
    assert any('"failed"' in line for line in watched.service.output)
    give_right_back(watched, "ServerErrors", "rebuilds")


def serve_with_every_provider(watched: Watched) -> None:
    watched.providers["bank"] = watched.providers["simulator"]
    watched.serve()


class Step(NamedTuple):
    """What is done, which alerts come of it, and which are over. `meanwhile` is done again and again until it is so."""

    does: Callable[[Watched], None]
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
GIVEN_UP, DISABLED = (
    {Alert("DeliveryBlocked", "delivery_failed")},
    {Alert("DeliveryBlocked", "webhook_disabled")},
)
BROKER = {Alert("ProjectionFailing", "nats")}

STEPS = [
    Step(pause_a_read_model, comes=LAGGING | PAUSED),
    Step(hold_the_head, comes=LOCKED, meanwhile=Watched.write),
    # Now it shows what the journal was owed before: nobody can write what would carry it out.
    Step(
        damage_tables_and_project,
        comes=HALTED | FAILING | LETTERS | UNDONE | NOT_SUBMITTED | {Alert("DeliveryLate")},
        goes=LAGGING,
        meanwhile=Watched.write,
    ),
    # The payer then calls the providers.
    Step(
        partial(end_the_session, alert="WriterStalled"),
        comes=NO_OUTCOME | IN_DOUBT | CONTRADICTED,
        goes=LOCKED | UNDONE,
    ),
    Step(
        publish_to_receivers_that_fail,
        comes=GIVEN_UP | DISABLED | {Alert("WebhookFailing")},
        goes={Alert("DeliveryLate")},
    ),
    Step(resume_the_read_model, goes=PAUSED),
    Step(mend_and_resume_the_seals, goes=HALTED, comes=CHECKPOINT),
    Step(partial(give_right_back, alert="CheckpointLate", table="checkpoints"), goes=CHECKPOINT),
    Step(give_entries_back, goes=FAILING),
    Step(mend_and_retry_the_letter, goes=LETTERS),
    Step(ask_the_provider, goes=IN_DOUBT),
    Step(partial(resolve, alert="PayoutUnfinished", payout=PENDING), goes=NO_OUTCOME),
    Step(partial(resolve, alert="PayoutContradicted", payout=WRONG), goes=CONTRADICTED),
    Step(retry_what_was_given_up, goes=GIVEN_UP),
    Step(enable_the_webhook, goes=DISABLED),
    Step(retry_the_broken_one, goes={Alert("WebhookFailing")}),
    Step(kill_the_broker, comes=BROKER),
    Step(start_the_broker, goes=BROKER),
    Step(take_rights, comes={Alert("ServerErrors"), Alert("DenialsRising")}, meanwhile=ask_in_vain),
    Step(revoke_and_give_back, goes={Alert("ServerErrors"), Alert("DenialsRising")}),
    # Without figures nobody can say what is stuck.
    Step(lock_figures, comes={Alert("FiguresMissing")}, goes=NOT_SUBMITTED),
    Step(
        partial(end_the_session, alert="FiguresMissing"), comes=NOT_SUBMITTED, goes={Alert("FiguresMissing")}
    ),
    Step(kill_the_service, comes={Alert("NotReady")}, goes=NOT_SUBMITTED),
    Step(serve_with_every_provider, goes={Alert("NotReady")}),
]


def test_every_alert_fires_for_its_cause_and_is_quiet_after_its_runbook(watched: Watched) -> None:
    expected: set[Alert] = set()
    for step in STEPS:
        step.does(watched)
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
