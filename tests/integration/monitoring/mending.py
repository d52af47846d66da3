"""What an operator does about an alert: the commands of its row in the runbook, and what that row asks for."""

import json
import re

from tests.integration.monitoring.hour_old_journal import SLOW
from tests.integration.monitoring.installation import Watched
from tests.projecting import eventually
from tests.receiver import well
from tests.runbook import row_of

POISON = "main/accounts/poison"


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


def read_the_log_and_give_the_right_back(watched: Watched) -> None:
    """And the stranger is kept out."""
    for alert, line in (("DenialsRising", '"denied"'), ("ServerErrors", '"failed"')):
        assert line in row_of(f"Tallystick{alert}")
        assert any(line in said for said in watched.service.output)
    give_right_back(watched, "ServerErrors", "rebuilds")


def serve_with_every_provider(watched: Watched) -> None:
    watched.providers["bank"] = watched.providers["simulator"]
    watched.serve()
