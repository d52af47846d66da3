"""A fresh installation calls nobody. After the demo, those alerts fire whose cause somebody has to decide."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

import api.app
from domain.application import LedgerApplication
from domain.journal import recording
from domain.journal.database import Database
from projections.process_managers.due_worker import Worker
from projections.process_managers.payer import Payer
from scripts.tallystick import application
from tests.commands import invoke
from tests.contract.serving import KEY, serving_on
from tests.databases import Databases
from tests.integration.monitoring.hasty_rules import hasty_rules
from tests.integration.monitoring.hour_old_journal import an_hour_ago
from tests.integration.monitoring.prometheus import Alert, Prometheus, needs_prometheus, watching
from tests.outboxes import publishing
from tests.projecting import eventually
from tests.service import serving

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300), needs_prometheus]

LOOKS = 5


def await_looks(prometheus: Prometheus) -> None:
    """Wait until Prometheus has looked so often that whatever is wrong fires."""
    eventually(lambda: bool(prometheus.query(f"count_over_time(tallystick_ready[5m]) >= {LOOKS}")))


@contextmanager
def watched(database: Database, folder: Path) -> Iterator[Prometheus]:
    """The whole service as a user runs it, and Prometheus. It knows no provider, so payouts stay as they are."""
    options = ["--database-url", database.url, "--schema", database.schema]
    with (
        serving(folder / "data", *options) as service,
        watching(folder, hasty_rules(), tallystick=service.url) as prometheus,
    ):
        yield prometheus


def test_a_fresh_installation_calls_nobody(databases: Databases, tmp_path: Path) -> None:
    with databases.empty() as database, watched(database, tmp_path) as prometheus:
        await_looks(prometheus)
        prometheus.await_alerts(set())


@pytest.fixture
def with_the_demo(databases: Databases) -> Iterator[Database]:
    """A database in which `tallystick demo` ran an hour ago, by the clock of its service."""
    with databases.installed() as database, pytest.MonkeyPatch.context() as clocks:
        for part in (LedgerApplication, Worker, Payer):
            clocks.setattr(api.app, part.__name__, partial(part, clock=an_hour_ago))
        # What is recorded beside other tables has the time of the database, which nobody sets back.
        clocks.setattr(recording, "instant", lambda _: an_hour_ago())
        allowed = {"webhook_allow_http": True, "webhook_allow_private": True}
        with (
            serving_on(database, max_clock_difference_seconds=7_200.0, **allowed) as served,
            publishing(database),
            database.connect_as_owner("test owner") as owner,
        ):
            done = invoke(application(["demo"]), ["demo", "--key", KEY, "--url", served.url])
            assert done.exit_code == 0, done.output
            back = "UPDATE webhooks SET failing_since = now() - interval '1 hour' WHERE failing_since IS NOT NULL"
            eventually(lambda: owner.execute(back).rowcount == 1)
        clocks.undo()
        yield database


def test_an_hour_after_the_demo_those_are_called_who_must_decide(
    with_the_demo: Database, tmp_path: Path
) -> None:
    needed = {
        Alert("PayoutInDoubt"),
        Alert("PayoutUnfinished", "payout_submitted"),
        Alert("PayoutContradicted"),
        Alert("WebhookFailing"),
        Alert("DeliveryBlocked", "webhook_disabled"),
    }
    with watched(with_the_demo, tmp_path) as prometheus:
        await_looks(prometheus)
        prometheus.await_alerts(needed)
