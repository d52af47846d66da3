"""Stories on a real journal: each contains all a request did, with every delivery and dead letter, and nothing else."""

from collections.abc import Iterator
from typing import Any

import pytest
from psycopg import Connection

from domain.application import LedgerApplication, system_clock
from domain.journal.database import Database
from domain.model.entries import Entry
from domain.model.errors import LedgerNotFound, OperationUnknown
from domain.model.events import Context
from domain.model.holds import ExpireHold
from domain.model.idempotency import operation_id
from domain.model.postings import PostTransaction
from domain.model.times import later
from domain.model.transactions import Description
from projections.diagnosis.trace.story import Story, story_of_conversation, story_of_operation
from projections.diagnosis.trace.timeline import timeline
from projections.diagnosis.trace.verdict import verdict
from projections.errors import ProjectionBehind
from projections.rebuilding.rebuilder import rebuild
from projections.registry import PROJECTIONS
from tests.ledgers import CONTEXT, history, open_accounts, outcomes, running, transfer
from tests.outboxes import await_acknowledged, publishing, register
from tests.poisoning import poisoned
from tests.projecting import await_head, eventually, projecting, set_state
from tests.receiver import Reply, receiving

pytestmark = pytest.mark.integration


@pytest.fixture
def reader(database: Database) -> Iterator[Connection[Any]]:
    """A connection with the rights of the service."""
    with database.connect("test of stories") as connection:
        yield connection


@pytest.fixture
def ledger(database: Database) -> Iterator[LedgerApplication]:
    """A ledger of some accounts."""
    with running(database) as ledger:
        open_accounts(ledger, "a", "b", "c")
        yield ledger


def story(reader: Connection[Any], key: str) -> Story:
    return story_of_operation(reader, "main", operation_id("main", key))


def kinds(of: Story) -> list[str]:
    return [moment.kind for moment in timeline(of)]


def positions(of: Story) -> list[int]:
    return [event.position for event in of.events]


def caused(database: Database, key: str) -> list[int]:
    """The positions of everything a request has caused, by its cause."""
    id = operation_id("main", key)
    return [event.position for event in history(database) if event.envelope.causation_id == id]


def test_a_posting_of_a_thousand_entries_is_whole(
    database: Database, ledger: LedgerApplication, reader: Connection[Any]
) -> None:
    addresses = [f"many:{number}" for number in range(1_000)]
    open_accounts(ledger, *addresses)
    like = transfer("a", "b", 1, "many")
    entries = tuple(
        Entry(account=address, direction="debit" if number % 2 else "credit", amount=1)
        for number, address in enumerate(addresses)
    )
    many = PostTransaction(CONTEXT, "main", like.operation, Description(), entries)
    before, after = transfer("a", "b", 1, "before"), transfer("a", "b", 1, "after")
    outcomes(ledger.execute(before, many, after).result())
    found = story(reader, "many")
    assert (len(found.events), found.is_whole) == (1_001, True)
    for key in ("before", "many", "after"):
        assert positions(story(reader, key)) == caused(database, key)


def test_what_the_ledger_does_at_once_to_two_holds_is_told_apart(
    database: Database, ledger: LedgerApplication, reader: Connection[Any]
) -> None:
    expires_at = later(system_clock(), 0.3)
    keys = ("one", "two")
    for key in keys:
        like = transfer("a", "b", 1, key)
        ledger.perform(
            PostTransaction(
                CONTEXT, "main", like.operation, Description(), like.entries, None, True, expires_at
            )
        )
    eventually(lambda: system_clock() > expires_at)
    worker = Context("tallystick", CONTEXT.correlation_id)
    expire = [ExpireHold(worker, "main", operation_id("main", key)) for key in keys]
    outcomes(ledger.execute(*expire).result())
    head = ledger.head()
    assert positions(story(reader, "one")) == [*caused(database, "one"), head - 5, head - 4, head - 3]
    assert positions(story(reader, "two")) == [*caused(database, "two"), head - 2, head - 1, head]


def test_what_is_unknown(ledger: LedgerApplication, reader: Connection[Any]) -> None:
    with pytest.raises(OperationUnknown):
        story(reader, "unknown")
    with pytest.raises(LedgerNotFound):
        story_of_operation(reader, "other", operation_id("other", "x"))


def test_no_read_model_is_needed_for_an_operation(
    database: Database, ledger: LedgerApplication, reader: Connection[Any], owner: Connection[Any]
) -> None:
    with projecting(database, tuple(PROJECTIONS.values())):
        ledger.perform(transfer("a", "b", 1, "order-1"))
        await_head(reader)
    owner.execute("UPDATE projection_versions SET position = 0, state = 'rebuilding'")
    found = story(reader, "order-1")
    assert positions(found) == caused(database, "order-1")
    assert {standing.reached for standing in found.standings} == {"behind"}
    with pytest.raises(ProjectionBehind):
        story_of_conversation(reader, "main", CONTEXT.correlation_id)


def test_deliveries_are_told_with_those_made_twice_and_those_a_rebuild_did_not_make(
    database: Database, ledger: LedgerApplication, reader: Connection[Any]
) -> None:
    def cut_at_first(received: Any, count: int) -> Reply:
        return Reply(None if count == 1 else 204)

    with receiving() as receiver, projecting(database, tuple(PROJECTIONS.values())):
        await_head(reader)
        receiver.behave = cut_at_first
        hook = register(reader, receiver.url, types=["transaction.posted"])
        ledger.perform(transfer("a", "b", 1, "order-1"))
        with publishing(database):
            await_acknowledged(reader, hook.id, 1)
        await_head(reader)
    found = story(reader, "order-1")
    told = [kind for kind in kinds(found) if kind.startswith("delivery")]
    assert told == ["delivery_sent", "delivery_failed", "delivery_duplicated", "delivery_acknowledged"]
    concerns = {concern.code for concern in verdict(found, system_clock()).concerns}
    assert concerns == {"delivery_duplicated"}
    rebuild(database, "outbox")
    assert kinds(story(reader, "order-1")).count("delivery_suppressed") == 1
    assert len(receiver.received) == 2


def test_a_dead_letter_is_told_of_those_that_it_holds_and_no_others(
    database: Database, reader: Connection[Any], owner: Connection[Any]
) -> None:
    with (
        poisoned("balances") as balances,
        running(database) as ledger,
        projecting(database, tuple(PROJECTIONS.values())),
    ):
        open_accounts(ledger, "a", "b", "c")
        ledger.perform(transfer("a", "b", 1, "earlier"))
        await_head(reader)
        balances.streams.add("main/accounts/a")
        for key, debited in (("poison", "a"), ("held", "a"), ("free", "c")):
            ledger.perform(transfer(debited, "b", 1, key))
        await_head(reader)
    shown = {
        key: verdict(story(reader, key), system_clock()) for key in ("earlier", "poison", "held", "free")
    }
    letters = {key: [concern.code for concern in found.concerns] for key, found in shown.items()}
    assert letters == {
        "earlier": [],
        "poison": ["dead_letter_open"],
        "held": ["dead_letter_open"],
        "free": [],
    }
    assert {found.code for found in shown.values()} == {"posted"}
    held = next(each for each in story(reader, "held").standings if each.progress.name == "balances")
    assert held.reached == "held"
    assert "projection_held" in kinds(story(reader, "held"))
    assert "dead_letter_opened" in kinds(story(reader, "poison"))


def test_a_projection_that_stands_has_not_reached_it(
    database: Database, ledger: LedgerApplication, reader: Connection[Any], owner: Connection[Any]
) -> None:
    with projecting(database, tuple(PROJECTIONS.values())):
        await_head(reader)
        set_state(owner, "entries", "paused")
        ledger.perform(transfer("a", "b", 1, "order-1"))
        await_head(reader, *(PROJECTIONS.keys() - {"entries"}))
        found = story(reader, "order-1")
    reached = {standing.progress.name: standing.reached for standing in found.standings}
    assert {name for name, how in reached.items() if how != "reached"} == {"entries"}
    concerns = [concern.code for concern in verdict(found, system_clock()).concerns]
    assert concerns == ["projection_paused"]
