"""What goes wrong: each function breaks a real installation, or lets others do it, for the cause of some alerts."""

from domain.model.transactions import TransactionPosted
from tests.integration.monitoring.installation import Watched
from tests.projecting import eventually
from tests.receiver import Received, Reply


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


def kill_the_broker_and_take_a_right(watched: Watched) -> None:
    watched.broker.kill()
    watched.owner.execute("REVOKE SELECT ON rebuilds FROM tallystick_service")


def ask_in_vain(watched: Watched) -> None:
    """A stranger guesses keys, and a client asks for what the service may not read."""
    with watched.service.client() as client:
        for _ in range(20):
            guessed = {"Authorization": "Bearer tk_guessed"}
            assert client.get("/v1/ledgers", headers=guessed).status_code == 401
        assert client.get("/v1/projections").status_code == 503


def lock_figures(watched: Watched) -> None:
    watched.lock("LOCK TABLE delivery_outcomes")


def kill_the_service(watched: Watched) -> None:
    watched.service.process.kill()
    watched.service.process.wait()
