"""`tallystick payouts` and `tallystick webhooks`, on the database itself."""

import json
from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID, uuid4

import pytest
from psycopg import Connection
from typer import Typer
from typer.testing import Result

from domain.application import LedgerApplication
from domain.journal.database import Database
from domain.model.accounts import OpenAccount
from domain.model.payouts.attempts import RecordSilence, SubmitPayout
from domain.model.payouts.payout import Payout
from projections.engine.leadership import try_acquire
from projections.outbox.webhooks import find_webhook
from scripts.commands.payouts import PAYER, payouts
from scripts.commands.webhooks import commands as webhooks
from tests.commands import invoke
from tests.ledgers import open_accounts, opening, outcomes, running, transfer
from tests.outboxes import Hook, register
from tests.outboxes import deliveries as deliveries_of
from tests.payouts import CONTEXT, a_mark, a_request
from tests.projecting import await_head, projecting

pytestmark = pytest.mark.integration


def run(command: Typer, database: Database, *arguments: object, typed: str | None = None) -> Result:
    """Run a command on a database."""
    options = ["--database-url", database.url, "--schema", database.schema]
    return invoke(command, [*map(str, arguments), *options], typed)


def bank(ledger: LedgerApplication) -> None:
    """Give Alice an amount she can pay out."""
    open_accounts(ledger, "alice", minimum=0)
    outcomes(ledger.execute(OpenAccount(CONTEXT, "main", "cash", opening())).result())
    ledger.perform(transfer("cash", "alice", 100))


def asked(ledger: LedgerApplication, key: str, state: str = "accepted") -> Payout:
    """A payout that was requested and has reached this state."""
    made = ledger.perform(a_request(key, 10)).state
    assert isinstance(made, Payout)
    if state != "accepted":
        made = ledger.perform(SubmitPayout(CONTEXT, made, a_mark(), 20.0)).state
    if state == "in_doubt":
        made = ledger.perform(RecordSilence(CONTEXT, made, a_mark(), "submission", "ReadTimeout")).state
    assert isinstance(made, Payout) and made.state == state
    return made


@pytest.fixture
def ledger(database: Database) -> Iterator[LedgerApplication]:
    with running(database) as ledger:
        bank(ledger)
        yield ledger


def shown(database: Database, payout: Payout) -> dict[str, Any]:
    result = run(payouts, database, "show", payout.id)
    assert result.exit_code == 0, result.output
    body: dict[str, Any] = json.loads(result.stdout)
    return body


def test_payouts_are_listed_and_shown(
    database: Database, owner: Connection[Any], ledger: LedgerApplication
) -> None:
    first, second = asked(ledger, "one"), asked(ledger, "two", "in_doubt")
    with projecting(database):
        await_head(owner)
    listed = json.loads(run(payouts, database, "list", "--json").stdout)
    assert [payout["id"] for payout in listed] == [first.id, second.id]
    doubtful = run(payouts, database, "list", "--ledger", "main", "--state", "in_doubt")
    assert [line.split()[0] for line in doubtful.stdout.splitlines()] == ["id", second.id]
    assert shown(database, second) == listed[1]
    # UUIDs are accepted in upper and lower case.
    assert run(payouts, database, "show", second.id.upper()).exit_code == 0


def test_a_payout_is_completed_or_failed_once_and_who_said_so_is_kept(
    database: Database, ledger: LedgerApplication
) -> None:
    paid, unpaid = asked(ledger, "one", "submitted"), asked(ledger, "two")
    completed = run(payouts, database, "complete", paid.id, "--reason", "the statement shows it")
    assert (completed.exit_code, completed.stdout) == (0, f"The payout {paid.id} of main is completed.\n")
    failed = run(payouts, database, "fail", unpaid.id, "--ledger", "main", "--reason", "never sent")
    assert (failed.exit_code, failed.stdout) == (0, f"The payout {unpaid.id} of main is not paid.\n")
    last = shown(database, paid)["history"][-1]
    assert (last["source"], last["detail"]) == ("operator", "the statement shows it")
    assert last["actor"].endswith(" at a terminal")
    position = ledger.head()
    assert run(payouts, database, "complete", paid.id, "--reason", "again").exit_code == 0
    refused = run(payouts, database, "fail", paid.id, "--reason", "no", "--confirm", "not-paid")
    assert (refused.exit_code, refused.stdout) == (3, "")
    assert ledger.head() == position


@pytest.mark.parametrize("state", ["submitted", "in_doubt"])
def test_what_may_have_left_is_not_failed_before_it_is_confirmed(
    database: Database, ledger: LedgerApplication, state: str
) -> None:
    made = asked(ledger, "one", state)
    refused = run(payouts, database, "fail", made.id, "--reason", "I think so")
    assert (refused.exit_code, refused.stdout) == (3, "")
    assert "may have left" in refused.stderr and "--confirm not-paid" in refused.stderr
    assert run(payouts, database, "fail", made.id, "--reason", "x", "--confirm", "paid").exit_code == 2
    assert shown(database, made)["state"] == state
    done = run(payouts, database, "fail", made.id, "--reason", "its books", "--confirm", "not-paid")
    assert (done.exit_code, shown(database, made)["state"]) == (0, "failed")


@pytest.mark.parametrize(("typed", "state"), [("n\n", "in_doubt"), ("", "in_doubt"), ("y\n", "failed")])
def test_at_a_terminal_it_is_asked_for(
    database: Database, ledger: LedgerApplication, monkeypatch: pytest.MonkeyPatch, typed: str, state: str
) -> None:
    made = asked(ledger, "one", "in_doubt")
    monkeypatch.setattr("scripts.commands.payouts.is_at_a_terminal", lambda: True)
    answered = run(payouts, database, "fail", made.id, "--reason", "its books", typed=typed)
    assert "may have left" in answered.stderr
    assert (answered.exit_code == 0, shown(database, made)["state"]) == (state == "failed", state)


def test_the_provider_is_asked_by_whoever_pays(
    database: Database, owner: Connection[Any], ledger: LedgerApplication
) -> None:
    made = asked(ledger, "one", "in_doubt")
    alone = run(payouts, database, "reconcile", made.id)
    assert alone.exit_code == 1
    assert "nobody asks providers: start `tallystick serve`" in alone.stderr
    with database.connect("test payer") as payer:
        assert try_acquire(payer, *PAYER)
        pursued = run(payouts, database, "reconcile", made.id, "--reason", "a customer asks")
    assert (pursued.exit_code, pursued.stdout) == (0, f"The payout {made.id} of main is in doubt.\n")
    events = [step["event"] for step in shown(database, made)["history"]]
    assert events.count("reconciliation_requested") == 2


def test_what_is_no_payout_or_no_reason(database: Database, ledger: LedgerApplication) -> None:
    nobody = uuid4()
    absent: Sequence[tuple[object, ...]] = (
        ("show", nobody),
        ("reconcile", nobody),
        ("complete", nobody, "--reason", "x"),
        ("fail", nobody, "--reason", "x"),
        ("show", nobody, "--ledger", "nowhere"),
        ("list", "--ledger", "nowhere"),
    )
    for arguments in absent:
        result = run(payouts, database, *arguments)
        assert (result.exit_code, result.stdout) == (3, ""), arguments
        # A service that other tests of this process use may log beside it.
        assert sum("here is no" in line for line in result.stderr.splitlines()) == 1
    wrong: Sequence[tuple[object, ...]] = (
        ("show", "x"),
        ("complete", nobody),
        ("complete", nobody, "--reason", " "),
        ("fail", nobody, "--reason", "x" * 501),
        ("list", "--state", "lost"),
        ("list", "--ledger", "No Name"),
    )
    for arguments in wrong:
        assert run(payouts, database, *arguments).exit_code == 2, arguments


@pytest.fixture
def hook(database: Database, owner: Connection[Any], ledger: LedgerApplication) -> Hook:
    """A webhook with two failed deliveries."""
    with database.connect("test webhooks") as connection, projecting(database):
        hook = register(connection, "https://example.com/hook")
        ledger.perform(transfer("cash", "alice", 5))
        await_head(owner)
    owner.execute("UPDATE deliveries SET state = 'failed', due_at = NULL, reason = '500'")
    return hook


def states(owner: Connection[Any], hook: Hook) -> list[str]:
    return [delivery.state for delivery in deliveries_of(owner, hook.id)]


def test_webhooks_and_deliveries_are_listed_and_shown(
    database: Database, owner: Connection[Any], hook: Hook
) -> None:
    (listed,) = json.loads(run(webhooks, database, "list", "--json").stdout)
    assert (listed["id"], listed["url"]) == (str(hook.id), "https://example.com/hook")
    assert "secret" not in listed
    assert json.loads(run(webhooks, database, "show", hook.id).stdout) == listed
    assert str(hook.id) in run(webhooks, database, "list").stdout
    table = run(webhooks, database, "deliveries", hook.id, "--state", "failed").stdout.splitlines()
    assert len(table) == 1 + len(states(owner, hook))
    found = json.loads(run(webhooks, database, "deliveries", hook.id, "--limit", 1, "--json").stdout)
    assert [delivery["state"] for delivery in found] == ["failed"]


def test_deliveries_are_retried_and_discarded(database: Database, owner: Connection[Any], hook: Hook) -> None:
    first, *rest = [delivery.position for delivery in deliveries_of(owner, hook.id)]
    assert rest
    alone = run(webhooks, database, "retry", hook.id, first)
    assert (alone.exit_code, alone.stdout) == (1, f"The delivery of event {first} is waiting.\n")
    assert "nobody delivers: start `tallystick serve`" in alone.stderr
    reason = ("--reason", "they have it")
    discarded = run(webhooks, database, "discard", hook.id, rest[0], *reason)
    assert discarded.exit_code == 0, discarded.output
    kept = deliveries_of(owner, hook.id)[1]
    assert kept.state == "suppressed"
    assert (kept.reason or "").startswith("they have it (") and "at a terminal)" in (kept.reason or "")
    with database.connect("test publisher") as publisher:
        assert try_acquire(publisher, "publish", "outbox")
        assert run(webhooks, database, "retry", hook.id, "--failed").exit_code == 0
        assert "failed" not in states(owner, hook)
        again = run(webhooks, database, "retry", hook.id, "--failed")
    assert (again.exit_code, again.stdout) == (0, "No delivery has failed.\n")


def test_a_webhook_is_disabled_and_enabled(database: Database, owner: Connection[Any], hook: Hook) -> None:
    disabled = run(webhooks, database, "disable", hook.id, "--reason", "it moves")
    assert disabled.exit_code == 0 and f"The webhook {hook.id} is disabled: it moves (" in disabled.stdout
    with database.connect("test publisher") as publisher:
        assert try_acquire(publisher, "publish", "outbox")
        enabled = run(webhooks, database, "enable", hook.id)
    assert (enabled.exit_code, enabled.stdout) == (0, f"The webhook {hook.id} is enabled.\n")
    found = find_webhook(owner, hook.id)
    assert found is not None and found.state == "enabled"
    assert run(webhooks, database, "enable", hook.id).exit_code == 1


def test_what_is_no_webhook_no_delivery_and_no_reason(database: Database, hook: Hook) -> None:
    nobody = UUID(int=1)
    absent: Sequence[tuple[object, ...]] = (
        ("show", nobody),
        ("deliveries", nobody),
        ("retry", nobody, 1),
        ("retry", nobody, "--failed"),
        ("retry", hook.id, 10**18),
        ("discard", nobody, 1, "--reason", "x"),
        ("discard", hook.id, 10**18, "--reason", "x"),
        ("enable", nobody),
        ("disable", nobody, "--reason", "x"),
    )
    for arguments in absent:
        result = run(webhooks, database, *arguments)
        assert (result.exit_code, result.stdout) == (3, ""), arguments
        # A service that other tests of this process use may log beside it.
        assert sum("here is no" in line for line in result.stderr.splitlines()) == 1
    wrong: Sequence[tuple[object, ...]] = (
        ("retry", hook.id),
        ("retry", hook.id, 1, "--failed"),
        ("retry", hook.id, 0),
        ("discard", hook.id, 1),
        ("discard", hook.id, 1, "--reason", " "),
        ("disable", hook.id, "--reason", ""),
        ("show", "x"),
    )
    for arguments in wrong:
        assert run(webhooks, database, *arguments).exit_code == 2, arguments
