"""Stuck resources on a real journal: found by age, confirmed by the journal, shown by the command and the metrics."""

import json
from collections.abc import Iterator, Set
from typing import Any

import pytest
from psycopg import Connection
from typer.testing import Result

from api.service.families import Seen
from api.service.figures import Figures
from api.service.metrics import Metrics
from domain.application import LedgerApplication, system_clock
from domain.journal.database import Database
from domain.journal.reader import head_of
from domain.model.holds import VoidHold
from domain.model.idempotency import Operation, operation_id
from domain.model.payouts.attempts import RecordSilence, SubmitPayout
from domain.model.payouts.payout import Payout
from domain.model.postings import AcceptTransaction, PostTransaction
from domain.model.times import Instant, later
from domain.model.transactions import Description
from projections.diagnosis.stuck.catalogue import CATALOGUE, Stuck, Thresholds
from projections.diagnosis.stuck.search import count_stuck, find_stuck, look_for_stuck
from projections.engine.leadership import try_acquire
from projections.outbox.webhooks import disable_webhook
from projections.registry import PROJECTIONS
from scripts.commands.stuck import stuck
from scripts.commands.trace import trace
from tests.commands import invoke
from tests.ledgers import CONTEXT, open_accounts, running, transfer
from tests.outboxes import register
from tests.payouts import PATIENCE_SECONDS, a_mark, a_report, a_request
from tests.poisoning import poisoned
from tests.projecting import await_head, projecting, set_state

pytestmark = pytest.mark.integration

ALL = tuple(PROJECTIONS.values())
EAGER = Thresholds(0, 0, 0, 0, 0)


@pytest.fixture
def ledger(database: Database) -> Iterator[LedgerApplication]:
    """A ledger of two accounts, without a worker or a payer."""
    with projecting(database, ALL), running(database) as ledger:
        open_accounts(ledger, "a", "b", "alice", "bob")
        yield ledger


@pytest.fixture
def reader(database: Database) -> Iterator[Connection[Any]]:
    """A connection with the rights of the service."""
    with database.connect("test of what is stuck") as connection:
        yield connection


def request(kind: type[PostTransaction], key: str, *more: Any) -> PostTransaction:
    like = transfer("a", "b", 5, key)
    return kind(CONTEXT, "main", like.operation, Description(), like.entries, None, *more)


def kinds(found: list[Stuck]) -> list[str]:
    return [each.kind for each in found]


def ahead(seconds: float) -> Instant:
    """A future time, as if nobody had done anything until then."""
    return later(system_clock(), seconds)


def test_nothing_is_stuck(ledger: LedgerApplication, reader: Connection[Any]) -> None:
    ledger.perform(transfer("a", "b", 5))
    await_head(reader)
    assert find_stuck(reader, ahead(10**6)) == []


def test_accepted_requests_and_lapsed_holds_by_their_age(
    ledger: LedgerApplication, reader: Connection[Any]
) -> None:
    ledger.perform(request(AcceptTransaction, "waits"))
    ledger.perform(request(PostTransaction, "lapses", True, ahead(100)))
    ledger.perform(request(PostTransaction, "without an end", True))
    await_head(reader)
    assert find_stuck(reader, ahead(20)) == []
    waits = find_stuck(reader, ahead(40))
    assert kinds(waits) == ["request_waiting"]
    assert waits[0].resource == f"/v1/ledgers/main/transactions/{operation_id('main', 'waits')}"
    both = find_stuck(reader, ahead(140))
    assert kinds(both) == ["request_waiting", "hold_lapsed"]
    assert [each.remedy for each in both] == ["start_worker", "start_worker"]
    longer = Thresholds(request_seconds=1000)
    assert kinds(find_stuck(reader, ahead(140), longer)) == ["hold_lapsed"]
    assert kinds(find_stuck(reader, ahead(140), granted=["other"])) == []
    assert kinds(find_stuck(reader, ahead(140), granted=["main"])) == ["request_waiting", "hold_lapsed"]


def test_what_the_journal_has_moved_on_is_not_stuck(
    ledger: LedgerApplication, reader: Connection[Any], owner: Connection[Any]
) -> None:
    ledger.perform(request(PostTransaction, "voided", True, ahead(100)))
    ledger.perform(a_request(account="alice"))
    await_head(reader)
    for name in ("due", "payouts"):
        set_state(owner, name, "paused")
    id = operation_id("main", "voided")
    operation = Operation("void", operation_id("main", "void"), "f")
    ledger.perform(VoidHold(CONTEXT, "main", operation, Description(), id))
    submit(ledger)
    found, position, head, _ = look_for_stuck(reader, ahead(1000), Thresholds(projection_seconds=0))
    assert position < head == head_of(reader), "it reflects no more than the read models that it was found in"
    assert {each.kind for each in found} <= {"projection_paused", "projection_behind"}
    paused = {each.resource for each in found if each.kind == "projection_paused"}
    assert paused == {"/v1/projections/due", "/v1/projections/payouts"}


def test_a_projection_that_fails_or_hangs_is_told_from_one_that_nobody_advances(
    ledger: LedgerApplication,
    reader: Connection[Any],
    owner: Connection[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A projector beside it is paused meanwhile, so that the state under test stands still."""
    monkeypatch.setattr("projections.diagnosis.stuck.search.HANGING_SECONDS", 0)
    ledger.perform(a_request(account="alice"))
    await_head(reader)
    owner.execute(
        "INSERT INTO projections VALUES ('nats', 1); INSERT INTO projection_versions (name, version, live)"
        " VALUES ('nats', 1, true)"
    )

    def of_nats() -> Stuck:
        found = find_stuck(reader, ahead(1000), Thresholds(projection_seconds=0))
        (stuck,) = (each for each in found if each.resource == "/v1/projections/nats")
        return stuck

    assert (of_nats().kind, of_nats().remedy) == ("projection_behind", "start_projector")
    assert try_acquire(owner, "publish", "nats")
    assert (of_nats().kind, of_nats().remedy) == ("projection_hanging", "restart_projector")
    owner.execute("UPDATE projection_versions SET last_error = 'no broker' WHERE name = 'nats'")
    assert (of_nats().kind, of_nats().remedy) == ("projection_failing", "mend_projection")
    assert of_nats().why.endswith("Its error: no broker.")


def submit(ledger: LedgerApplication) -> Payout:
    seen, _ = ledger.payout("main", operation_id("main", "payout"))
    submitted: Payout = ledger.perform(SubmitPayout(CONTEXT, seen, a_mark(), PATIENCE_SECONDS)).state
    return submitted


def test_payouts_by_how_long_ago_they_were_asked_for(
    ledger: LedgerApplication, reader: Connection[Any]
) -> None:
    def found(seconds: float) -> list[Stuck]:
        await_head(reader)
        return find_stuck(reader, ahead(seconds))

    ledger.perform(a_request(account="alice"))
    assert (kinds(found(200)), kinds(found(400))) == ([], ["payout_accepted"])
    asked_at = found(400)[0].since
    submitted = submit(ledger)
    assert kinds(found(400)) == ["payout_submitted"]
    ledger.perform(RecordSilence(CONTEXT, submitted, a_mark(), "submission", "ReadTimeout"))
    in_doubt = found(400)
    assert (kinds(in_doubt), in_doubt[0].remedy) == (["payout_in_doubt"], "ask_provider")
    # However often it was asked for since.
    assert in_doubt[0].since == asked_at
    assert in_doubt[0].resource == f"/v1/ledgers/main/payouts/{submitted.id}"
    ledger.perform(a_report(submitted, "completed"))
    assert found(400) == []
    ledger.perform(a_report(submitted, "failed"))
    contradicted = found(0)
    assert (kinds(contradicted), contradicted[0].remedy) == (["payout_contradictory"], "resolve_payout")


def test_deliveries_that_nobody_makes_or_that_were_given_up(
    ledger: LedgerApplication, reader: Connection[Any], owner: Connection[Any]
) -> None:
    hook = register(reader, "https://example.com/hook", ["main"], ["transaction.posted"])
    positions = [ledger.perform(transfer("a", "b", 5)).position for _ in range(3)]
    await_head(reader)
    assert find_stuck(reader, ahead(200)) == []
    (waiting,) = find_stuck(reader, ahead(400))
    assert (waiting.kind, waiting.resource) == ("delivery_waiting", f"/v1/webhooks/{hook.id}")
    assert waiting.position == positions[0]
    assert find_stuck(reader, ahead(400), granted=["other"]) == []
    disable_webhook(reader, hook.id, "it is moved")
    (disabled,) = find_stuck(reader, ahead(400))
    assert (disabled.kind, disabled.remedy) == ("webhook_disabled", "enable_webhook")
    assert "it is moved" in disabled.why
    owner.execute(
        "UPDATE deliveries SET state = 'failed', due_at = NULL, reason = 'answered 500' WHERE position = %s",
        (positions[0],),
    )
    failed, _ = sorted(find_stuck(reader, ahead(400)), key=lambda each: each.kind != "delivery_failed")
    assert failed.resource == f"/v1/webhooks/{hook.id}/deliveries/{positions[0]}"
    assert (failed.ledger, failed.remedy) == ("main", "retry_delivery")


def test_streams_that_are_held_and_projections_that_stand(
    database: Database, owner: Connection[Any], reader: Connection[Any]
) -> None:
    with poisoned("balances") as balances, running(database) as ledger:
        balances.streams.add("main/accounts/a")
        with projecting(database, tuple(PROJECTIONS.values())):
            open_accounts(ledger, "a", "b")
            await_head(reader)
    (held,) = find_stuck(reader, system_clock())
    assert (held.kind, held.remedy, held.ledger) == ("stream_held", "decide_dead_letter", "main")
    assert held.resource.startswith("/v1/dead-letters/")
    for state, kind in (("paused", "projection_paused"), ("running", "projection_behind")):
        set_state(owner, "entries", state)
        owner.execute("UPDATE projection_versions SET position = 1 WHERE name = 'entries'")
        assert kinds(find_stuck(reader, ahead(0))) == ["stream_held"]
        # The age of the event it lacks is measured by the database's clock.
        eager = find_stuck(reader, system_clock(), EAGER)
        assert {each.kind for each in eager} == {"stream_held", kind}
    set_state(owner, "entries", "halted")
    assert set(kinds(find_stuck(reader, system_clock()))) == {"stream_held", "projection_halted"}
    set_state(owner, "entries", "rebuilding")
    assert set(kinds(find_stuck(reader, system_clock()))) == {"stream_held", "projection_rebuilding"}


def test_totals_and_metrics(ledger: LedgerApplication, reader: Connection[Any]) -> None:
    for number in range(3):
        ledger.perform(request(AcceptTransaction, f"waits-{number}"))
    await_head(reader)
    now = ahead(100)
    counted = count_stuck(reader, now)
    assert [total.kind for total in counted] == [kind for kind in CATALOGUE if kind != "move_not_arrived"]
    assert {total.kind: total.number for total in counted if total.number} == {"request_waiting": 3}
    page = Metrics().page([Seen(None, Figures(stuck=counted), is_ready=True)]).decode()
    assert 'tallystick_stuck{kind="request_waiting"} 3.0' in page
    assert 'tallystick_stuck{kind="hold_lapsed"} 0.0' in page
    oldest = next(total for total in counted if total.number).oldest_age_seconds
    assert 90 < oldest < 110
    assert f'tallystick_stuck_oldest_age_seconds{{kind="request_waiting"}} {oldest}' in page


def test_what_cannot_be_searched_has_no_total(
    ledger: LedgerApplication, reader: Connection[Any], owner: Connection[Any], database: Database
) -> None:
    """A total of 0 would say that nothing is stuck."""
    await_head(reader)
    payouts = {kind for kind in CATALOGUE if kind.startswith("payout_")}
    with database.connect_as_owner("stranger") as stranger, stranger.transaction(force_rollback=True):
        stranger.execute("LOCK TABLE payouts_v1")
        assert unknown(reader) == payouts
    assert unknown(reader) == set()
    set_state(owner, "due", "rebuilding")
    assert unknown(reader) == {"request_waiting", "hold_lapsed"}


def unknown(reader: Connection[Any]) -> Set[str]:
    """The kinds that could not be searched, beside the one that takes several installations."""
    counted = {total.kind for total in count_stuck(reader, system_clock())}
    return set(CATALOGUE) - counted - {"move_not_arrived"}


def run(command: Any, database: Database, *arguments: str) -> Result:
    from typer import Typer

    app = Typer()
    app.command()(command)
    options = ["--database-url", database.url, "--schema", database.schema]
    return invoke(app, [*arguments, *options])


def test_the_command_lists_what_is_stuck(
    database: Database, ledger: LedgerApplication, reader: Connection[Any]
) -> None:
    nothing = run(stuck, database)
    assert (nothing.exit_code, nothing.stdout) == (0, "Nothing is stuck.\n")
    ledger.perform(request(AcceptTransaction, "waits"))
    await_head(reader)
    shown = run(stuck, database, "--request-seconds", "0", "--json")
    assert shown.exit_code == 1
    (found,) = json.loads(shown.stdout)
    assert (found["kind"], found["remedy"]) == ("request_waiting", "start_worker")
    assert found["resource"].endswith(operation_id("main", "waits"))
    table = run(stuck, database, "--request-seconds", "0")
    assert table.exit_code == 1
    assert table.stdout.splitlines()[0].split() == ["age", "kind", "resource", "why", "remedy"]
    assert "start_worker: Check that" in table.stdout


def test_the_command_traces_by_key_by_id_and_by_conversation(
    database: Database, ledger: LedgerApplication, reader: Connection[Any]
) -> None:
    ledger.perform(transfer("a", "b", 5, "order-1"))
    await_head(reader)
    by_key = json.loads(run(trace, database, "order-1", "--json").stdout)
    assert (by_key["idempotency_key"], by_key["verdict"]["code"]) == ("order-1", "posted")
    by_id = json.loads(run(trace, database, operation_id("main", "order-1"), "--json").stdout)
    assert by_id["operations"] == by_key["operations"]
    talk = json.loads(run(trace, database, CONTEXT.correlation_id, "--json", "--ledger", "main").stdout)
    assert talk["operations"] == by_key["operations"]
    assert (talk["idempotency_key"], talk["correlation_id"]) == (None, CONTEXT.correlation_id)
    table = run(trace, database, "order-1")
    assert table.exit_code == 0
    for words in ("event_recorded", "projection_reached", "Verdict (posted)", "Safe to do (nothing)"):
        assert words in table.stdout


def test_the_command_says_what_is_not_there(
    database: Database, ledger: LedgerApplication, reader: Connection[Any]
) -> None:
    await_head(reader)
    nothing = run(trace, database, "unknown")
    assert (nothing.exit_code, nothing.stdout) == (3, "")
    assert "nothing is recorded of unknown" in nothing.stderr
    assert "under the same key" in nothing.stderr
    missing = run(trace, database, "unknown", "--ledger", "no-such")
    assert missing.exit_code == 3 and "There is no ledger" in missing.stderr
    open_accounts(ledger, "a", "b", book="other")
    for book in ("main", "other"):
        ledger.perform(transfer("a", "b", 5, "order-1", book))
    await_head(reader)
    several = run(trace, database, "order-1")
    assert several.exit_code == 3 and "several ledgers" in several.stderr
    assert run(trace, database, "order-1", "--ledger", "other").exit_code == 0
